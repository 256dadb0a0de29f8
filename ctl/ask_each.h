// Commands that look at each endpoint by itself, and go on after one that fails.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/text.h"
#include "ctl/session.h"

namespace quorate::ctl {

// What one endpoint said.
template <class Response>
struct Answer {
  std::string endpoint;
  Response response;
  transport::RpcStatus status;
  int64_t took_ns = 0;
};

// Calls one method on each endpoint by itself.
template <class Response>
std::vector<Answer<Response>> AskEach(Session* session, std::string_view path,
                                      const google::protobuf::Message& request) {
  const SystemClock clock;
  std::vector<Answer<Response>> answers;
  for (const std::string& endpoint : session->Endpoints()) {
    Answer<Response>& answer = answers.emplace_back();
    answer.endpoint = endpoint;
    const int64_t begin_ns = clock.MonotonicNs();
    auto client = session->ClientOf(endpoint);
    answer.status = client.ok()
                        ? (*client)->Call(path, request, &answer.response)
                        : transport::RpcStatus{transport::RpcCode::kInvalidArgument,
                                               std::string(ToStd(client.status().message()))};
    answer.took_ns = clock.MonotonicNs() - begin_ns;
  }
  return answers;
}

// Tells failed answers on standard error and takes them out. Answers the exit code so far.
template <class Response>
int TellFailures(std::string_view what, std::vector<Answer<Response>>* answers) {
  if (answers->empty()) return kExitError;  // the endpoints could not be had: told
  int code = kExitOk;
  for (const auto& answer : *answers) {
    if (answer.status.ok()) continue;
    code = kExitError;
    std::fprintf(stderr, "Failed to get the %s of endpoint %s (%s)\n", std::string(what).c_str(),
                 answer.endpoint.c_str(), ErrorText(answer.status).c_str());
  }
  std::erase_if(*answers, [](const auto& answer) { return !answer.status.ok(); });
  return code;
}

}  // namespace quorate::ctl
