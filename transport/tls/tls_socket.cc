#include "transport/tls/tls_socket.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "transport/tls/tls_verify.h"

namespace quorate::transport {
namespace {

constexpr size_t kRecordBytes = 16 * 1024;
// A record with what TLS adds to it; what OpenSSL may hold back of the bytes it was given.
constexpr size_t kRecordRoomBytes = kRecordBytes + 512;
// Read from the socket at once.
constexpr size_t kInputBytes = 128 * 1024;
// Made into records at once.
constexpr size_t kWriteBytesMax = 256 * 1024;
// Key updates and empty records may follow each other for so many bytes before data must come.
constexpr size_t kIdleInputBytesMax = 64 * 1024;
constexpr unsigned char kHandshakeRecord = 0x16;

// Shared by the connections of a thread: what is read or written passes through and is gone.
struct Scratch {
  const std::unique_ptr<char[]> input = std::make_unique_for_overwrite<char[]>(kInputBytes);
  const std::unique_ptr<char[]> record = std::make_unique_for_overwrite<char[]>(kRecordBytes);
  std::string output;

  static Scratch& OfThisThread() {
    thread_local Scratch scratch;
    return scratch;
  }
};

// Where OpenSSL reads and writes records: memory, never the descriptor.
struct RecordMemory {
  std::string_view input;
  std::string* output = nullptr;
};

int ReadRecords(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  std::string_view* const input = &static_cast<RecordMemory*>(BIO_get_data(bio))->input;
  if (input->empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t taken = std::min(input->size(), static_cast<size_t>(size));
  std::memcpy(data, input->data(), taken);
  input->remove_prefix(taken);
  return static_cast<int>(taken);
}

int WriteRecords(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  static_cast<RecordMemory*>(BIO_get_data(bio))->output->append(data, static_cast<size_t>(size));
  return size;
}

long ControlRecords(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* RecordMethod() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "records");
    QR_CHECK(made != nullptr);
    BIO_meth_set_read(made, ReadRecords);
    BIO_meth_set_write(made, WriteRecords);
    BIO_meth_set_ctrl(made, ControlRecords);
    return made;
  }();
  return method;
}

std::string WireProtocols(TlsProtocols protocols) {
  constexpr std::string_view kH2("\x02h2", 3);
  constexpr std::string_view kH1("\x08http/1.1", 9);
  std::string wire;
  if (protocols != TlsProtocols::kHttp1) wire += kH2;
  if (protocols != TlsProtocols::kHttp2) wire += kH1;
  return wire;
}

bool IsAddress(const std::string& host) {
  in6_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

class TlsSocket final : public ByteSocket, public TlsHandshake {
 public:
  TlsSocket(int fd, std::shared_ptr<TlsContext> context, const TlsListen& listen)
      : fd_(fd), context_(std::move(context)), listen_(listen) {}
  TlsSocket(int fd, std::shared_ptr<TlsContext> context, const std::string& host,
            TlsProtocols protocols)
      : fd_(fd), context_(std::move(context)) {
    StartClient(host, protocols);
  }
  ~TlsSocket() override;
  TlsSocket(const TlsSocket&) = delete;
  TlsSocket& operator=(const TlsSocket&) = delete;

  int fd() const override { return fd_; }
  IoResult Read(char* data, size_t size) override;
  IoResult Write(const iovec* pieces, int count) override;
  void CloseWrite() override;
  bool established() const override { return state_ == State::kOpen || state_ == State::kPlain; }
  bool WaitsForWritable(Output output) const override {
    if (!unsent_.empty()) return true;
    return output == Output::kWaiting && established();
  }
  bool encrypted() const override { return state_ != State::kPlain; }
  std::string error() const override { return error_; }
  const PeerCertificate* peer_certificate() const override {
    return certificate_.has_value() ? &*certificate_ : nullptr;
  }

  // On any thread: makes the owner's next read end.
  void Abandon() override { shutdown(fd_, SHUT_RDWR); }

 private:
  enum class State : uint8_t { kFirstByte, kHandshake, kOpen, kPlain, kFailed };

  void StartServer();
  void StartClient(const std::string& host, TlsProtocols protocols);
  void MakeSsl(const SSL_CTX* context);
  // Takes what came from the socket; answers how much of it is data for the user.
  size_t Decrypt(std::string_view records, char* data, size_t size);
  void Handshake();
  void OnEstablished();
  void Encrypt(const iovec* pieces, int count, size_t* taken);
  void EncryptRecord(const char* data, size_t size);
  // False when the connection is broken.
  bool SendUnsent();
  void Fail(std::string error);
  // The other side was not let in: a server's log says so.
  void Reject(std::string error);

  const int fd_;
  const std::shared_ptr<TlsContext> context_;
  const TlsListen listen_;
  State state_ = State::kFirstByte;
  bool peer_closed_ = false;
  bool write_closed_ = false;
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, SSL_free};
  TlsPeerCheck check_;
  RecordMemory memory_;
  std::string unsent_;  // records that the socket has not taken
  size_t idle_input_bytes_ = 0;
  std::string error_;
  std::optional<PeerCertificate> certificate_;
};

TlsSocket::~TlsSocket() {
  context_->End(this);
  if (state_ == State::kHandshake) Reject("the connection ended before the handshake did");
  close(fd_);
}

void TlsSocket::MakeSsl(const SSL_CTX* context) {
  ssl_.reset(SSL_new(const_cast<SSL_CTX*>(context)));
  QR_CHECK(ssl_ != nullptr);
  BIO* const bio = BIO_new(RecordMethod());
  QR_CHECK(bio != nullptr);
  memory_.output = &unsent_;
  BIO_set_data(bio, &memory_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  check_.options = &context_->options();
  SSL_set_app_data(ssl_.get(), &check_);
}

void TlsSocket::StartServer() {
  check_.loaded = context_->Current();
  check_.protocols = WireProtocols(listen_.protocols);
  MakeSsl(check_.loaded->context.get());
  SSL_set_accept_state(ssl_.get());
  state_ = State::kHandshake;
  context_->Begin(this);
}

void TlsSocket::StartClient(const std::string& host, TlsProtocols protocols) {
  check_.loaded = context_->Current();
  MakeSsl(check_.loaded->context.get());
  SSL* const ssl = ssl_.get();
  SSL_set_connect_state(ssl);
  const std::string wire = WireProtocols(protocols);
  SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(wire.data()),
                      static_cast<unsigned>(wire.size()));
  SSL_set_hostflags(ssl,
                    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (IsAddress(host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str());
  } else {
    SSL_set_tlsext_host_name(ssl, host.c_str());
    SSL_set1_host(ssl, host.c_str());
  }
  state_ = State::kHandshake;
}

IoResult TlsSocket::Read(char* data, size_t size) {
  QR_CHECK(size >= kTlsReadBytesMin);
  if (state_ == State::kFailed || peer_closed_) return {IoResult::Kind::kClosed, 0};
  char* const input = Scratch::OfThisThread().input.get();
  const size_t room = std::min(kInputBytes, size - kRecordRoomBytes);
  const ssize_t got = recv(fd_, state_ == State::kPlain ? data : input, room, 0);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    return {IoResult::Kind::kBlocked, 0};
  }
  if (got <= 0) return {IoResult::Kind::kClosed, 0};
  std::string_view bytes(input, static_cast<size_t>(got));
  if (state_ == State::kFirstByte) {
    if (static_cast<unsigned char>(bytes.front()) == kHandshakeRecord) {
      StartServer();
    } else if (listen_.first == TlsListen::First::kPlainToo) {
      state_ = State::kPlain;
      std::memcpy(data, bytes.data(), bytes.size());
    } else {
      Reject("tls: first record does not look like a TLS handshake");
      return {IoResult::Kind::kClosed, 0};
    }
  }
  if (state_ == State::kPlain) return {IoResult::Kind::kDone, bytes.size()};
  const size_t decrypted = Decrypt(bytes, data, size);
  if (!SendUnsent()) return {IoResult::Kind::kClosed, 0};
  if (state_ == State::kFailed) {
    // Closing while the other side's bytes are unread would reset the connection and could destroy
    // the alert that tells it why.
    shutdown(fd_, SHUT_WR);
    while (recv(fd_, input, kInputBytes, 0) > 0) {
    }
    return {IoResult::Kind::kClosed, 0};
  }
  if (decrypted > 0) {
    // So that the end is reported by another read even if no byte follows.
    if (peer_closed_) shutdown(fd_, SHUT_RD);
    return {IoResult::Kind::kDone, decrypted};
  }
  return {peer_closed_ ? IoResult::Kind::kClosed : IoResult::Kind::kBlocked, 0};
}

size_t TlsSocket::Decrypt(std::string_view records, char* data, size_t size) {
  memory_.input = records;
  if (state_ == State::kHandshake) Handshake();
  size_t decrypted = 0;
  while (state_ == State::kOpen && !peer_closed_) {
    ERR_clear_error();
    size_t piece = 0;
    const int result = SSL_read_ex(ssl_.get(), data + decrypted, size - decrypted, &piece);
    if (result == 1) {
      decrypted += piece;
      continue;
    }
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_WANT_READ) break;
    if (error == SSL_ERROR_ZERO_RETURN) {
      peer_closed_ = true;
    } else {
      Fail(StrCat("tls: ", TakeOpensslError()));
    }
  }
  QR_CHECK(memory_.input.empty() || state_ != State::kOpen || peer_closed_);
  memory_.input = {};
  idle_input_bytes_ = decrypted > 0 ? 0 : idle_input_bytes_ + records.size();
  if (state_ == State::kOpen && idle_input_bytes_ > kIdleInputBytesMax) {
    Fail("tls: too many records without data");
  }
  return decrypted;
}

void TlsSocket::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) return OnEstablished();
  if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ) return;
  const std::string reason = TakeOpensslError();
  if (reason == "peer did not return a certificate") {
    return Reject("tls: client didn't provide a certificate");
  }
  Reject(StrCat("tls: ", check_.error.empty() ? reason : check_.error));
}

void TlsSocket::OnEstablished() {
  state_ = State::kOpen;
  context_->End(this);
  idle_input_bytes_ = 0;
  X509* const shown = SSL_get0_peer_certificate(ssl_.get());
  if (shown == nullptr || context_->side() != TlsContext::Side::kServer) return;
  certificate_.emplace();
  certificate_->common_name = CommonName(shown);
  if (context_->options().client_address == TlsOptions::ClientAddress::kNotCompared) return;
  certificate_->address = PeerAddress(fd_);
  const absl::Status compared =
      CompareAddress(shown, certificate_->address, &certificate_->unconfirmed_names);
  if (!compared.ok()) Reject(StrCat("tls: ", compared.message()));
}

IoResult TlsSocket::Write(const iovec* pieces, int count) {
  if (state_ == State::kPlain) return WritePlain(fd_, pieces, count);
  if (state_ == State::kFailed || !SendUnsent()) return {IoResult::Kind::kClosed, 0};
  if (state_ == State::kHandshake && unsent_.empty() && SSL_in_before(ssl_.get()) == 1) {
    Handshake();
    if (!SendUnsent()) return {IoResult::Kind::kClosed, 0};
  }
  if (!unsent_.empty() || state_ != State::kOpen) return {IoResult::Kind::kBlocked, 0};
  if (count == 0) return {IoResult::Kind::kDone, 0};
  std::string* const spare = &Scratch::OfThisThread().output;
  unsent_.swap(*spare);
  size_t taken = 0;
  Encrypt(pieces, count, &taken);
  const bool works = SendUnsent();
  // Only what the socket did not take stays with the connection.
  if (unsent_.empty()) unsent_.swap(*spare);
  if (!works || state_ == State::kFailed) return {IoResult::Kind::kClosed, 0};
  return {IoResult::Kind::kDone, taken};
}

void TlsSocket::Encrypt(const iovec* pieces, int count, size_t* taken) {
  char* const record = Scratch::OfThisThread().record.get();
  size_t filled = 0;
  for (int i = 0; i < count && *taken < kWriteBytesMax; ++i) {
    const char* data = static_cast<const char*>(pieces[i].iov_base);
    size_t left = std::min(pieces[i].iov_len, kWriteBytesMax - *taken);
    *taken += left;
    while (left > 0) {
      if (filled == 0 && left >= kRecordBytes) {
        EncryptRecord(data, kRecordBytes);
        data += kRecordBytes;
        left -= kRecordBytes;
        continue;
      }
      const size_t fits = std::min(left, kRecordBytes - filled);
      std::memcpy(record + filled, data, fits);
      filled += fits;
      data += fits;
      left -= fits;
      if (filled == kRecordBytes) EncryptRecord(record, std::exchange(filled, 0));
    }
  }
  if (filled > 0) EncryptRecord(record, filled);
}

void TlsSocket::EncryptRecord(const char* data, size_t size) {
  if (state_ != State::kOpen) return;
  ERR_clear_error();
  size_t written = 0;
  const int result = SSL_write_ex(ssl_.get(), data, size, &written);
  if (result != 1) return Fail(StrCat("tls: ", TakeOpensslError()));
  QR_CHECK(written == size);
}

bool TlsSocket::SendUnsent() {
  size_t sent = 0;
  while (sent < unsent_.size()) {
    const ssize_t moved = send(fd_, unsent_.data() + sent, unsent_.size() - sent, MSG_NOSIGNAL);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (moved <= 0) {
      unsent_.clear();
      return false;
    }
    sent += static_cast<size_t>(moved);
  }
  unsent_.erase(0, sent);
  return true;
}

void TlsSocket::CloseWrite() {
  if (state_ == State::kOpen && !write_closed_) {
    write_closed_ = true;
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    SendUnsent();
  }
  shutdown(fd_, SHUT_WR);
}

void TlsSocket::Fail(std::string error) {
  state_ = State::kFailed;
  error_ = std::move(error);
  context_->End(this);
}

void TlsSocket::Reject(std::string error) {
  Fail(std::move(error));
  if (context_->side() == TlsContext::Side::kClient) return;
  const char* const server_name =
      ssl_ == nullptr ? nullptr : SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
  LogWarn(StrCat("rejected connection on ", listen_.endpoint, " endpoint"),
          {{"remote-addr", PeerName(fd_)},
           {"server-name", server_name == nullptr ? "" : server_name},
           {"error", error_}});
}

}  // namespace

std::unique_ptr<ByteSocket> MakeTlsServerSocket(int fd, std::shared_ptr<TlsContext> context,
                                                const TlsListen& listen) {
  QR_CHECK(context != nullptr && context->side() == TlsContext::Side::kServer);
  return std::make_unique<TlsSocket>(fd, std::move(context), listen);
}

std::unique_ptr<ByteSocket> MakeTlsClientSocket(int fd, std::shared_ptr<TlsContext> context,
                                                const std::string& host, TlsProtocols protocols) {
  QR_CHECK(context != nullptr && context->side() == TlsContext::Side::kClient);
  return std::make_unique<TlsSocket>(fd, std::move(context), host, protocols);
}

}  // namespace quorate::transport
