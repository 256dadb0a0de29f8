#include "proxy/key_namespace.h"

#include "base/text.h"

namespace quorate::proxy {

std::string KeyNamespace::Enter(std::string_view key) const { return StrCat(prefix_, key); }

std::string KeyNamespace::EnterEnd(std::string_view range_end) const {
  if (range_end.empty() || prefix_.empty()) return std::string(range_end);
  const std::string_view no_end("\0", 1);
  if (range_end != no_end) return StrCat(prefix_, range_end);
  // To the end of the prefix: the first text behind all that begin with it.
  std::string end = prefix_;
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (end.empty()) return std::string(no_end);
  end.back() = static_cast<char>(end.back() + 1);
  return end;
}

void KeyNamespace::Enter(etcdserverpb::RequestOp* operation) const {
  using Op = etcdserverpb::RequestOp;
  switch (operation->request_case()) {
    case Op::kRequestRange:
      return EnterRange(operation->mutable_request_range());
    case Op::kRequestPut:
      return operation->mutable_request_put()->set_key(Enter(operation->request_put().key()));
    case Op::kRequestDeleteRange:
      return EnterRange(operation->mutable_request_delete_range());
    case Op::kRequestTxn:
      return Enter(operation->mutable_request_txn());
    case Op::REQUEST_NOT_SET:
      return;
  }
}

void KeyNamespace::Enter(etcdserverpb::TxnRequest* request) const {
  for (auto& compare : *request->mutable_compare()) EnterRange(&compare);
  for (auto& operation : *request->mutable_success()) Enter(&operation);
  for (auto& operation : *request->mutable_failure()) Enter(&operation);
}

void KeyNamespace::Leave(etcdserverpb::RangeResponse* response) const {
  for (auto& kv : *response->mutable_kvs()) Leave(&kv);
}

void KeyNamespace::Leave(etcdserverpb::PutResponse* response) const {
  if (response->has_prev_kv()) Leave(response->mutable_prev_kv());
}

void KeyNamespace::Leave(etcdserverpb::DeleteRangeResponse* response) const {
  for (auto& kv : *response->mutable_prev_kvs()) Leave(&kv);
}

void KeyNamespace::Leave(etcdserverpb::TxnResponse* response) const {
  using Op = etcdserverpb::ResponseOp;
  for (auto& operation : *response->mutable_responses()) {
    switch (operation.response_case()) {
      case Op::kResponseRange:
        Leave(operation.mutable_response_range());
        break;
      case Op::kResponsePut:
        Leave(operation.mutable_response_put());
        break;
      case Op::kResponseDeleteRange:
        Leave(operation.mutable_response_delete_range());
        break;
      case Op::kResponseTxn:
        Leave(operation.mutable_response_txn());
        break;
      case Op::RESPONSE_NOT_SET:
        break;
    }
  }
}

void KeyNamespace::Leave(etcdserverpb::WatchResponse* response) const {
  for (auto& event : *response->mutable_events()) {
    Leave(event.mutable_kv());
    if (event.has_prev_kv()) Leave(event.mutable_prev_kv());
  }
}

void KeyNamespace::Leave(etcdserverpb::LeaseTimeToLiveResponse* response) const {
  google::protobuf::RepeatedPtrField<std::string> inside;
  for (const std::string& key : response->keys()) {
    if (key.starts_with(prefix_)) *inside.Add() = key.substr(prefix_.size());
  }
  response->mutable_keys()->Swap(&inside);
}

}  // namespace quorate::proxy
