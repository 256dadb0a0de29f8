// Small things that the proxy's services have in common: requests taken apart, answers looked at.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "proto/etcdserverpb.pb.h"
#include "proxy/carried_call.h"

namespace quorate::proxy {

inline constexpr char kEmptyKeyText[] = "etcdserver: key is not provided";
inline constexpr char kCompactedText[] = "etcdserver: mvcc: required revision has been compacted";
inline constexpr char kNoLeaderText[] = "etcdserver: no leader";

template <class Message>
bool Parse(const Bytes& bytes, Message* message) {
  return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

// Fails the call as gRPC does for bytes that are no such message.
template <class Message>
bool ParseOrFail(transport::ServerCall& call, const Bytes& bytes, Message* message) {
  if (Parse(bytes, message)) return true;
  call.Finish({transport::RpcCode::kInternal,
               "grpc: error unmarshalling request: malformed " + message->GetTypeName()});
  return false;
}

// A member's answer is not what it should be.
inline transport::RpcStatus NoSuchAnswer() {
  return {transport::RpcCode::kInternal, "the member's answer is not what it should be"};
}

template <class Message>
Bytes Serialize(const Message& message) {
  return Bytes::FromString(message.SerializeAsString());
}

// The header of any answer of etcd's, without reading the rest; empty where there is none.
etcdserverpb::ResponseHeader HeaderOf(const Bytes& answer);

}  // namespace quorate::proxy
