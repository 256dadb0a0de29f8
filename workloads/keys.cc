#include "workloads/keys.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace quorate::workload {
namespace {

size_t DigitsFor(int64_t count) {
  size_t digits = 1;
  for (int64_t rest = count - 1; rest >= 10; rest /= 10) ++digits;
  return digits;
}

void WriteDigits(int64_t number, size_t digits, char* out) {
  for (size_t i = digits; i-- > 0; number /= 10) out[i] = static_cast<char>('0' + number % 10);
}

// -1 when a byte is no digit or the number does not fit.
int64_t ReadDigits(std::string_view text) {
  int64_t number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || number > (INT64_MAX - 9) / 10) return -1;
    number = number * 10 + (c - '0');
  }
  return number;
}

}  // namespace

int64_t KeySpace::MinKeySize(const KeySpaceSpec& spec) {
  const size_t group_part = spec.groups > 1 ? DigitsFor(spec.groups) + 2 : 0;
  return static_cast<int64_t>(spec.prefix.size() + group_part + DigitsFor(spec.count));
}

KeySpace::KeySpace(const KeySpaceSpec& spec) : spec_(spec) {
  QR_CHECK(spec.count > 0 && spec.groups > 0 && spec.groups <= spec.count);
  if (spec.groups > 1) group_digits_ = DigitsFor(spec.groups);
  group_size_ = (spec.count + spec.groups - 1) / spec.groups;
  key_size_ = static_cast<size_t>(spec.size == 0 ? MinKeySize(spec) : spec.size);
  QR_CHECK(static_cast<int64_t>(key_size_) >= MinKeySize(spec));
  QR_CHECK(static_cast<int64_t>(key_size_) <= kMaxKeySize);
  digits_ = key_size_ - spec.prefix.size() - GroupPartSize();
}

void KeySpace::WriteKey(int64_t number, char* out) const {
  std::memcpy(out, spec_.prefix.data(), spec_.prefix.size());
  out += spec_.prefix.size();
  if (group_digits_ != 0) {
    *out++ = 'g';
    WriteDigits(number / group_size_, group_digits_, out);
    out += group_digits_;
    *out++ = '/';
  }
  WriteDigits(number, digits_, out);
}

std::string KeySpace::Key(int64_t number) const {
  std::string key(key_size_, '\0');
  WriteKey(number, key.data());
  return key;
}

int64_t KeySpace::NumberOf(std::string_view key) const {
  if (key.size() != key_size_ || !key.starts_with(spec_.prefix)) return -1;
  const int64_t number = ReadDigits(key.substr(key.size() - digits_));
  if (number < 0 || number >= spec_.count) return -1;
  if (group_digits_ != 0) {
    const std::string_view group = key.substr(spec_.prefix.size(), group_digits_ + 2);
    if (group.front() != 'g' || group.back() != '/') return -1;
    if (ReadDigits(group.substr(1, group_digits_)) != number / group_size_) return -1;
  }
  return number;
}

Interval KeySpace::Around(int64_t number, Scope scope, int64_t slice) const {
  QR_CHECK(number >= 0 && number < spec_.count);
  switch (scope) {
    case Scope::kKey:
      return {number, number + 1};
    case Scope::kSlice:
      return {number, std::min(number + slice, spec_.count)};
    case Scope::kGroup: {
      const int64_t low = number / group_size_ * group_size_;
      return {low, std::min(low + group_size_, spec_.count)};
    }
    case Scope::kAll:
      break;
  }
  return {0, spec_.count};
}

Interval KeySpace::Nth(int64_t i, Scope scope, int64_t slice) const {
  const int64_t step = scope == Scope::kKey     ? 1
                       : scope == Scope::kSlice ? slice
                       : scope == Scope::kGroup ? group_size_
                                                : spec_.count;
  const int64_t intervals = (spec_.count + step - 1) / step;
  return Around(i % intervals * step, scope, slice);
}

void KeySpace::RangeOf(Interval interval, std::string* first, std::string* end) const {
  QR_CHECK(interval.low >= 0 && interval.size() > 0 && interval.high <= spec_.count);
  end->clear();
  if (interval.size() == 1 && spec_.count > 1) {
    *first = Key(interval.low);
    return;
  }
  if (interval.low == 0 && interval.high == spec_.count) {
    *first = spec_.prefix;
    *end = PrefixEnd(spec_.prefix);
    return;
  }
  if (group_digits_ != 0 && interval == Around(interval.low, Scope::kGroup, 0)) {
    *first = Key(interval.low).substr(0, spec_.prefix.size() + GroupPartSize());
    *end = PrefixEnd(*first);
    return;
  }
  *first = Key(interval.low);
  *end = interval.high == spec_.count ? PrefixEnd(spec_.prefix) : Key(interval.high);
}

std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (end.empty()) return std::string(1, '\0');
  end.back() = static_cast<char>(end.back() + 1);
  return end;
}

}  // namespace quorate::workload
