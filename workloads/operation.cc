#include "workloads/operation.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"

namespace quorate::workload {
namespace {

std::string_view PathOf(OpType type) {
  switch (type) {
    case OpType::kPut:
      return kPutPath;
    case OpType::kGet:
    case OpType::kList:
    case OpType::kCount:
      return kRangePath;
    case OpType::kTxn:
      return kTxnPath;
    case OpType::kDelete:
      return kDeletePath;
    case OpType::kLeaseGrant:
    case OpType::kLeaseKeepAlive:
    case OpType::kLeaseRevoke:
      break;
  }
  QR_CHECK_MSG(false, "lease operations are built elsewhere");
  return {};
}

constexpr Verdict kWrong{Verdict::Kind::kWrong, 0};

}  // namespace

bool OutcomeUnknown(transport::RpcCode code) {
  using enum transport::RpcCode;
  switch (code) {
    case kInvalidArgument:
    case kNotFound:
    case kAlreadyExists:
    case kPermissionDenied:
    case kResourceExhausted:
    case kFailedPrecondition:
    case kOutOfRange:
    case kUnimplemented:
    case kUnauthenticated:
      return false;
    default:
      return true;
  }
}

Operation::Operation(const OperationSpec& spec, Model* model,
                     std::atomic<uint64_t>* next_sequential)
    : spec_(spec),
      model_(model),
      keys_(model->space(spec.key_space)),
      chooser_(spec, keys_.count(), next_sequential),
      path_(PathOf(spec.type)),
      key_(keys_.key_size(), '\0') {}

Bytes Operation::Build(Random& random, int64_t intended_ns, int64_t lease, Writer* writer,
                       Pending* pending) {
  *pending = Pending();
  pending->key = {spec_.key_space, chooser_.Choose(random)};
  keys_.WriteKey(pending->key.number, key_.data());
  const bool serializable = spec_.consistency == Consistency::kSerializable;
  switch (spec_.type) {
    case OpType::kPut:
      return BuildPut(random, intended_ns, lease, writer, pending);
    case OpType::kTxn:
      return BuildTxn(random, intended_ns, writer, pending);
    case OpType::kDelete:
      pending->writes = pending->deletes = true;
      pending->floor = model_->FloorFor(pending->key);
      model_->BeginDelete(pending->key);
      return EncodeDelete(key_, spec_.prev_kv);
    case OpType::kGet:
      pending->floor = model_->FloorFor(pending->key);
      return EncodeRange({.key = key_, .serializable = serializable});
    default:
      break;
  }
  pending->interval = keys_.Around(pending->key.number, spec_.scope, spec_.slice);
  pending->floor = model_->FloorNow();
  if (spec_.type == OpType::kCount) pending->present = model_->PresentKeys(spec_.key_space);
  keys_.RangeOf(pending->interval, &first_, &end_);
  return EncodeRange({.key = first_,
                      .end = end_,
                      .limit = spec_.limit,
                      .serializable = serializable,
                      .keys_only = spec_.keys_only,
                      .count_only = spec_.type == OpType::kCount});
}

size_t Operation::DrawValueSize(Random& random) const {
  return static_cast<size_t>(spec_.value.min == spec_.value.max
                                 ? spec_.value.min
                                 : random.Between(spec_.value.min, spec_.value.max));
}

ValueHeader Operation::HeaderFor(std::string_view key, int64_t intended_ns, Writer* writer,
                                 Pending* pending) const {
  const ValueHeader header{.run = model_->run(),
                           .key_hash = KeyHash(key),
                           .writer = writer->id,
                           .sequence = ++writer->sequence,
                           .intended_ns = intended_ns};
  pending->tag = header.tag();
  return header;
}

Bytes Operation::BuildPut(Random& random, int64_t intended_ns, int64_t lease, Writer* writer,
                          Pending* pending) {
  pending->writes = true;
  pending->floor = model_->FloorFor(pending->key);
  const size_t size = DrawValueSize(random);
  char* value = nullptr;
  Bytes bytes = EncodePut(
      {.key = key_, .value_size = size, .lease = lease, .prev_kv = spec_.prev_kv}, &value);
  WriteValue(HeaderFor(key_, intended_ns, writer, pending), size, value);
  return bytes;
}

Bytes Operation::BuildTxn(Random& random, int64_t intended_ns, Writer* writer, Pending* pending) {
  pending->writes = true;
  pending->floor = model_->FloorFor(pending->key);
  pending->guard = model_->Known(pending->key).guard();
  // A key that is not there cannot be removed: it is made, and removed the next time.
  if (spec_.remove && pending->guard != 0) {
    pending->deletes = true;
    model_->BeginDelete(pending->key);
    return EncodeGuardedDelete(key_, pending->guard);
  }
  const size_t size = DrawValueSize(random);
  char* value = nullptr;
  Bytes bytes = EncodeGuardedPut({.key = key_, .value_size = size}, pending->guard, &value);
  WriteValue(HeaderFor(key_, intended_ns, writer, pending), size, value);
  return bytes;
}

void Operation::Failed(const Pending& pending, transport::RpcCode code) {
  if (!pending.writes) return;
  if (OutcomeUnknown(code)) {
    model_->WriteUnknown(pending.key);
  } else {
    model_->WriteRefused(pending.key, pending.deletes);
  }
}

Change Operation::ChangeOf(const Pending& pending, int64_t revision) const {
  return {revision, model_->IdOf(pending.key), pending.deletes, pending.tag, pending.guard};
}

Verdict Operation::Undecodable(const Pending& pending) {
  if (pending.writes) model_->WriteUnknown(pending.key);
  model_->checks().Failed(Check::kDecode,
                          StrCat("the answer to a ", spec_.name, " is no message of ", path_));
  return kWrong;
}

Verdict Operation::Judge(const Pending& pending, std::string_view answer) {
  const uint64_t violations = model_->checks().violations();
  Verdict verdict;
  switch (spec_.type) {
    case OpType::kPut:
      verdict = JudgePut(pending, answer);
      break;
    case OpType::kGet:
      verdict = JudgeGet(pending, answer);
      break;
    case OpType::kList:
      verdict = JudgeList(pending, answer);
      break;
    case OpType::kCount:
      verdict = JudgeCount(pending, answer);
      break;
    case OpType::kTxn:
      verdict = JudgeTxn(pending, answer);
      break;
    default:
      verdict = JudgeDelete(pending, answer);
      break;
  }
  // Another thread's violation may take this answer's time along: the run is void in any case.
  if (model_->checks().violations() != violations) verdict.kind = Verdict::Kind::kWrong;
  return verdict;
}

Verdict Operation::JudgePut(const Pending& pending, std::string_view answer) {
  PutView view;
  if (!DecodePut(answer, &view)) return Undecodable(pending);
  model_->WriteAcknowledged(pending.key, ChangeOf(pending, view.revision), pending.floor);
  if (view.has_prev) model_->CheckPrevious(pending.key, view.prev, view.revision);
  if (!view.has_prev && spec_.prev_kv) {
    const KeyFact before = pending.floor.key;
    model_->checks().Expect(
        Check::kFreshness,
        before.revision == 0 || before.deleted || model_->MayVanish(pending.key.space), [&] {
          return StrCat("the put of ", model_->KeyText(pending.key), " at revision ", view.revision,
                        " had no previous pair, but its put at ", before.revision,
                        " was acknowledged before");
        });
  }
  return {};
}

Verdict Operation::JudgeGet(const Pending& pending, std::string_view answer) {
  RangeView view;
  KeyValueView kv;
  if (!DecodeRange(answer, &view) || !ForEachKeyValue(answer, [&](const KeyValueView& each) {
        kv = each;
        return false;
      })) {
    return Undecodable(pending);
  }
  const bool right = model_->checks().Expect(
      Check::kRange,
      view.kvs == view.count && view.kvs <= 1 && !view.more &&
          (view.kvs == 0 || keys_.NumberOf(kv.key) == pending.key.number),
      [&] {
        return StrCat("a get of ", model_->KeyText(pending.key), " has ", view.kvs,
                      " pairs, count ", view.count, ", first key ", kv.key);
      });
  if (!right) return kWrong;
  model_->CheckPointRead(pending.key, view.kvs == 0 ? nullptr : &kv, view.revision, pending.floor,
                         spec_.consistency);
  return {Verdict::Kind::kOk, static_cast<uint64_t>(view.kvs)};
}

Verdict Operation::JudgeList(const Pending& pending, std::string_view answer) {
  RangeView view;
  if (!DecodeRange(answer, &view)) return Undecodable(pending);
  CheckLog& checks = model_->checks();
  if (spec_.consistency == Consistency::kLinearizable) {
    model_->CheckHeader(view.revision, pending.floor);
  }
  // Every key up to the last one shown, or to the end when nothing was cut off, must be shown.
  int64_t next = pending.interval.low;
  int64_t foreign = 0;
  const auto absent_below = [&](int64_t end) {
    for (; next < end; ++next) model_->CheckAbsent({spec_.key_space, next}, view.revision);
  };
  const bool decoded = ForEachKeyValue(answer, [&](const KeyValueView& kv) {
    const int64_t number = keys_.NumberOf(kv.key);
    if (number < 0 && model_->OlderKeys(spec_.key_space)) {
      ++foreign;
      return true;
    }
    const bool in_order =
        checks.Expect(Check::kRange, number >= next && number < pending.interval.high, [&] {
          return StrCat("a ", spec_.name, " of keys ", pending.interval.low, " to ",
                        pending.interval.high, " shows ", kv.key, " where number ", next,
                        " or more was due");
        });
    if (!in_order) return false;
    absent_below(number);
    next = number + 1;
    model_->CheckPair({spec_.key_space, number}, kv, view.revision, !spec_.keys_only);
    return true;
  });
  if (!decoded) return Undecodable(pending);
  if (!view.more) absent_below(pending.interval.high);
  checks.Expect(Check::kRange,
                view.more ? spec_.limit > 0 && view.kvs == spec_.limit && view.count > view.kvs
                          : view.count == view.kvs && (spec_.limit == 0 || view.kvs <= spec_.limit),
                [&] {
                  return StrCat("a ", spec_.name, " with limit ", spec_.limit, " has ", view.kvs,
                                " pairs, count ", view.count, view.more ? ", more" : ", no more");
                });
  return {Verdict::Kind::kOk, static_cast<uint64_t>(view.kvs)};
}

Verdict Operation::JudgeCount(const Pending& pending, std::string_view answer) {
  RangeView view;
  if (!DecodeRange(answer, &view)) return Undecodable(pending);
  if (spec_.consistency == Consistency::kLinearizable) {
    model_->CheckHeader(view.revision, pending.floor);
  }
  // Keys that never vanish: all that were acknowledged before; all of the interval, once all are.
  int64_t at_least = 0;
  if (!model_->MayVanish(spec_.key_space) && spec_.consistency == Consistency::kLinearizable) {
    if (pending.present == keys_.count()) at_least = pending.interval.size();
    if (pending.interval.size() == keys_.count()) at_least = pending.present;
  }
  const bool possible =
      view.kvs == 0 && !view.more && view.count >= at_least &&
      (view.count <= pending.interval.size() || model_->OlderKeys(spec_.key_space));
  model_->checks().Expect(Check::kRange, possible, [&] {
    return StrCat("a count of ", pending.interval.size(), " possible and at least ", at_least,
                  " present keys says ", view.count, " and sends ", view.kvs, " pairs");
  });
  return {};
}

Verdict Operation::JudgeTxn(const Pending& pending, std::string_view answer) {
  TxnView view;
  if (!DecodeTxn(answer, &view)) return Undecodable(pending);
  const TxnView::First due = !view.succeeded   ? TxnView::First::kRange
                             : pending.deletes ? TxnView::First::kDelete
                                               : TxnView::First::kPut;
  const bool right =
      model_->checks().Expect(Check::kTxn, view.responses == 1 && view.first == due, [&] {
        return StrCat("a txn that ", view.succeeded ? "succeeded" : "did not succeed", " has ",
                      view.responses, " answers, the first of kind ", static_cast<int>(view.first));
      });
  if (!right) {
    model_->WriteUnknown(pending.key);
    return kWrong;
  }
  if (!view.succeeded) return JudgeConflict(pending, view);
  model_->WriteAcknowledged(pending.key, ChangeOf(pending, view.revision), pending.floor);
  if (pending.deletes) {
    DeleteView deleted;
    if (!DecodeDelete(view.first_bytes, &deleted)) return Undecodable(pending);
    model_->checks().Expect(Check::kTxn, deleted.deleted == 1, [&] {
      return StrCat("a guarded delete at revision ", view.revision, " removed ", deleted.deleted,
                    " keys");
    });
  }
  return {};
}

Verdict Operation::JudgeConflict(const Pending& pending, const TxnView& txn) {
  model_->WriteRefused(pending.key, pending.deletes);
  RangeView range;
  KeyValueView kv;
  if (!DecodeRange(txn.first_bytes, &range) ||
      !ForEachKeyValue(txn.first_bytes, [&](const KeyValueView& each) {
        kv = each;
        return false;
      })) {
    model_->checks().Failed(Check::kDecode, "the read in a txn's answer is no range answer");
    return kWrong;
  }
  const bool right = model_->checks().Expect(
      Check::kTxn, (range.kvs == 0 ? 0 : kv.mod_revision) != pending.guard, [&] {
        return StrCat("a txn on ", model_->KeyText(pending.key),
                      " did not succeed although its "
                      "guard, revision ",
                      pending.guard, ", holds");
      });
  if (!right) return kWrong;
  model_->CheckPointRead(pending.key, range.kvs == 0 ? nullptr : &kv, txn.revision, pending.floor,
                         Consistency::kLinearizable);
  return {Verdict::Kind::kConflict, static_cast<uint64_t>(range.kvs)};
}

Verdict Operation::JudgeDelete(const Pending& pending, std::string_view answer) {
  DeleteView view;
  if (!DecodeDelete(answer, &view)) return Undecodable(pending);
  const bool right = model_->checks().Expect(
      Check::kRange, view.deleted == 0 || view.deleted == 1,
      [&] { return StrCat("the delete of one key removed ", view.deleted); });
  if (!right) {
    model_->WriteUnknown(pending.key);
    return kWrong;
  }
  if (view.deleted == 0) {
    model_->WriteRefused(pending.key, true);  // first: it does not explain the absence itself
    model_->CheckAbsent(pending.key, view.revision);
    model_->CheckHeader(view.revision, pending.floor);
    return {};
  }
  model_->WriteAcknowledged(pending.key, ChangeOf(pending, view.revision), pending.floor);
  if (view.has_prev) model_->CheckPrevious(pending.key, view.prev, view.revision);
  return {};
}

}  // namespace quorate::workload
