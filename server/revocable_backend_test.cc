#include "server/revocable_backend.h"

#include <catch2/catch.hpp>
#include <string>

#include "base/temp_dir.h"

namespace quorate::server {
namespace {

std::unique_ptr<kv::KvBackend> OpenReal(const std::string& dir) {
  kv::KvOptions options;
  options.dir = dir;
  options.map_bytes_max = uint64_t{1} << 30;
  absl::StatusOr<std::unique_ptr<kv::KvBackend>> opened = kv::OpenKvBackend("lmdb", options);
  REQUIRE(opened.ok());
  return *std::move(opened);
}

TEST_CASE("a backend that was taken away says so, also through its snapshots") {
  const TempDir folder;
  RevocableBackend backend(OpenReal(folder.path()));
  const kv::WriteOp op{kv::WriteOp::Kind::kPut, kv::Table::kKey, "k", "v"};
  REQUIRE(backend.Write({&op, 1}).ok());
  REQUIRE(backend.Sync().ok());
  std::unique_ptr<kv::KvSnapshot> kept = *backend.NewSnapshot();
  std::unique_ptr<kv::KvSnapshot> dropped = *backend.NewSnapshot();
  dropped.reset();
  int records = 0;
  const auto count = [&](std::string_view, std::string_view) { return ++records != 0; };
  REQUIRE(kept->Scan(kv::Table::kKey, {}, {}, count).ok());
  CHECK(records == 1);

  backend.Close();
  CHECK(absl::IsUnavailable(kept->Scan(kv::Table::kKey, {}, {}, count)));
  CHECK(absl::IsUnavailable(backend.NewSnapshot().status()));
  CHECK(absl::IsUnavailable(backend.Write({&op, 1})));
  CHECK(absl::IsUnavailable(backend.Sync()));
  const std::string_view key = "k";
  CHECK(absl::IsUnavailable(
      backend.Read(kv::Table::kKey, {&key, 1}, [](size_t, std::optional<std::string_view>) {})));
  CHECK(records == 1);

  // Its files are free for another.
  std::unique_ptr<kv::KvBackend> next = OpenReal(folder.path());
  CHECK((*next->NewSnapshot())->Scan(kv::Table::kKey, {}, {}, count).ok());
  CHECK(records == 2);
}

}  // namespace
}  // namespace quorate::server
