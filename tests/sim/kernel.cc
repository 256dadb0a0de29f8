#include "tests/sim/kernel.h"

#include <cstdio>
#include <utility>

#include "base/check.h"

namespace quorate::sim {
namespace {

uint64_t Fold(uint64_t digest, uint64_t word) {
  digest = (digest ^ word) * 0x9e3779b97f4a7c15;
  return digest ^ (digest >> 29);
}

}  // namespace

void Kernel::After(int64_t delay_ns, absl::AnyInvocable<void()> work) {
  QR_CHECK(delay_ns >= 0);
  queue_.push({now_ns_ + delay_ns, random_.Next(), ++events_, std::move(work)});
}

bool Kernel::RunOne() {
  if (queue_.empty()) return false;
  const Event& top = queue_.top();
  now_ns_ = top.at_ns;
  absl::AnyInvocable<void()> work = std::move(top.work);
  queue_.pop();
  work();
  return true;
}

void Kernel::RunUntil(int64_t until_ns) {
  while (!queue_.empty() && queue_.top().at_ns <= until_ns) RunOne();
  now_ns_ = until_ns;
}

void Kernel::Note(std::string_view what, uint64_t a, uint64_t b) {
  if (traced_) {
    std::printf("%14lld %.*s %llu %llu\n", static_cast<long long>(now_ns_),
                static_cast<int>(what.size()), what.data(), static_cast<unsigned long long>(a),
                static_cast<unsigned long long>(b));
  }
  uint64_t digest = Fold(digest_, static_cast<uint64_t>(now_ns_));
  uint64_t text = what.size();
  for (const char c : what) text = text * 31 + static_cast<unsigned char>(c);
  digest_ = Fold(Fold(Fold(digest, text), a), b);
}

}  // namespace quorate::sim
