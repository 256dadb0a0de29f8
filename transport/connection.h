// Connection: one accepted socket on its loop: finds out what is spoken, reads, writes once per
// turn, closes so that the last bytes arrive. Loop thread only.
#pragma once

#include <memory>
#include <string>

#include "transport/byte_socket.h"
#include "transport/native_call.h"
#include "transport/output_buffer.h"
#include "transport/protocol.h"
#include "transport/server.h"

namespace quorate::transport {

class Connection;

// The loop's side of its connections.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  virtual void FlushAtEndOfTurn(Connection* connection) = 0;
  // The connection may be destroyed when this turn ends.
  virtual void Gone(Connection* connection) = 0;
  // Whether there is time in this turn for one more step of a handshake; else it can wait for the
  // next one. Signing with RSA takes a millisecond or more, which all others wait for.
  virtual bool TakeHandshakeStep() = 0;
  // Room for one read, shared by all connections of the loop.
  virtual char* read_buffer() = 0;
  virtual size_t read_buffer_bytes() const = 0;
  // Empty output buffers live with the loop: an idle connection holds none.
  virtual std::unique_ptr<OutputBuffer> TakeBuffer() = 0;
  virtual void GiveBuffer(std::unique_ptr<OutputBuffer> buffer) = 0;
};

class Connection final : public ProtocolHost {
 public:
  Connection(const LoopContext* context, ConnectionOwner* owner, std::unique_ptr<ByteSocket> socket,
             ListenAddress::Serve serve, std::shared_ptr<const PeerInfo> peer);
  ~Connection() override;

  // Pulls from the protocol and writes. Called by the owner at the end of a turn.
  void Flush();
  void StartDrain();
  // Ends all calls and gives the descriptor back at once.
  void Close();

  void FlushSoon() override;
  void AbortSoon() override;
  uint64_t sent_bytes() const override { return sent_bytes_; }

  // The owner's, to find the connection in its list.
  size_t index() const { return index_; }
  void set_index(size_t index) { index_ = index; }

 private:
  void OnReady(uint32_t events);
  void Read();
  // False when the bytes so far fit nothing that may be spoken here.
  bool Sniff(std::string_view bytes);
  void RefuseHttp2();
  void Feed(std::string_view bytes);
  void Linger();
  void UpdateInterest();

  const LoopContext* const context_;
  ConnectionOwner* const owner_;
  std::unique_ptr<ByteSocket> socket_;
  const ListenAddress::Serve serve_;
  std::shared_ptr<const PeerInfo> peer_;
  size_t index_ = 0;
  std::unique_ptr<Protocol> protocol_;  // null until the first bytes have said which
  std::string first_bytes_;
  std::unique_ptr<OutputBuffer> output_;  // null while nothing waits
  uint64_t sent_bytes_ = 0;
  uint32_t interest_ = 0;
  EventLoop::TimerId timer_ = 0;  // preface, later lingering
  bool flush_scheduled_ = false;
  bool more_ = false;  // the protocol may have more, and the socket takes it: in the next turn
  bool abort_ = false;
  bool closing_ = false;    // no more input is looked at; close when output is out
  bool lingering_ = false;  // our side is shut, waiting for the peer's end
  bool draining_ = false;
  bool peer_closed_ = false;
  bool gone_ = false;
};

}  // namespace quorate::transport
