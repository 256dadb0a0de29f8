// One suite for every server transport of the registry.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "transport/test_service.h"

namespace quorate::transport {
namespace {

// Runs the rest of the test case once per transport.
std::string EachTransport() {
  std::vector<std::string> names;
  for (const ServerTransportRow& row : ServerTransportRegistry()) names.emplace_back(row.name);
  const std::string name = GENERATE_COPY(from_range(names));
  INFO("transport " << name);
  return name;
}

TEST_CASE("unary calls are answered, at once or from another thread") {
  TestServer server(EachTransport());
  TestClient client(server.port());
  for (const char* path : {"/test.Echo/Unary", "/test.Echo/Later"}) {
    for (const size_t size :
         {size_t{0}, size_t{1}, size_t{300}, size_t{16'384}, size_t{70'000}, size_t{1'500'000}}) {
      const std::string request(size, 'x');
      const CallResult result = client.Call(path, request);
      REQUIRE(result.status.message == "");
      REQUIRE(result.status.ok());
      REQUIRE(result.response == request);
    }
  }
}

TEST_CASE("many calls share a connection") {
  TestServer server(EachTransport());
  TestClient client(server.port());
  std::vector<std::string> requests;
  for (int i = 0; i < 5000; ++i) requests.push_back("request " + std::to_string(i));
  const auto results = client.CallMany("/test.Echo/Later", requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    REQUIRE(results[i].status.ok());
    REQUIRE(results[i].response == requests[i]);
  }
}

}  // namespace
}  // namespace quorate::transport
