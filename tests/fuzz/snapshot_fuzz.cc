// A damaged bbolt file is opened, checked and read. Input: (page, offset, length, bytes) to be
// written over a file that was whole; a piece without bytes cuts the file there.
#include <memory>
#include <string>

#include "backends/bbolt/reader.h"
#include "backends/bbolt/writer.h"
#include "base/check.h"
#include "base/fault_file_env.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace quorate;  // NOLINT: a program of one file

constexpr char kPath[] = "snapshot.db";

std::unique_ptr<File> FileOn(FileEnv* env) {
  auto file = env->Create(kPath, WriteMode::kBuffered);
  QR_CHECK(file.ok());
  return *std::move(file);
}

// Two buckets: one of an inline page's size, one of several leaves with a value over more pages.
std::string WholeFile() {
  FaultFileEnv env;
  const std::unique_ptr<File> file = FileOn(&env);
  bbolt::Writer writer(file.get());
  writer.BeginBucket("alarm");
  QR_CHECK(writer.EndBucket().ok());
  writer.BeginBucket("key");
  for (int i = 0; i < 90; ++i) {
    const std::string value(i == 40 ? 9000 : 100, 'v');
    QR_CHECK(writer.Add("key" + std::to_string(100 + i), value).ok());
  }
  QR_CHECK(writer.EndBucket().ok());
  writer.BeginBucket("meta");
  QR_CHECK(writer.Add("term", "12345678").ok());
  QR_CHECK(writer.EndBucket().ok());
  QR_CHECK(writer.Finish().ok());
  std::string bytes(*file->Size(), '\0');
  QR_CHECK(file->ReadAt(0, bytes.size(), bytes.data()).ok());
  return bytes;
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string* const whole = new std::string(WholeFile());
  fuzz::FuzzInput input(data, size);
  std::string bytes = *whole;
  while (!input.empty()) {
    const size_t offset = (size_t{input.Byte()} << 12 | input.Number() % 4096) % whole->size();
    const std::string_view piece = input.Part();
    if (piece.empty()) {
      bytes.resize(offset);
    } else if (offset < bytes.size()) {
      bytes.replace(offset, piece.size(), piece);
    }
  }
  FaultFileEnv env;
  std::unique_ptr<File> file = FileOn(&env);
  const std::string_view pieces[] = {bytes};
  QR_CHECK(file->WriteAt(0, pieces).ok());
  auto reader = bbolt::Reader::Open(std::move(file), bytes.size());
  if (!reader.ok()) {
    QR_CHECK_MSG(bytes != *whole, std::string(reader.status().message()));
    return 0;
  }
  const size_t problems = (*reader)->Check(20).size();
  QR_CHECK(bytes != *whole || problems == 0);
  for (const std::string& bucket : (*reader)->buckets()) {
    (void)(*reader)->Scan(bucket, {}, {}, [](std::string_view, std::string_view) { return true; });
  }
  return 0;
}
