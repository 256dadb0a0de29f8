#include "transport/raw_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <stdexcept>

#include "base/check.h"
#include "transport/test_service.h"
#include "transport/tls/tls_verify.h"

namespace quorate::transport {
namespace {

constexpr size_t kFrameHeaderBytes = 9;

void AppendLiteral(std::string* block, std::string_view text) {
  // 7-bit prefix integer, no Huffman.
  size_t size = text.size();
  if (size < 127) {
    block->push_back(static_cast<char>(size));
  } else {
    block->push_back(127);
    size -= 127;
    while (size >= 128) {
      block->push_back(static_cast<char>(size % 128 + 128));
      size /= 128;
    }
    block->push_back(static_cast<char>(size));
  }
  block->append(text);
}

}  // namespace

uint32_t Frame::Word(size_t offset) const {
  uint32_t word = 0;
  for (size_t i = offset; i < offset + 4 && i < payload.size(); ++i) {
    word = word << 8 | static_cast<unsigned char>(payload[i]);
  }
  return word;
}

std::string BigEndian32(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string EncodeFrame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame = BigEndian32(static_cast<uint32_t>(payload.size())).substr(1);
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  frame += BigEndian32(stream);
  frame.append(payload);
  return frame;
}

std::string EncodeHeaders(const HeaderFields& fields) {
  std::string block;
  for (const auto& [name, value] : fields) {
    block.push_back(0);  // literal without indexing, new name
    AppendLiteral(&block, name);
    AppendLiteral(&block, value);
  }
  return block;
}

HeaderFields GrpcRequestFields(std::string_view path) {
  return {{":method", "POST"},
          {":scheme", "http"},
          {":path", std::string(path)},
          {":authority", "test"},
          {"content-type", "application/grpc"},
          {"te", "trailers"}};
}

std::string GrpcMessage(std::string_view body) {
  std::string message(1, '\0');
  message += BigEndian32(static_cast<uint32_t>(body.size()));
  message.append(body);
  return message;
}

RawPeer::RawPeer(uint16_t port) : RawPeer(port, Layer::kAsSpoken) {}

RawPeer::RawPeer(uint16_t port, Layer layer) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  signal(SIGPIPE, SIG_IGN);  // OpenSSL writes as to a file
  QR_CHECK(fd_ >= 0);
  QR_CHECK(nghttp2_hd_inflate_new(&inflater_) == 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // Where nobody listens the first Send fails.
  static_cast<void>(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  timeval limit{10, 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (layer == Layer::kPlain || !TestTls::IsSpokenAt(port)) return;
  ssl_.reset(SSL_new(TestTls::Get().client->Current()->context.get()));
  static TlsPeerCheck check{&TestTls::Get().client->options(), TestTls::Get().client->Current()};
  SSL_set_app_data(ssl_.get(), &check);
  SSL_set_fd(ssl_.get(), fd_);
  static_cast<void>(SSL_connect(ssl_.get()));
}

RawPeer::~RawPeer() {
  nghttp2_hd_inflate_del(inflater_);
  if (fd_ >= 0) close(fd_);
}

bool RawPeer::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ssl_ == nullptr
                             ? send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL)
                             : SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool RawPeer::SendFrame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  return Send(EncodeFrame(type, flags, stream, payload));
}

void RawPeer::StartHttp2() {
  Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  SendFrame(kSettings, kNoFlags, 0, "");
  SendFrame(kSettings, kAck, 0, "");
}

void RawPeer::SendCall(uint32_t stream, std::string_view path, std::string_view body) {
  SendFrame(kHeaders, kEndHeaders, stream, EncodeHeaders(GrpcRequestFields(path)));
  SendFrame(kData, kEndStream, stream, GrpcMessage(body));
}

void RawPeer::Shutdown() { shutdown(fd_, SHUT_WR); }

void RawPeer::Reset() {
  const linger hard{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  close(fd_);
  fd_ = -1;
}

std::optional<std::string> RawPeer::ReadSome() {
  char bytes[16 * 1024];
  const ssize_t got = ssl_ == nullptr ? recv(fd_, bytes, sizeof(bytes), 0)
                                      : SSL_read(ssl_.get(), bytes, sizeof(bytes));
  if (got <= 0) return std::nullopt;
  return std::string(bytes, static_cast<size_t>(got));
}

bool RawPeer::Fill(size_t size) {
  while (buffer_.size() < size) {
    const std::optional<std::string> more = ReadSome();
    if (!more.has_value()) return false;
    buffer_ += *more;
  }
  return true;
}

std::string RawPeer::ReadToEnd() {
  while (Fill(buffer_.size() + 1)) {
  }
  return std::exchange(buffer_, std::string());
}

std::string RawPeer::ReadHttpHead() {
  size_t end;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!Fill(buffer_.size() + 1)) return std::exchange(buffer_, std::string());
  }
  const std::string head = buffer_.substr(0, end + 4);
  buffer_.erase(0, end + 4);
  return head;
}

std::string RawPeer::ReadHttpResponse() {
  std::string response = ReadHttpHead();
  constexpr std::string_view kLength = "Content-Length: ";
  const size_t at = response.find(kLength);
  if (at == std::string::npos) return response;
  size_t length = 0;
  std::from_chars(response.data() + at + kLength.size(), response.data() + response.size(), length);
  if (!Fill(length)) return response;
  response += buffer_.substr(0, length);
  buffer_.erase(0, length);
  return response;
}

std::optional<Frame> RawPeer::ReadFrame() {
  if (!Fill(kFrameHeaderBytes)) return std::nullopt;
  const auto byte = [this](size_t i) { return static_cast<unsigned char>(buffer_[i]); };
  const size_t size = static_cast<size_t>(byte(0)) << 16 | byte(1) << 8 | byte(2);
  if (!Fill(kFrameHeaderBytes + size)) return std::nullopt;
  Frame frame;
  frame.type = byte(3);
  frame.flags = byte(4);
  frame.stream = (uint32_t{byte(5)} << 24 | byte(6) << 16 | byte(7) << 8 | byte(8)) & 0x7fffffff;
  frame.payload = buffer_.substr(kFrameHeaderBytes, size);
  buffer_.erase(0, kFrameHeaderBytes + size);
  return frame;
}

Frame RawPeer::ReadFrameOf(uint8_t type) {
  while (true) {
    std::optional<Frame> frame = ReadFrame();
    if (!frame.has_value()) {
      throw std::runtime_error("the connection ended before a frame of type " +
                               std::to_string(type));
    }
    if (frame->type == type) return *std::move(frame);
  }
}

std::map<std::string, std::string> RawPeer::Decode(const Frame& frame) {
  std::map<std::string, std::string> fields;
  auto* data = reinterpret_cast<const uint8_t*>(frame.payload.data());
  size_t left = frame.payload.size();
  while (true) {
    nghttp2_nv field{};
    int flags = 0;
    const ssize_t taken = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, data, left, 1);
    QR_CHECK(taken >= 0);
    data += taken;
    left -= static_cast<size_t>(taken);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      fields.emplace(std::string(reinterpret_cast<char*>(field.name), field.namelen),
                     std::string(reinterpret_cast<char*>(field.value), field.valuelen));
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
  }
  nghttp2_hd_inflate_end_headers(inflater_);
  return fields;
}

std::map<std::string, std::string> RawPeer::ReadHeaders() { return Decode(ReadFrameOf(kHeaders)); }

}  // namespace quorate::transport
