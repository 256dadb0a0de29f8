// CRC-32C (Castagnoli), the checksum of etcd's log records and of HashKV. By the processor's own
// instruction where it has one (SSE 4.2), else by tables; both give the same numbers.
// Any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace quorate {

// The running value after `data`, when `crc` is the one before it; 0 to begin with. The same as
// Go's crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), data): finished values chain.
uint32_t Crc32c(uint32_t crc, std::string_view data);

// The table path alone, for machines without the instruction; tests compare both.
uint32_t Crc32cPortable(uint32_t crc, std::string_view data);

}  // namespace quorate
