// The layout of a bbolt database file, format version 2: the file in which etcd keeps its state and
// which its snapshots are. Written down in docs/formats/snapshot.md; source: wire facts, formats §3
// (files of a running etcd, decoded).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quorate::bbolt {

inline constexpr uint32_t kMagic = 0xED0CDAED;
inline constexpr uint32_t kVersion = 2;
inline constexpr uint32_t kPageBytes = 4096;  // of files written here; read are 1 KiB to 64 KiB
inline constexpr uint32_t kPageBytesMin = 1024;
inline constexpr uint32_t kPageBytesMax = 65536;
inline constexpr uint32_t kHeaderBytes = 16;         // of a page
inline constexpr uint32_t kElementBytes = 16;        // of a branch or leaf page
inline constexpr uint32_t kMetaBytes = 64;           // behind the header
inline constexpr uint32_t kBucketBytes = 16;         // value of a bucket, before an inline page
inline constexpr uint32_t kBucketElement = 1;        // flag of a leaf element
inline constexpr uint64_t kNoFreelist = UINT64_MAX;  // free pages are those not reachable
inline constexpr uint16_t kFreelistCountElsewhere = 0xFFFF;
inline constexpr uint32_t kKeyBytesMax = 32768;

enum PageFlags : uint16_t {
  kBranchPage = 0x01,
  kLeafPage = 0x02,
  kMetaPage = 0x04,
  kFreePage = 0x10
};

struct PageHeader {
  uint64_t id = 0;
  uint16_t flags = 0;
  uint16_t count = 0;     // elements
  uint32_t overflow = 0;  // pages that belong to it and follow
};
void AppendPageHeader(std::string* out, const PageHeader& header);
PageHeader ParsePageHeader(std::string_view bytes);  // of at least kHeaderBytes

struct Meta {
  uint32_t page_bytes = 0;
  uint64_t root = 0;
  uint64_t freelist = 0;  // or kNoFreelist
  uint64_t pages = 0;     // high-water mark: no page has a higher id
  uint64_t transaction = 0;
};
// With its checksum, without a page header.
void AppendMeta(std::string* out, const Meta& meta);
// What is wrong with a meta, or nothing: then *meta is set. `bytes` begin behind the page header.
std::optional<std::string_view> ParseMeta(std::string_view bytes, Meta* meta);

// Little-endian numbers.
void AppendU16(std::string* out, uint16_t value);
void AppendU32(std::string* out, uint32_t value);
void AppendU64(std::string* out, uint64_t value);
uint16_t LoadU16(const char* from);
uint32_t LoadU32(const char* from);
uint64_t LoadU64(const char* from);

}  // namespace quorate::bbolt
