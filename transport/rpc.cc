#include "transport/rpc.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace quorate::transport {
namespace {

bool PathBefore(const Method* method, std::string_view path) { return method->path < path; }

RpcStatus Cardinality(const std::string& received) {
  return {RpcCode::kInternal,
          "cardinality violation: received " + received + " non-client-streaming RPC"};
}

}  // namespace

uint64_t Message::size() const {
  if (source != nullptr) return source->size();
  uint64_t sum = 0;
  for (const Bytes& piece : pieces) sum += piece.size();
  return sum;
}

void ServiceTable::Add(Method method) {
  QR_CHECK_MSG(method.path.size() >= 4 && method.path.front() == '/' &&
                   method.path.find('/', 1) != std::string::npos,
               method.path);
  QR_CHECK_MSG((method.unary == nullptr) != (method.bidi == nullptr), method.path);
  auto at = std::lower_bound(by_path_.begin(), by_path_.end(), method.path, PathBefore);
  QR_CHECK_MSG(at == by_path_.end() || (*at)->path != method.path, method.path);
  methods_.push_back(std::make_unique<Method>(std::move(method)));
  by_path_.insert(at, methods_.back().get());
}

const Method* ServiceTable::Find(std::string_view path) const {
  auto at = std::lower_bound(by_path_.begin(), by_path_.end(), path, PathBefore);
  return at != by_path_.end() && (*at)->path == path ? *at : nullptr;
}

bool ServiceTable::HasService(std::string_view service) const {
  return std::any_of(by_path_.begin(), by_path_.end(), [service](const Method* method) {
    const std::string_view path = method->path;
    return path.size() > service.size() + 1 && path.substr(1, service.size()) == service &&
           path[service.size() + 1] == '/';
  });
}

RequestMessages::Next RequestMessages::OnMessage(Bytes message) {
  ++count_;
  if (kind_ == Method::Kind::kBidi) return {.deliver = std::move(message), .refuse = {}};
  if (kind_ == Method::Kind::kUnary) {
    return count_ == 1 ? Next{.deliver = std::move(message), .refuse = {}} : Next{};
  }
  if (count_ > 1) return {.deliver = {}, .refuse = Cardinality("multiple request messages for")};
  held_ = std::move(message);
  return {};
}

RequestMessages::Next RequestMessages::OnHalfClose() {
  if (kind_ == Method::Kind::kBidi) return {};
  if (count_ == 0) {
    return {.deliver = {},
            .refuse = kind_ == Method::Kind::kUnary ? RpcStatus{RpcCode::kUnknown, "EOF"}
                                                    : Cardinality("no request message from")};
  }
  return {.deliver = std::exchange(held_, std::nullopt), .refuse = {}};
}

RpcStatus UnknownMethodStatus(const ServiceTable& table, std::string_view path) {
  const std::string_view name = path.substr(path.starts_with('/') ? 1 : 0);
  const size_t slash = name.rfind('/');
  if (slash == std::string_view::npos) {
    return {RpcCode::kUnimplemented, "malformed method name: \"" + std::string(path) + "\""};
  }
  const std::string service(name.substr(0, slash));
  if (!table.HasService(service)) return {RpcCode::kUnimplemented, "unknown service " + service};
  return {RpcCode::kUnimplemented,
          "unknown method " + std::string(name.substr(slash + 1)) + " for service " + service};
}

}  // namespace quorate::transport
