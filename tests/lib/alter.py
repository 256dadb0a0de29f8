"""Alters what a stopped member has on disk, with right checksums: damage that no checksum shows, such
as a defect of ours, or a disk that gives back what was written last week."""

import struct
from pathlib import Path

KEY_BYTES = 17  # main revision, '_', sub revision
TABLES = range(10)


def _table():
    rows = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        rows.append(value)
    return rows


_ROWS = _table()


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ _ROWS[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def alter_lmdb(server, old, new):
    """Puts `new` in the place of `old` in the one record whose value ends with it."""
    assert len(old) == len(new)
    (path,) = Path(server.data_dir, "member", "backend").rglob("data.mdb")
    data = bytearray(path.read_bytes())
    changed = 0
    at = data.find(old)
    while at >= 0:
        end = at + len(old)
        stored = struct.unpack("<I", data[end:end + 4])[0] if end + 4 <= len(data) else None
        # The record begins with the tag of its key; how long it is shows in the checksum.
        for start in range(max(KEY_BYTES, at - 64), at + 1):
            tables = [t for t in TABLES if stored == crc32c(
                bytes([t]) + data[start - KEY_BYTES:start] + data[start:end])]
            if tables:
                data[at:end] = new
                fresh = crc32c(bytes(tables[:1]) + data[start - KEY_BYTES:end])
                data[end:end + 4] = struct.pack("<I", fresh)
                changed += 1
                break
        at = data.find(old, end)
    assert changed, f"{old} stands in no record of {path}"
    path.write_bytes(data)
