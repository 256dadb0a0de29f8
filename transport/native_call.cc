#include "transport/native_call.h"

#include <utility>

#include "transport/grpc_wire.h"
#include "transport/http2_session.h"

namespace quorate::transport {

void MetadataBlock::Add(std::string_view name, std::string_view value) {
  text_.append(name).push_back('\0');
  text_.append(value).push_back('\0');
}

std::optional<std::string_view> MetadataBlock::Find(std::string_view name) const {
  std::string_view rest = text_;
  while (!rest.empty()) {
    const size_t name_end = rest.find('\0');
    const size_t value_end = rest.find('\0', name_end + 1);
    if (rest.substr(0, name_end) == name) {
      return rest.substr(name_end + 1, value_end - name_end - 1);
    }
    rest.remove_prefix(value_end + 1);
  }
  return std::nullopt;
}

std::vector<std::pair<std::string, std::string>> MetadataBlock::Fields() const {
  std::vector<std::pair<std::string, std::string>> fields;
  std::string_view rest = text_;
  while (!rest.empty()) {
    const size_t name_end = rest.find('\0');
    const size_t value_end = rest.find('\0', name_end + 1);
    fields.emplace_back(rest.substr(0, name_end),
                        rest.substr(name_end + 1, value_end - name_end - 1));
    rest.remove_prefix(value_end + 1);
  }
  return fields;
}

std::optional<std::string> NativeCall::Metadata(std::string_view name) const {
  const std::optional<std::string_view> value = metadata_.Find(name);
  if (!value.has_value()) return std::nullopt;
  if (name.size() > 4 && name.substr(name.size() - 4) == "-bin") {
    // A repeated `-bin` value may be joined by commas; the first one counts.
    absl::StatusOr<std::string> decoded = DecodeBase64(value->substr(0, value->find(',')));
    return decoded.ok() ? std::make_optional(*std::move(decoded)) : std::nullopt;
  }
  return std::string(*value);
}

void NativeCall::Send(Message message) {
  if (over_.load(std::memory_order_acquire)) return;
  queued_bytes_.fetch_add(message.size() + kMessagePrefixBytes, std::memory_order_relaxed);
  Hand(Completion::Kind::kSend, std::move(message), RpcStatus());
}

void NativeCall::Finish(RpcStatus status) {
  if (over_.load(std::memory_order_acquire)) return;
  Hand(Completion::Kind::kFinish, Message(), std::move(status));
}

void NativeCall::Reply(Message message) {
  if (over_.load(std::memory_order_acquire)) return;
  queued_bytes_.fetch_add(message.size() + kMessagePrefixBytes, std::memory_order_relaxed);
  Hand(Completion::Kind::kReply, std::move(message), RpcStatus());
}

void NativeCall::Hand(Completion::Kind kind, Message message, RpcStatus status) {
  if (MayActNow()) {
    Apply(kind, std::move(message), std::move(status));
    return;
  }
  in_mailbox_.fetch_add(1, std::memory_order_acq_rel);
  peer_->mailbox->Push({kind, shared_from_this(), std::move(message), std::move(status)});
}

void NativeCall::Deliver(Completion completion) {
  NativeCall* call = completion.call.get();
  call->in_mailbox_.fetch_sub(1, std::memory_order_acq_rel);
  call->Apply(completion.kind, std::move(completion.message), std::move(completion.status));
}

void NativeCall::Apply(Completion::Kind kind, Message message, RpcStatus status) {
  if (session_ == nullptr) {
    if (kind == Completion::Kind::kPulled || kind == Completion::Kind::kPullFailed) {
      queue_.AddPulled(Bytes());  // lets go of the source
    }
    return;
  }
  switch (kind) {
    case Completion::Kind::kSend:
      return session_->Send(this, std::move(message));
    case Completion::Kind::kFinish:
      return session_->Finish(this, std::move(status));
    case Completion::Kind::kReply:
      return session_->Reply(this, std::move(message));
    case Completion::Kind::kPulled:
      return session_->Pulled(this, std::move(message.pieces.front()));
    case Completion::Kind::kPullFailed:
      return session_->PullFailed(this, std::move(status));
  }
}

}  // namespace quorate::transport
