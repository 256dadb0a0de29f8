// grpc.health.v1.Health and server reflection (v1 and v1alpha, which share their messages), so that
// grpcurl-like tools and load balancers find what they expect.

#include <map>
#include <set>
#include <utility>

#include "base/text.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "proto/health.pb.h"
#include "proto/reflection.pb.h"
#include "server/services/context.h"

namespace quorate::server {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
namespace health = grpc::health::v1;
namespace reflection = grpc::reflection::v1alpha;

void Check(ServiceContext&, CallPtr call, Bytes bytes) {
  health::HealthCheckRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  if (!request.service().empty()) {
    return call->Finish({transport::RpcCode::kNotFound, "unknown service"});
  }
  health::HealthCheckResponse response;
  response.set_status(health::HealthCheckResponse::SERVING);
  call->Reply(Bytes::FromString(response.SerializeAsString()));
}

void List(ServiceContext&, CallPtr call, Bytes bytes) {
  health::HealthListRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  health::HealthListResponse response;
  (*response.mutable_statuses())[""].set_status(health::HealthCheckResponse::SERVING);
  call->Reply(Bytes::FromString(response.SerializeAsString()));
}

// The state does not change while the server serves: one message, then the stream stays open.
class HealthWatch final : public transport::CallHandler {
 public:
  explicit HealthWatch(CallPtr call) : call_(std::move(call)) {}
  void OnMessage(Bytes bytes) override {
    health::HealthCheckRequest request;
    if (!ParseOrFail(*call_, bytes, &request, RequestOf::kStream)) return;
    health::HealthCheckResponse response;
    response.set_status(request.service().empty() ? health::HealthCheckResponse::SERVING
                                                  : health::HealthCheckResponse::SERVICE_UNKNOWN);
    call_->Send(Bytes::FromString(response.SerializeAsString()));
  }
  void OnHalfClose() override {}
  void OnClosed() override {}

 private:
  const CallPtr call_;
};

class ReflectionCall final : public transport::CallHandler {
 public:
  ReflectionCall(const transport::ServiceTable* table, CallPtr call)
      : table_(table), call_(std::move(call)) {}

  void OnMessage(Bytes bytes) override {
    reflection::ServerReflectionRequest request;
    if (!ParseOrFail(*call_, bytes, &request, RequestOf::kStream)) return;
    reflection::ServerReflectionResponse response;
    response.set_valid_host(request.host());
    *response.mutable_original_request() = request;
    Fill(request, &response);
    call_->Send(Bytes::FromString(response.SerializeAsString()));
  }
  void OnHalfClose() override { call_->Finish({}); }
  void OnClosed() override {}

 private:
  void Fill(const reflection::ServerReflectionRequest& request,
            reflection::ServerReflectionResponse* response) {
    const DescriptorPool* pool = DescriptorPool::generated_pool();
    const FileDescriptor* file = nullptr;
    switch (request.message_request_case()) {
      case reflection::ServerReflectionRequest::kListServices:
        return ListServices(response);
      case reflection::ServerReflectionRequest::kFileByFilename:
        file = pool->FindFileByName(request.file_by_filename());
        break;
      case reflection::ServerReflectionRequest::kFileContainingSymbol:
        file = pool->FindFileContainingSymbol(request.file_containing_symbol());
        break;
      default:
        return Error(12, "this kind of reflection request is not supported", response);
    }
    if (file == nullptr) return Error(5, "no such file or symbol", response);
    std::set<const FileDescriptor*> seen;
    AddWithImports(file, &seen, response->mutable_file_descriptor_response());
  }

  void ListServices(reflection::ServerReflectionResponse* response) {
    std::set<std::string> services;
    for (const auto& method : table_->methods()) {
      const std::vector<std::string_view> parts = StrSplit(method->path, '/');
      services.emplace(parts.at(1));
    }
    for (const std::string& service : services) {
      response->mutable_list_services_response()->add_service()->set_name(service);
    }
  }

  static void Error(int code, std::string_view text,
                    reflection::ServerReflectionResponse* response) {
    response->mutable_error_response()->set_error_code(code);
    response->mutable_error_response()->set_error_message(std::string(text));
  }

  // Imports first, so that a tool can build the files in order.
  static void AddWithImports(const FileDescriptor* file, std::set<const FileDescriptor*>* seen,
                             reflection::FileDescriptorResponse* out) {
    if (!seen->insert(file).second) return;
    google::protobuf::FileDescriptorProto proto;
    file->CopyTo(&proto);
    out->add_file_descriptor_proto(proto.SerializeAsString());
    for (int i = 0; i < file->dependency_count(); ++i) {
      AddWithImports(file->dependency(i), seen, out);
    }
  }

  const transport::ServiceTable* const table_;
  const CallPtr call_;
};

}  // namespace

void AddHealthAndReflection(ServiceContext* context, transport::ServiceTable* table) {
  AddUnaryMethods(context, "grpc.health.v1.Health", {{"Check", Check}, {"List", List}}, table);
  transport::Method watch;
  watch.path = "/grpc.health.v1.Health/Watch";
  watch.kind = transport::Method::Kind::kServerStream;
  watch.bidi = [context](CallPtr call) {
    AdmitStream(*context, call);
    return std::make_unique<HealthWatch>(std::move(call));
  };
  table->Add(std::move(watch));
  for (const char* version : {"v1", "v1alpha"}) {
    transport::Method info;
    info.path = StrCat("/grpc.reflection.", version, ".ServerReflection/ServerReflectionInfo");
    info.kind = transport::Method::Kind::kBidi;
    info.bidi = [table](CallPtr call) {
      return std::make_unique<ReflectionCall>(table, std::move(call));
    };
    table->Add(std::move(info));
  }
}

}  // namespace quorate::server
