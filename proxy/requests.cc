#include "proxy/requests.h"

#include <google/protobuf/io/coded_stream.h>

namespace quorate::proxy {

etcdserverpb::ResponseHeader HeaderOf(const Bytes& answer) {
  constexpr uint32_t kHeaderTag = 1 << 3 | 2;  // field 1 of every answer
  etcdserverpb::ResponseHeader header;
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(answer.data()),
                                               static_cast<int>(answer.size()));
  uint32_t size = 0;
  if (input.ReadTag() != kHeaderTag || !input.ReadVarint32(&size)) return header;
  const int start = input.CurrentPosition();
  if (size <= answer.size() - static_cast<size_t>(start)) {
    header.ParseFromArray(answer.data() + start, static_cast<int>(size));
  }
  return header;
}

}  // namespace quorate::proxy
