"""adler32 as all storages write it: `adler32:` and 8 lower-case hex digits."""

from __future__ import annotations

import re

try:  # 3 to 6 times the standard library's speed
    from zlib_ng.zlib_ng import adler32, crc32
except ImportError:
    try:
        from isal.isal_zlib import adler32, crc32
    except ImportError:
        from zlib import adler32, crc32

__all__ = ["adler32", "combined", "crc32", "normal", "text"]
_BASE = 65521
_FORM = re.compile(r"\s*(?:adler-?32\s*[:= ]\s*)?(?:0x)?([0-9a-f]{1,8})\s*", re.IGNORECASE)


def text(value: int) -> str:
    """The number as every table and message holds it."""
    return f"adler32:{value:08x}"


def normal(given: str) -> str:
    """Any common writing (`ADLER32:1A2B`, `adler32 1a2b`, `1a2b`) -> `adler32:00001a2b`. Raises ValueError."""
    match = _FORM.fullmatch(given.rstrip("\0"))
    if not match:
        raise ValueError(f"{given!r} is no adler32 checksum; write adler32: and 8 hex digits")
    return f"adler32:{int(match[1], 16):08x}"


def combined(first: int, second: int, length: int) -> int:
    """The adler32 of two pieces one behind the other, from those of the pieces; `length`: bytes of the second."""
    low = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % _BASE
    high = ((first >> 16) + (second >> 16) + (length % _BASE) * ((first & 0xFFFF) - 1)) % _BASE
    return high << 16 | low
