// Bytes of a snapshot between members to the importer. First byte: in what pieces they come. The
// second chooses bytes as they are (even) or the damage of a stream that was whole (odd).
#include <memory>
#include <string>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "backends/kv/state_stream.h"
#include "base/allocator.h"
#include "base/check.h"
#include "base/fault_file_env.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace quorate;  // NOLINT: a program of one file

struct Disk {
  FaultFileEnv env;
  std::unique_ptr<Allocator> allocator = *CreateAllocator("malloc", {});
  std::unique_ptr<kv::KvBackend> Open() {
    kv::KvOptions options;
    options.dir = "kv";
    options.env = &env;
    options.allocator = allocator.get();
    auto backend = kv::OpenKvBackend("memory", options);
    QR_CHECK(backend.ok());
    return *std::move(backend);
  }
};

std::string WholeStream() {
  Disk disk;
  const std::unique_ptr<kv::KvBackend> backend = disk.Open();
  std::vector<std::string> keys;
  for (int i = 0; i < 50; ++i) keys.push_back("key" + std::to_string(1000 + i));
  std::vector<kv::WriteOp> ops;
  for (const std::string& key : keys)
    ops.push_back({kv::WriteOp::Kind::kPut, kv::Table::kKey, key, key});
  QR_CHECK(backend->Write(ops).ok());
  auto snapshot = backend->NewSnapshot();
  QR_CHECK(snapshot.ok());
  kv::StateExporter exporter(*std::move(snapshot));
  std::string stream;
  while (true) {
    const auto bytes = exporter.Read(4096);
    QR_CHECK(bytes.ok());
    if (bytes->empty()) return stream;
    stream.append(*bytes);
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string* const whole = new std::string(WholeStream());
  fuzz::FuzzInput input(data, size);
  const size_t piece_bytes = size_t{input.Byte()} + 1;
  const bool damaged = input.Byte() % 2 == 1;
  std::string stream = damaged ? *whole : std::string(input.Rest());
  while (damaged && !input.empty()) {
    const size_t offset = input.Number() % (stream.size() + 1);
    const std::string_view bytes = input.Part();
    stream.replace(offset, bytes.size(), bytes);
  }
  Disk disk;
  const std::unique_ptr<kv::KvBackend> backend = disk.Open();
  kv::StateImporter importer(backend.get());
  absl::Status status;
  for (size_t at = 0; at < stream.size() && status.ok(); at += piece_bytes) {
    status = importer.Take(std::string_view(stream).substr(at, piece_bytes));
  }
  if (status.ok()) status = importer.Finish();
  if (damaged && stream == *whole) QR_CHECK_MSG(status.ok(), std::string(status.message()));
  return 0;
}
