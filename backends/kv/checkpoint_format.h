// The bytes of the memory backend's checkpoint files. Written down for readers of other programs in
// docs/formats/memory-checkpoint.md; all numbers are little-endian, all checksums CRC-32C.
//
// A data file (base-<number>.ckpt, delta-<number>.ckpt; 12 digits):
//   head, 32 bytes:   0 "QRMEMCKP"   8 u32 format version   12 u32 zero   16 u64 file number
//                    24 u32 zero    28 u32 checksum of bytes 0-27
//   frames back to back, one for each batch; a frame is
//   header, 40 bytes: 0 u32 magic    4 u32 checksum of the payload    8 u64 payload bytes
//                    16 u64 sequence of the batch    24 u64 synced bytes    32 u32 changes
//                    36 u32 checksum of file number, offset of the frame (u64 each), bytes 0-35
//   payload:          the changes: u8 kind << 4 | table, varint key bytes, varint value bytes, key,
//                     value. Kinds: 1 put, 2 delete, 3 delete range (value = first key that stays,
//                     empty = to the end). Tables: 0 alarm, 1 auth, ... as in kv_backend.h.
// "Synced bytes" is how much of this file was known to be on disk when the frame was written. A
// frame without changes repeats the sequence of the frame before it and only says that.
//
// MANIFEST, a text file that is replaced as a whole, says which files make up the state:
//   quorate memory checkpoint
//   format 1
//   base <number> <bytes>       sorted content as of some moment; absent at first
//   sealed <number> <bytes>     a delta that is complete; any number of them, in order
//   active <number> <bytes>     the delta that grows; its first <bytes> were synced
//   sequence <number>           of the first batch in the first delta
//   crc <8 hex digits>          of all lines above
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "backends/kv/kv_backend.h"

namespace quorate::kv {

inline constexpr uint32_t kCheckpointFormat = 1;
inline constexpr size_t kFileHeadBytes = 32;
inline constexpr size_t kFrameHeaderBytes = 40;
inline constexpr size_t kOpOverheadBytes = 4;  // kind and two sizes of a usual record

// Where a frame stands; part of its checksum, so that a frame counts only in its own place.
struct FramePlace {
  uint64_t file_number = 0;
  uint64_t offset = 0;
};

struct FrameHeader {
  uint32_t payload_crc = 0;
  uint64_t payload_bytes = 0;
  uint64_t sequence = 0;
  uint64_t synced_bytes = 0;
  uint32_t op_count = 0;

  bool is_mark() const { return op_count == 0; }
};

std::array<char, kFileHeadBytes> EncodeFileHead(uint64_t file_number);
// Empty when `bytes` is the head of that file, else what is wrong with it.
std::string CheckFileHead(std::string_view bytes, uint64_t file_number);

std::array<char, kFrameHeaderBytes> EncodeFrameHeader(const FrameHeader& header, FramePlace place);
// Nothing when the bytes are no header that was written at `place`.
std::optional<FrameHeader> ParseFrameHeader(std::string_view bytes, FramePlace place);

void AppendOp(const WriteOp& op, std::string* out);
// False when the payload is not `op_count` changes and nothing else; some may have been visited.
bool ParseOps(std::string_view payload, uint32_t op_count,
              absl::FunctionRef<void(const WriteOp&)> visitor);

struct CheckpointManifest {
  struct DataFile {
    uint64_t number = 0;
    uint64_t bytes = 0;
  };
  std::optional<DataFile> base;
  std::vector<DataFile> sealed;
  DataFile active;
  uint64_t first_sequence = 1;
};

std::string EncodeManifest(const CheckpointManifest& manifest);
// kDataLoss naming `path` and the offset, kFailedPrecondition for a newer format.
absl::StatusOr<CheckpointManifest> ParseManifest(std::string_view text, const std::string& path);

std::string BaseFileName(uint64_t number);
std::string DeltaFileName(uint64_t number);

// The text of every damage: file, place, what is wrong there, and the way out.
absl::Status CheckpointDamage(const std::string& path, uint64_t offset, std::string_view what);

}  // namespace quorate::kv
