"""PNG pictures without anything but the picture: known chunks, proved, of sane size; all else is left out or refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_BYTES = 4 << 20
MOST_SIDE = 5000
MOST_PIXELS = 16_000_000
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


class NoPicture(ValueError):
    """What it is instead of a PNG that may be shown."""


def cleaned(data: bytes) -> bytes:
    """The same picture, of IHDR, PLTE, tRNS, IDAT and IEND alone. Raises NoPicture."""
    if len(data) > MOST_BYTES:
        raise NoPicture("it is too large")
    if not data.startswith(_SIGNATURE):
        raise NoPicture("it is no PNG")
    chunks = list(_chunks(data))
    if not chunks or chunks[0][0] != b"IHDR" or chunks[-1][0] != b"IEND" or chunks[-1][1]:
        raise NoPicture("its first or last chunk is missing")
    depth, colour, rows, stride = _header(chunks[0][1])
    if [kind for kind, _ in chunks].count(b"IHDR") != 1:
        raise NoPicture("it has two headers")
    _prove_pixels(b"".join(body for kind, body in chunks if kind == b"IDAT"), rows, stride)
    kept = [chunks[0], *_palette(chunks, depth, colour)]
    kept += [(kind, body) for kind, body in chunks if kind == b"IDAT"]
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in [*kept, (b"IEND", b"")])


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        end = data[at + 8 + length : at + 12 + length]
        if len(body) != length or len(end) != 4 or zlib.crc32(kind + body) != struct.unpack(">I", end)[0]:
            raise NoPicture("a chunk is cut or damaged")
        yield kind, body
        if kind == b"IEND":
            return
        at += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _header(body: bytes) -> tuple[int, int, int, int]:
    """Depth, colour type, rows, and bytes of a row with its filter byte."""
    if len(body) != 13:
        raise NoPicture("its header has a wrong size")
    width, height, depth, colour, compression, filters, interlace = struct.unpack(">IIBBBBB", body)
    if not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE and width * height <= MOST_PIXELS):
        raise NoPicture("its sides are not those of a graph")
    if depth not in _DEPTHS.get(colour, ()) or compression or filters or interlace:
        raise NoPicture("its header says what no browser writes")
    return depth, colour, height, 1 + (width * depth * _CHANNELS[colour] + 7) // 8


def _prove_pixels(packed: bytes, rows: int, stride: int) -> None:
    """They fill the picture to the byte: nothing is hidden behind them."""
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(packed, rows * stride + 1)
    except zlib.error:
        raise NoPicture("its pixels are damaged") from None
    if len(pixels) != rows * stride or not unpacker.eof or unpacker.unused_data or max(pixels[::stride]) > 4:
        raise NoPicture("its pixels are not those of its header")


def _palette(chunks: list[tuple[bytes, bytes]], depth: int, colour: int) -> Iterator[tuple[bytes, bytes]]:
    if colour != 3:
        return  # a palette that is not needed could hold anything
    found = dict(chunks)
    colours = found.get(b"PLTE", b"")
    if not colours or len(colours) % 3 or len(colours) > 3 << depth:
        raise NoPicture("its palette is wrong")
    yield b"PLTE", colours
    if len(found.get(b"tRNS", b"")) > len(colours) // 3:
        raise NoPicture("its transparency is wrong")
    if b"tRNS" in found:
        yield b"tRNS", found[b"tRNS"]
