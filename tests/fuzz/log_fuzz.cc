// A damaged raft log is opened, read and written on. Input: (file, offset, length, bytes) to be
// written over the files of a log that was whole.
#include <memory>
#include <string>
#include <vector>

#include "backends/log/log_store.h"
#include "base/check.h"
#include "base/fault_file_env.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace quorate;  // NOLINT: a program of one file

constexpr char kDir[] = "log";

log::LogOptions OptionsOn(FileEnv* env) {
  log::LogOptions options;
  options.dir = kDir;
  options.env = env;
  options.segment_bytes = 4096;
  options.spare_segments_max = 0;
  return options;
}

Entry MakeEntry(uint64_t index, std::string payload) {
  return {Term(1 + index / 20), LogIndex(index), EntryType::kNormal,
          Bytes::FromString(std::move(payload))};
}

void WriteLog(FileEnv* env) {
  auto store = log::CreateSegmentedLog(OptionsOn(env), {MemberId(1), ClusterId(2)});
  QR_CHECK(store.ok());
  for (uint64_t index = 1; index <= 40; ++index) {
    const Entry entry = MakeEntry(index, std::string(index * 7 % 400, 'x'));
    const HardState state{entry.term, MemberId(1), LogIndex(index)};
    QR_CHECK((*store)->Append({&entry, 1}, &state).ok());
  }
  QR_CHECK((*store)->Sync().ok());
}

void Damage(FileEnv* env, fuzz::FuzzInput* input) {
  const auto names = env->List(kDir);
  QR_CHECK(names.ok() && !names->empty());
  while (!input->empty()) {
    const std::string path = std::string(kDir) + "/" + (*names)[input->Byte() % names->size()];
    const uint64_t offset = input->Number() % 8192;
    const std::string_view bytes = input->Part();
    auto file = env->Open(path, WriteMode::kBuffered);
    if (!file.ok()) continue;
    if (bytes.empty()) {
      QR_CHECK((*file)->Truncate(offset).ok());
    } else {
      QR_CHECK((*file)->WriteAt(offset, {&bytes, 1}).ok());
    }
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::FuzzInput input(data, size);
  FaultFileEnv env;
  WriteLog(&env);
  Damage(&env, &input);
  auto store = log::OpenSegmentedLog(OptionsOn(&env));
  if (!store.ok()) return 0;
  const LogIndex first = (*store)->first_index();
  const LogIndex last = (*store)->last_index();
  uint64_t next = first.value();
  if (first <= last) {
    (void)(*store)->Read(first, last, [&](const Entry& entry) {
      QR_CHECK_MSG(entry.index.value() == next, "a gap in what a damaged log gives");
      ++next;
      return true;
    });
  }
  const Entry more = MakeEntry(last.value() + 1, "more");
  const HardState state{Term(9), MemberId(1), (*store)->hard_state().commit};
  if ((*store)->Append({&more, 1}, &state).ok()) QR_CHECK((*store)->Sync().ok());
  QR_CHECK((*store)->last_index() == more.index);
  return 0;
}
