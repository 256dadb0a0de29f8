#include "tests/sim/check/register_call.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "tests/sim/check/store_model.h"

namespace quorate::sim {
namespace {

using Expectation = RegisterCall::Expectation;

bool Holds(const Expectation& expectation, const std::vector<uint32_t>& state) {
  if (expectation.kind == Expectation::Kind::kCount) {
    const auto there = std::count_if(expectation.keys.begin(), expectation.keys.end(),
                                     [&](uint32_t key) { return state[key] != 0; });
    return static_cast<uint32_t>(there) == expectation.value;
  }
  const bool is = state[expectation.keys.front()] == expectation.value;
  return is == (expectation.kind == Expectation::Kind::kIs);
}

bool AllHold(const std::vector<Expectation>& expectations, const std::vector<uint32_t>& state) {
  return std::all_of(expectations.begin(), expectations.end(),
                     [&](const Expectation& expectation) { return Holds(expectation, state); });
}

}  // namespace

bool RegisterCall::Fits(const std::vector<uint32_t>& state) const {
  return AllHold(expectations, state);
}

void RegisterCall::ApplyTo(std::vector<uint32_t>* state) const {
  const bool taken = undecided.empty() || AllHold(undecided.front().conditions, *state);
  for (const KeyValuePair& write : taken ? writes : undecided.front().otherwise) {
    (*state)[write.key] = write.value;
  }
}

CallCompiler::CallCompiler(const std::vector<Operation>& operations) : operations_(operations) {
  for (const Operation& operation : operations) LearnKeys(operation);
  uint32_t number = 0;
  for (auto& [key, place] : keys_) place = number++;
}

std::string CallCompiler::KeyName(size_t key) const {
  return std::next(keys_.begin(), static_cast<ptrdiff_t>(key))->first;
}

void CallCompiler::LearnStep(const etcdserverpb::RequestOp& step) {
  if (step.has_request_put()) keys_[step.request_put().key()];
  if (step.has_request_range()) keys_[step.request_range().key()];
  if (step.has_request_delete_range()) keys_[step.request_delete_range().key()];
  for (const auto& inner : step.request_txn().success()) LearnStep(inner);
  for (const auto& inner : step.request_txn().failure()) LearnStep(inner);
}

void CallCompiler::LearnKeys(const Operation& operation) {
  const auto& request = operation.request;
  if (request.has_put()) keys_[request.put().key()];
  if (request.has_range()) keys_[request.range().key()];
  if (request.has_delete_range()) keys_[request.delete_range().key()];
  for (const auto& step : request.txn().success()) LearnStep(step);
  for (const auto& step : request.txn().failure()) LearnStep(step);
}

std::vector<uint32_t> CallCompiler::KeysIn(const std::string& key,
                                           const std::string& range_end) const {
  std::vector<uint32_t> found;
  for (auto at = keys_.lower_bound(key); at != keys_.end() && InRange(at->first, key, range_end);
       ++at) {
    found.push_back(at->second);
  }
  return found;
}

uint32_t CallCompiler::ValueNumber(const std::string& value) {
  return values_.try_emplace(value, static_cast<uint32_t>(values_.size()) + 1).first->second;
}

bool CallCompiler::Eligible(const Operation& operation) const {
  if (operation.outcome == Operation::Outcome::kRefused) return false;
  const auto& request = operation.request;
  if (operation.IsRead()) {
    const bool done = operation.outcome == Operation::Outcome::kDone;
    return done && operation.read == Operation::Read::kLinearizable &&
           request.range().revision() == 0 && request.range().limit() == 0;
  }
  return request.has_put() || request.has_delete_range() || request.has_txn();
}

std::vector<RegisterCall> CallCompiler::Compile() {
  std::vector<RegisterCall> calls;
  std::set<uint32_t> leased;  // keys that an expiry may delete, which is no operation
  for (const Operation& operation : operations_) {
    const etcdserverpb::PutRequest& put = operation.request.put();
    if (put.lease() != 0) leased.insert(keys_.at(put.key()));
  }
  for (size_t i = 0; i < operations_.size(); ++i) {
    if (!Eligible(operations_[i])) continue;
    RegisterCall call = CompileOne(i);
    const bool plain = std::none_of(call.keys.begin(), call.keys.end(),
                                    [&](uint32_t key) { return leased.contains(key); });
    if (plain) calls.push_back(std::move(call));
  }
  return calls;
}

RegisterCall CallCompiler::CompileOne(size_t place) {
  const Operation& operation = operations_[place];
  RegisterCall call;
  call.operation = place;
  call.invoked = operation.invoked;
  const bool done = operation.outcome == Operation::Outcome::kDone;
  if (done) {
    call.returned = operation.returned;
    call.revision = operation.revision;
  }
  const auto& request = operation.request;
  if (request.has_txn()) {
    AddTxn(operation, &call);
  } else {
    etcdserverpb::RequestOp step;
    if (request.has_put()) *step.mutable_request_put() = request.put();
    if (request.has_range()) *step.mutable_request_range() = request.range();
    if (request.has_delete_range()) *step.mutable_request_delete_range() = request.delete_range();
    AddStep(step, done ? &operation.response : nullptr, &call, &call.writes);
  }
  return call;
}

void CallCompiler::AddRange(const etcdserverpb::RangeRequest& request,
                            const etcdserverpb::RangeResponse& answer, RegisterCall* call) {
  const std::vector<uint32_t> keys = KeysIn(request.key(), request.range_end());
  call->keys.insert(call->keys.end(), keys.begin(), keys.end());
  if (request.count_only() || request.keys_only()) {
    call->expectations.push_back(
        {Expectation::Kind::kCount, keys, static_cast<uint32_t>(answer.count())});
    return;
  }
  for (const uint32_t key : keys) {
    Expectation expectation{Expectation::Kind::kIs, {key}, 0};
    for (const mvccpb::KeyValue& kv : answer.kvs()) {
      const auto known = keys_.find(kv.key());
      if (known != keys_.end() && known->second == key) {
        expectation.value = ValueNumber(kv.value());
      }
    }
    call->expectations.push_back(std::move(expectation));
  }
}

void CallCompiler::AddStep(const etcdserverpb::RequestOp& step,
                           const etcdserverpb::ResponseOp* answer, RegisterCall* call,
                           std::vector<KeyValuePair>* writes) {
  if (step.has_request_put()) {
    const uint32_t key = keys_.at(step.request_put().key());
    call->keys.push_back(key);
    writes->push_back({key, ValueNumber(step.request_put().value())});
  } else if (step.has_request_delete_range()) {
    const auto& request = step.request_delete_range();
    const std::vector<uint32_t> keys = KeysIn(request.key(), request.range_end());
    call->keys.insert(call->keys.end(), keys.begin(), keys.end());
    for (const uint32_t key : keys) writes->push_back({key, 0});
    if (answer != nullptr) {
      const auto deleted = static_cast<uint32_t>(answer->response_delete_range().deleted());
      call->expectations.push_back({Expectation::Kind::kCount, keys, deleted});
    }
  } else if (step.has_request_txn()) {
    // Its conditions are taken as told; without an answer it must have none.
    const etcdserverpb::TxnRequest& txn = step.request_txn();
    const bool taken = answer == nullptr || answer->response_txn().succeeded();
    const Steps& steps = taken ? txn.success() : txn.failure();
    for (int i = 0; i < steps.size(); ++i) {
      AddStep(steps[i], answer == nullptr ? nullptr : &answer->response_txn().responses(i), call,
              writes);
    }
  } else if (step.has_request_range() && answer != nullptr) {
    AddRange(step.request_range(), answer->response_range(), call);
  } else if (step.has_request_range()) {
    const auto keys = KeysIn(step.request_range().key(), step.request_range().range_end());
    call->keys.insert(call->keys.end(), keys.begin(), keys.end());
  }
}

bool CallCompiler::AddCompare(const etcdserverpb::Compare& compare, bool holds, RegisterCall* call,
                              std::vector<Expectation>* expectations) {
  using etcdserverpb::Compare;
  if (compare.result() != Compare::EQUAL || !compare.range_end().empty()) return false;
  const auto known = keys_.find(compare.key());
  // A key that nobody writes is never there.
  if (known == keys_.end()) return true;
  call->keys.push_back(known->second);
  uint32_t value = 0;
  if (compare.target() == Compare::VALUE) {
    value = ValueNumber(compare.value());
  } else if ((compare.target() != Compare::CREATE || compare.create_revision() != 0) &&
             (compare.target() != Compare::VERSION || compare.version() != 0)) {
    return false;
  }
  expectations->push_back(
      {holds ? Expectation::Kind::kIs : Expectation::Kind::kIsNot, {known->second}, value});
  return true;
}

void CallCompiler::AddTxn(const Operation& operation, RegisterCall* call) {
  const etcdserverpb::TxnRequest& txn = operation.request.txn();
  if (operation.outcome == Operation::Outcome::kDone) {
    const etcdserverpb::TxnResponse& answer = operation.response.response_txn();
    const Steps& steps = answer.succeeded() ? txn.success() : txn.failure();
    // That one of several conditions failed says of none that it did.
    std::vector<Expectation> ignored;
    const bool telling = answer.succeeded() || txn.compare_size() == 1;
    for (const auto& compare : txn.compare()) {
      AddCompare(compare, answer.succeeded(), call, telling ? &call->expectations : &ignored);
    }
    for (int i = 0; i < steps.size() && i < answer.responses_size(); ++i) {
      AddStep(steps[i], &answer.responses(i), call, &call->writes);
    }
    return;
  }
  RegisterCall::Branch branch;
  for (const auto& compare : txn.compare()) AddCompare(compare, true, call, &branch.conditions);
  for (const auto& step : txn.success()) AddStep(step, nullptr, call, &call->writes);
  for (const auto& step : txn.failure()) AddStep(step, nullptr, call, &branch.otherwise);
  call->undecided.push_back(std::move(branch));
}

}  // namespace quorate::sim
