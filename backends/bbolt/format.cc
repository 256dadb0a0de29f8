#include "backends/bbolt/format.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace quorate::bbolt {
namespace {

static_assert(std::endian::native == std::endian::little);

template <class Number>
void AppendNumber(std::string* out, Number value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <class Number>
Number LoadNumber(const char* from) {
  Number value;
  memcpy(&value, from, sizeof(value));
  return value;
}

uint64_t Fnv1a(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  return hash;
}

}  // namespace

void AppendU16(std::string* out, uint16_t value) { AppendNumber(out, value); }
void AppendU32(std::string* out, uint32_t value) { AppendNumber(out, value); }
void AppendU64(std::string* out, uint64_t value) { AppendNumber(out, value); }
uint16_t LoadU16(const char* from) { return LoadNumber<uint16_t>(from); }
uint32_t LoadU32(const char* from) { return LoadNumber<uint32_t>(from); }
uint64_t LoadU64(const char* from) { return LoadNumber<uint64_t>(from); }

void AppendPageHeader(std::string* out, const PageHeader& header) {
  AppendU64(out, header.id);
  AppendU16(out, header.flags);
  AppendU16(out, header.count);
  AppendU32(out, header.overflow);
}

PageHeader ParsePageHeader(std::string_view bytes) {
  QR_CHECK(bytes.size() >= kHeaderBytes);
  return {LoadU64(bytes.data()), LoadU16(bytes.data() + 8), LoadU16(bytes.data() + 10),
          LoadU32(bytes.data() + 12)};
}

void AppendMeta(std::string* out, const Meta& meta) {
  const size_t begin = out->size();
  AppendU32(out, kMagic);
  AppendU32(out, kVersion);
  AppendU32(out, meta.page_bytes);
  AppendU32(out, 0);  // flags
  AppendU64(out, meta.root);
  AppendU64(out, 0);  // sequence of the root
  AppendU64(out, meta.freelist);
  AppendU64(out, meta.pages);
  AppendU64(out, meta.transaction);
  AppendU64(out, Fnv1a(std::string_view(*out).substr(begin)));
  QR_CHECK(out->size() - begin == kMetaBytes);
}

std::optional<std::string_view> ParseMeta(std::string_view bytes, Meta* meta) {
  if (bytes.size() < kMetaBytes) return "the file ends in it";
  const char* const at = bytes.data();
  if (LoadU32(at) != kMagic) return "is no meta page of a bbolt database (magic number)";
  if (LoadU64(at + 56) != Fnv1a(bytes.substr(0, 56))) return "checksum of the meta page is wrong";
  if (LoadU32(at + 4) != kVersion) return "is of another version of the format than 2";
  meta->page_bytes = LoadU32(at + 8);
  meta->root = LoadU64(at + 16);
  meta->freelist = LoadU64(at + 32);
  meta->pages = LoadU64(at + 40);
  meta->transaction = LoadU64(at + 48);
  if (!std::has_single_bit(meta->page_bytes) || meta->page_bytes < kPageBytesMin ||
      meta->page_bytes > kPageBytesMax) {
    return "page size is not a power of two between 1 KiB and 64 KiB";
  }
  return std::nullopt;
}

}  // namespace quorate::bbolt
