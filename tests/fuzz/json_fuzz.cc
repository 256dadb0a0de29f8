// The JSON gateway's reader and writer over the request and the answer of every method of etcd's
// services: what a body says as a message is said by that message's JSON too, and a message that
// came as bytes survives the way to JSON and back. Input: which message, which of the two, bytes.
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "google/protobuf/message.h"
#include "google/protobuf/unknown_field_set.h"
#include "google/protobuf/util/message_differencer.h"
#include "proto/etcdserverpb.pb.h"
#include "proto/v3electionpb.pb.h"
#include "proto/v3lockpb.pb.h"
#include "server/gateway/json_reader.h"
#include "server/gateway/json_writer.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace quorate;  // NOLINT: a program of one file
using google::protobuf::Descriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::Message;
using google::protobuf::MessageFactory;

std::vector<const Message*> AllMessages() {
  std::vector<const Message*> messages;
  const auto add = [&](const Descriptor* type) {
    messages.push_back(MessageFactory::generated_factory()->GetPrototype(type));
  };
  for (const FileDescriptor* file : {etcdserverpb::RangeRequest::descriptor()->file(),
                                     v3lockpb::LockRequest::descriptor()->file(),
                                     v3electionpb::CampaignRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        add(file->service(s)->method(m)->input_type());
        add(file->service(s)->method(m)->output_type());
      }
    }
  }
  QR_CHECK(!messages.empty());
  return messages;
}

void SurvivesJson(Message* message) {
  message->DiscardUnknownFields();
  std::string text;
  server::AppendJson(*message, &text);
  server::JsonReader reader(text);
  const std::unique_ptr<Message> again(message->New());
  const absl::Status status = reader.Next(again.get());
  QR_CHECK_MSG(status.ok(), std::string(status.message()) + ": " + text);
  QR_CHECK_MSG(reader.AtEnd(), text);
  QR_CHECK_MSG(google::protobuf::util::MessageDifferencer::Equals(*message, *again), text);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const messages = new std::vector<const Message*>(AllMessages());
  fuzz::FuzzInput input(data, size);
  const Message* type = (*messages)[input.Byte() % messages->size()];
  const bool as_json = input.Byte() % 2 == 0;
  const std::string_view rest = input.Rest();
  const std::unique_ptr<Message> message(type->New());
  if (!as_json) {
    if (message->ParseFromArray(rest.data(), static_cast<int>(rest.size()))) {
      SurvivesJson(message.get());
    }
    return 0;
  }
  server::JsonReader reader(rest);
  while (!reader.AtEnd()) {
    message->Clear();
    if (!reader.Next(message.get()).ok()) break;
    SurvivesJson(message.get());
  }
  return 0;
}
