// A blocking HTTP/1.1 request to a peer's URL, for the few questions that members ask one another
// beside raft: who are you, which version, renew this lease. On a thread that may wait.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/tls/tls_context.h"

namespace quorate::server {

struct HttpCall {
  std::string url;  // "http://10.0.0.1:2380"
  std::string method = "GET";
  std::string path;  // "/members"
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  int64_t timeout_ns = 1'000'000'000;          // for all of it, but for looking up the name
  std::shared_ptr<transport::TlsContext> tls;  // for https
};

struct HttpAnswer {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names lower-case
  std::string body;

  std::string Header(std::string_view lower_name) const;  // empty when absent
};

// Who asks for others. `done` is called once, on any thread.
class HttpCaller {
 public:
  virtual ~HttpCaller() = default;
  virtual void Call(HttpCall call, std::function<void(absl::StatusOr<HttpAnswer>)> done) = 0;
};

// kUnavailable names the URL and the reason; kDeadlineExceeded when the time is up.
absl::StatusOr<HttpAnswer> CallHttp(const HttpCall& call);

}  // namespace quorate::server
