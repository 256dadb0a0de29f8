// Http2Requests: ordinary HTTP requests (GET /health, /metrics, JSON) on a connection whose other
// streams are gRPC calls. etcd serves both behind TLS, where clients such as curl choose HTTP/2.
// A request is collected whole, within limits, and handed to the HttpHandler; the answer may come
// in pieces. Loop thread only; answers may come from any thread.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "transport/native_call.h"
#include "transport/protocol.h"
#include "transport/server.h"

namespace quorate::transport {

class Http2Requests {
 public:
  // Requests of one connection that may be open at a time; more are refused.
  static constexpr size_t kOpenMax = 100;

  Http2Requests(const LoopContext* context, ProtocolHost* host,
                std::shared_ptr<const PeerInfo> peer, nghttp2_session* session)
      : context_(context), host_(host), peer_(std::move(peer)), session_(session) {}

  // A header block, as far as it was taken apart.
  struct Head {
    std::string_view method;
    std::string_view target;  // :path
    std::optional<uint64_t> content_length;
    // Fields that are no part of the rest; those without a value were not sent.
    std::initializer_list<std::pair<std::string_view, std::string_view>> taken;
    const MetadataBlock& others;
  };
  void Begin(int32_t stream_id, const Head& head);
  // Of a stream that began here; does nothing for others.
  void OnData(int32_t stream_id, std::string_view data);
  void OnHalfClose(int32_t stream_id);
  void OnStreamClosed(int32_t stream_id);
  bool Has(int32_t stream_id) const { return open_.contains(stream_id); }
  // Answers that last as long as their client wants end; others may still be given.
  void StartDrain();
  void OnLost();

 private:
  class Exchange;
  enum class Body : uint8_t { kWhole, kInPieces };

  static ssize_t ReadBody(nghttp2_session*, int32_t, uint8_t* buffer, size_t length,
                          uint32_t* flags, nghttp2_data_source* source, void*);
  void HandOut(const std::shared_ptr<Exchange>& exchange);
  void Respond(Exchange* exchange, HttpResponse response, Body body);
  void Resume(Exchange* exchange);
  void Refuse(Exchange* exchange, int status);
  void ResetMalformed(Exchange* exchange);
  void Reset(const Exchange& exchange, uint32_t error_code);

  const LoopContext* const context_;
  ProtocolHost* const host_;
  const std::shared_ptr<const PeerInfo> peer_;
  nghttp2_session* const session_;
  std::map<int32_t, std::shared_ptr<Exchange>> open_;
};

}  // namespace quorate::transport
