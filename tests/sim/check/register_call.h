// Operations reduced to what a search needs: numbers for keys and values, what must be seen and
// what is written. For linearizability.cc alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/check/history.h"

namespace quorate::sim {

// Values are numbered from 1; 0 = the key is not there.
struct KeyValuePair {
  uint32_t key;
  uint32_t value;
};

struct RegisterCall {
  // One thing that must hold before the call takes effect.
  struct Expectation {
    enum class Kind { kIs, kIsNot, kCount } kind = Kind::kIs;
    std::vector<uint32_t> keys;
    uint32_t value = 0;  // kCount: how many of the keys are there
  };

  size_t operation = 0;  // place in the history
  uint64_t invoked = 0;
  uint64_t returned = kNever;
  int64_t revision = INT64_MAX;  // a hint only
  std::vector<uint32_t> keys;    // all it touches
  std::vector<Expectation> expectations;
  std::vector<KeyValuePair> writes;
  // Of a transaction without an answer: which way it goes is decided by its conditions.
  struct Branch {
    std::vector<Expectation> conditions;
    std::vector<KeyValuePair> otherwise;
  };
  std::vector<Branch> undecided;  // none or one

  bool Fits(const std::vector<uint32_t>& state) const;
  void ApplyTo(std::vector<uint32_t>* state) const;
};

class CallCompiler {
 public:
  explicit CallCompiler(const std::vector<Operation>& operations);

  std::vector<RegisterCall> Compile();
  size_t keys() const { return keys_.size(); }
  std::string KeyName(size_t key) const;

 private:
  using Steps = google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>;
  using Answers = google::protobuf::RepeatedPtrField<etcdserverpb::ResponseOp>;

  void LearnKeys(const Operation& operation);
  void LearnStep(const etcdserverpb::RequestOp& step);
  std::vector<uint32_t> KeysIn(const std::string& key, const std::string& range_end) const;
  uint32_t ValueNumber(const std::string& value);
  bool Eligible(const Operation& operation) const;
  RegisterCall CompileOne(size_t place);
  void AddStep(const etcdserverpb::RequestOp& step, const etcdserverpb::ResponseOp* answer,
               RegisterCall* call, std::vector<KeyValuePair>* writes);
  void AddRange(const etcdserverpb::RangeRequest& request,
                const etcdserverpb::RangeResponse& answer, RegisterCall* call);
  // False when the comparison is of a kind that the search does not follow.
  bool AddCompare(const etcdserverpb::Compare& compare, bool holds, RegisterCall* call,
                  std::vector<RegisterCall::Expectation>* expectations);
  void AddTxn(const Operation& operation, RegisterCall* call);

  const std::vector<Operation>& operations_;
  std::map<std::string, uint32_t> keys_;
  std::map<std::string, uint32_t> values_;
};

}  // namespace quorate::sim
