// Random requests for the engine's model test: few keys and short values, so that they meet, and
// every option of the API in some of them. For tests.
#pragma once

#include <algorithm>
#include <iterator>
#include <string>

#include "base/random.h"
#include "base/text.h"
#include "engine/engine.h"
#include "engine/engine_model.h"
#include "proto/etcdserverpb.pb.h"
#include "proto/raft_internal.pb.h"

namespace quorate::engine {

class EngineDraws {
 public:
  EngineDraws(Random* random, const EngineModel* model) : random_(random), model_(model) {}

  // An entry that a server would let into the log.
  etcdserverpb::InternalRaftRequest Entry() {
    etcdserverpb::InternalRaftRequest request;
    const uint64_t roll = model_->alarms().empty() ? random_->Below(100) : 50 + random_->Below(50);
    if (roll < 45) {
      *request.mutable_put() = Put(IgnoreFlags::kSometimes);
    } else if (roll < 55) {
      *request.mutable_delete_range() = Delete();
    } else if (roll < 82) {
      do {
        *request.mutable_txn() = Txn(0);
      } while (!Engine::CheckTxn(request.txn(), 128).ok());
    } else if (roll < 88) {
      request.mutable_lease_grant()->set_id(Lease());
      request.mutable_lease_grant()->set_ttl(random_->OneIn(10) ? 9'000'000'001
                                                                : random_->Between(-1, 90));
    } else if (roll < 92) {
      request.mutable_lease_revoke()->set_id(Lease());
    } else if (roll < 96) {
      const int64_t current = model_->current();
      request.mutable_compaction()->set_revision(
          random_->Between(std::max<int64_t>(model_->compacted() - 2, 0), current + 1));
      if (random_->OneIn(3)) request.mutable_compaction()->set_revision(current);
    } else {
      *request.mutable_alarm() = Alarm();
    }
    return request;
  }

  etcdserverpb::RangeRequest Range() {
    etcdserverpb::RangeRequest request;
    Interval(&request);
    if (random_->OneIn(2)) request.set_revision(Revision());
    if (random_->OneIn(2)) request.set_limit(random_->Between(-1, 6));
    request.set_count_only(random_->OneIn(8));
    request.set_keys_only(random_->OneIn(5));
    if (random_->OneIn(2)) {
      request.set_sort_order(static_cast<etcdserverpb::RangeRequest::SortOrder>(random_->Below(3)));
      request.set_sort_target(
          static_cast<etcdserverpb::RangeRequest::SortTarget>(random_->Below(5)));
    }
    if (random_->OneIn(6)) request.set_min_mod_revision(Revision());
    if (random_->OneIn(6)) request.set_max_mod_revision(Revision());
    if (random_->OneIn(6)) request.set_min_create_revision(Revision());
    if (random_->OneIn(6)) request.set_max_create_revision(Revision());
    return request;
  }

  etcdserverpb::TxnRequest ReadTxn() {
    etcdserverpb::TxnRequest request;
    for (uint64_t i = random_->Below(3); i > 0; --i) *request.add_compare() = Compare();
    for (uint64_t i = random_->Below(3); i > 0; --i) {
      *request.add_success()->mutable_request_range() = Range();
      *request.add_failure()->mutable_request_range() = Range();
    }
    return request;
  }

  int64_t Revision() {
    return random_->Between(std::max<int64_t>(model_->current() - 60, -1), model_->current() + 1);
  }

 private:
  enum class IgnoreFlags { kNever, kSometimes };

  std::string Key() {
    static const std::string kKeys[] = {"a",   "b",   "c",   "aa", "ab",  "b\xff",
                                        "k/1", "k/2", "k/3", "zz", "\xff"};
    if (random_->OneIn(40)) return std::string(1, '\0');
    if (random_->OneIn(2)) return StrCat("n/", random_->Below(60));
    return kKeys[random_->Below(std::size(kKeys))];
  }
  template <class Request>
  void Interval(Request* request) {
    request->set_key(Key());
    if (random_->OneIn(2)) return;
    request->set_range_end(random_->OneIn(3) ? std::string(1, '\0') : Key());
  }
  int64_t Lease() { return random_->OneIn(9) ? -3 : random_->Between(1, 6); }
  std::string Value() {
    const size_t bytes = random_->OneIn(12) ? 300 : random_->Below(24);
    return std::string(bytes, static_cast<char>('x' + random_->Below(3)));
  }

  etcdserverpb::PutRequest Put(IgnoreFlags flags) {
    etcdserverpb::PutRequest request;
    request.set_key(Key());
    request.set_prev_kv(random_->OneIn(3));
    request.set_ignore_value(flags == IgnoreFlags::kSometimes && random_->OneIn(10));
    request.set_ignore_lease(flags == IgnoreFlags::kSometimes && random_->OneIn(10));
    if (!request.ignore_value()) request.set_value(Value());
    if (!request.ignore_lease() && random_->OneIn(3)) request.set_lease(Lease());
    return request;
  }
  etcdserverpb::DeleteRangeRequest Delete() {
    etcdserverpb::DeleteRangeRequest request;
    if (random_->OneIn(5)) {
      Interval(&request);
    } else {
      request.set_key(Key());
    }
    request.set_prev_kv(random_->OneIn(2));
    return request;
  }
  etcdserverpb::Compare Compare() {
    etcdserverpb::Compare compare;
    compare.set_key(Key());
    if (random_->OneIn(4)) compare.set_range_end(random_->OneIn(2) ? std::string(1, '\0') : Key());
    compare.set_result(static_cast<etcdserverpb::Compare::CompareResult>(random_->Below(4)));
    compare.set_target(static_cast<etcdserverpb::Compare::CompareTarget>(random_->Below(5)));
    switch (compare.target()) {
      case etcdserverpb::Compare::VERSION:
        compare.set_version(random_->Between(0, 3));
        break;
      case etcdserverpb::Compare::CREATE:
        compare.set_create_revision(random_->OneIn(3) ? 0 : Revision());
        break;
      case etcdserverpb::Compare::MOD:
        compare.set_mod_revision(random_->OneIn(3) ? 0 : Revision());
        break;
      case etcdserverpb::Compare::VALUE:
        compare.set_value(Value());
        break;
      default:
        compare.set_lease(random_->OneIn(2) ? 0 : Lease());
    }
    return compare;
  }
  void AddOp(int depth, google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>* ops) {
    etcdserverpb::RequestOp* op = ops->Add();
    const uint64_t roll = random_->Below(10);
    if (roll < 4) {
      *op->mutable_request_put() = Put(IgnoreFlags::kSometimes);
    } else if (roll < 7) {
      *op->mutable_request_range() = Range();
    } else if (roll < 9 || depth > 1) {
      *op->mutable_request_delete_range() = Delete();
    } else {
      *op->mutable_request_txn() = Txn(depth + 1);
    }
  }
  etcdserverpb::TxnRequest Txn(int depth) {
    etcdserverpb::TxnRequest request;
    for (uint64_t i = random_->Below(3); i > 0; --i) *request.add_compare() = Compare();
    for (uint64_t i = random_->Below(4); i > 0; --i) AddOp(depth, request.mutable_success());
    for (uint64_t i = random_->Below(3); i > 0; --i) AddOp(depth, request.mutable_failure());
    return request;
  }
  etcdserverpb::AlarmRequest Alarm() {
    etcdserverpb::AlarmRequest request;
    request.set_action(random_->OneIn(6) ? etcdserverpb::AlarmRequest::ACTIVATE
                                         : etcdserverpb::AlarmRequest::DEACTIVATE);
    request.set_memberid(static_cast<uint64_t>(random_->Between(1, 2)));
    request.set_alarm(static_cast<etcdserverpb::AlarmType>(random_->Below(3)));
    // Soon off again, so that not much time is spent refusing.
    if (!model_->alarms().empty() && !random_->OneIn(4)) {
      const auto& [type, member] = *model_->alarms().begin();
      request.set_action(etcdserverpb::AlarmRequest::DEACTIVATE);
      request.set_memberid(member);
      request.set_alarm(static_cast<etcdserverpb::AlarmType>(type));
    }
    return request;
  }

  Random* const random_;
  const EngineModel* const model_;
};

}  // namespace quorate::engine
