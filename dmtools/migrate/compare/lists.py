"""A list of names as a stream: plain or gzip, bytes as they are, with columns or without; bad lines are set aside."""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO, cast

from dmtools.command import Refused, Unavailable
from dmtools.names import decode

CHUNK = 1 << 20
LONGEST = 1 << 16  # bytes of a line
COLUMNS = ("name", "size", "mtime", "checksum", "-")
SEPARATORS: dict[str, bytes | None] = {"tab": b"\t", "blank": None, "comma": b",", "bar": b"|", "semicolon": b";"}
PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip"}
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_UNKNOWN = (b"", b"-")


class BadLine(Exception):
    """A line that can't be used; the text says why."""


class Outside(Exception):
    """A name that is not below the prefix: not of this comparison."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a list writes a file: its columns, what parts them (None: blanks), the prefix before the LFN, percent-encoding."""

    columns: tuple[str, ...] = ("name",)
    separator: bytes | None = b"\t"
    strip: bytes = b""
    percent: bool = False

    @property
    def plain(self) -> bool:
        """A line is the name and nothing else."""
        return self.columns == ("name",)

    @property
    def compared(self) -> bool:
        """There is a column beside the name that the comparison uses."""
        return any(column in self.columns for column in ("size", "mtime", "checksum"))


def form_of(columns: str, separator: str, strip: str, percent: bool) -> Form:
    """The options' words -> Form. Raises Refused."""
    words = tuple(word.strip().lower() for word in columns.split(","))
    for word in words:
        if word not in COLUMNS:
            raise Refused(f"{word!r} is no column; known: {', '.join(COLUMNS)} (- is a column to skip)")
    if words.count("name") != 1 or any(words.count(word) > 1 for word in COLUMNS[1:4]):
        raise Refused(f"the columns {columns!r} must hold name once and no other one twice")
    return Form(words, SEPARATORS[separator], os.fsencode(strip).rstrip(b"/"), percent)


def refuse_missing(path: Path) -> None:
    """Raises Refused when there is no such list; asked before any work."""
    if path.is_dir():
        raise Refused(f"{path} is a directory; a list is a file with one name a line")
    if not path.exists():
        raise Refused(f"there is no file {path}")


class NameList:
    """One list. `records` gives blocks of sortable lines: the name, or name NUL size NUL checksum NUL mtime.

    NUL parts the columns because no name holds it and it sorts before every other byte: records sort as their names do.
    """

    def __init__(
        self, path: Path, form: Form, title: str, set_aside: Callable[[str, int, str, bytes], None], *, may_be_empty: bool = False
    ) -> None:
        self.path, self.form, self.title = path, form, title
        self._set_aside, self._may_be_empty = set_aside, may_be_empty
        place = form.columns.index("name")
        self._left, self._right = form.columns[:place], form.columns[place + 1 :]
        self.lines = self.names = self.outside = self.invalid = self.with_tab = self.with_cr = 0
        self.unfinished = False

    def records(self) -> Iterator[bytes]:
        """Blocks of records, each ended by a newline. Raises Unavailable when the list can't be read to its end."""
        with _opened(self.path) as raw:
            before = os.fstat(raw.fileno())
            try:
                for block in self._whole_lines(_unpacked(raw, self.path)):
                    lines = block.count(b"\n")
                    self._look(block)
                    quick = self._quick(block, lines) if self.form.plain else self._quick_columns(block, lines)
                    yield self._slow(block) if quick is None else quick
                    self.lines += lines
            except OSError as problem:
                if isinstance(problem, gzip.BadGzipFile):
                    raise self._damaged(problem) from None
                why = problem.strerror or str(problem)
                raise Unavailable("can't read the list", str(self.path), why, "look at that disk or mount") from None
            except (EOFError, zlib.error) as problem:
                raise self._damaged(problem) from None
            after = os.fstat(raw.fileno())
        if stat.S_ISREG(after.st_mode) and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            why = "it changed while it was read"
            raise Unavailable(
                "can't use the list", str(self.path), why, f"wait until the {self.title} is complete, then run again"
            )
        if not self.names and not self._may_be_empty:
            why = "it holds no usable name; no data is taken for a failed listing, not for an empty storage"
            raise Unavailable("can't use the list", str(self.path), why, f"make the {self.title} again, or say --allow-empty")

    def _damaged(self, problem: Exception) -> Unavailable:
        why = f"its gzip data are cut short or damaged ({problem})"
        return Unavailable("can't read the list", str(self.path), why, f"make or fetch the {self.title} again")

    def _whole_lines(self, stream: BinaryIO) -> Iterator[bytes]:
        """Blocks that end with a newline; of a line too long only the beginning, so that memory stays flat."""
        rest, skipping = b"", False
        while chunk := stream.read(CHUNK):
            if skipping:
                end = chunk.find(b"\n") + 1
                if not end:
                    continue
                chunk, skipping = chunk[end:], False
            data = rest + chunk
            cut = data.rfind(b"\n") + 1
            if cut:
                yield data[:cut]
            rest = data[cut:]
            if len(rest) > LONGEST:
                yield rest[: LONGEST + 1] + b"\n"
                rest, skipping = b"", True
        if rest:
            self.unfinished = True
            yield rest + b"\n"

    def _look(self, block: bytes) -> None:
        """Counts what is allowed but looks like a mistake."""
        if b"\t" in block and self.form.plain:
            self.with_tab += block.count(b"\t")
        if b"\r" in block:
            self.with_cr += block.count(b"\r\n")

    def _quick(self, block: bytes, lines: int) -> bytes | None:
        """The block as it is, proved good as a whole; None when its lines must be looked at one by one."""
        form = self.form
        if (form.percent and b"%" in block) or b"\0" in block:
            return None
        if form.strip:
            start, marked = b"\n" + form.strip + b"/", b"\n" + block
            if marked.count(start) != lines:
                return None
            block = marked.replace(start, b"\n/")[1:]
        elif block[:1] != b"/" or block.count(b"\n/") != lines - 1:
            return None
        half = LONGEST // 2
        if b"/.." in block or any(block.find(b"\n", at, at + half) < 0 for at in range(0, len(block) - half, half)):
            return None
        self.names += lines
        return block

    def _quick_columns(self, block: bytes, lines: int) -> bytes | None:
        """The same for lines with columns, where the name is the first or the last of them; None when a line is odd."""
        separator, count = self.form.separator, len(self.form.columns) - 1
        if (self._left and self._right) or b"\0" in block:
            return None
        if self._left:
            rows = [line.split(separator, count) for line in block[:-1].split(b"\n")]
        else:
            rows = [line.rsplit(separator, count) for line in block[:-1].split(b"\n")]
        if min(map(len, rows)) != count + 1:
            return None
        fields = dict(zip(self.form.columns, zip(*rows, strict=True), strict=True))
        sizes, checksums, mtimes = (
            [b"" if value == b"-" else value for value in fields.get(column, ())] for column in ("size", "checksum", "mtime")
        )
        if (any(sizes) and not b"".join(sizes).isdigit()) or max(map(len, block.split(b"\n"))) > LONGEST:
            return None
        names = self._quick(b"\n".join(fields["name"]) + b"\n", lines)
        if names is None or not self.form.compared:
            return names
        empty = [b""] * lines
        columns = zip(names[:-1].split(b"\n"), sizes or empty, checksums or empty, mtimes or empty, strict=True)
        return b"\n".join(map(b"\0".join, columns)) + b"\n"

    def _slow(self, block: bytes) -> bytes:
        records: list[bytes] = []
        keep, record = records.append, self._record
        for number, line in enumerate(block[:-1].split(b"\n"), self.lines + 1):
            if not line or line[:1] == b"#":
                continue
            try:
                keep(record(line, number))
            except Outside:
                self.outside += 1
            except BadLine as problem:
                self._bad(number, str(problem), line)
        self.names += len(records)
        return b"\n".join(records) + b"\n" if records else b""

    def _bad(self, number: int, why: str, line: bytes) -> None:
        self.invalid += 1
        self._set_aside(self.title, number, why, line)

    def _record(self, line: bytes, number: int) -> bytes:
        if len(line) > LONGEST:
            raise BadLine(f"longer than {LONGEST} bytes")
        if b"\0" in line:
            raise BadLine("holds a NUL byte")
        if self.form.plain:
            return self._lfn(line)
        fields = self._fields(line)
        if fields is None:
            # The name still counts: a file whose line is damaged in the catalogue must not be called dark.
            name = self._lfn(self._lonely_name(line))
            self._bad(number, f"has not the {len(self.form.columns)} columns; its name was taken, without the rest", line)
            return name + b"\0\0\0" if self.form.compared else name
        name = self._lfn(fields["name"])
        size, checksum, mtime = (fields.get(key, b"") for key in ("size", "checksum", "mtime"))
        if not size.isdigit() and size:
            if size != b"-":
                self._bad(number, "its size is no number; its name was taken, without the size", line)
            size = b""
        if not self.form.compared:
            return name
        return b"\0".join((name, size, b"" if checksum in _UNKNOWN else checksum, b"" if mtime in _UNKNOWN else mtime))

    def _fields(self, line: bytes) -> dict[str, bytes] | None:
        """The columns by name. The name may hold the separator: what is left and right of it is counted off first."""
        separator, left, right = self.form.separator, len(self._left), len(self._right)
        first = line.split(separator, left) if left else [line]
        if len(first) <= left:
            return None
        last = first[-1].rsplit(separator, right) if right else [first[-1]]
        if len(last) <= right:
            return None
        return dict(zip(self.form.columns, (*first[:-1], *last), strict=True))

    def _lonely_name(self, line: bytes) -> bytes:
        parts = line.split(self.form.separator)
        if self._left and self._right:
            raise BadLine(f"has not the {len(self.form.columns)} columns")
        return parts[-1] if self._left else parts[0]

    def _lfn(self, name: bytes) -> bytes:
        if self.form.percent and b"%" in name:
            if _BAD_ESCAPE.search(name):
                raise BadLine("holds a % that begins no escape; the list was said to be percent-encoded")
            name = decode(name.decode("latin-1")) if name.isascii() else _decode_mixed(name)
            if b"\n" in name or b"\0" in name:
                raise BadLine("its name holds a newline or NUL, which no line list can hold")
        if prefix := self.form.strip:
            if not name.startswith(prefix + b"/"):
                raise Outside
            name = name[len(prefix) :]
        if name[:1] != b"/":
            raise BadLine("its name does not begin with / (is a --strip PREFIX missing?)")
        if b"/.." in name and b".." in name.split(b"/"):
            raise BadLine("its name holds '..' as a part")
        return name


def _decode_mixed(name: bytes) -> bytes:
    """Percent-decodes a name that holds raw bytes beyond ASCII too."""
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes((int(found[1], 16),)), name)


def _opened(path: Path) -> BufferedReader:
    try:
        return BufferedReader(FileIO(path), CHUNK)
    except OSError as problem:
        why = problem.strerror or str(problem)
        raise Unavailable("can't read the list", str(path), why, "check owner, mode and mount of that path") from None


def _unpacked(raw: BufferedReader, path: Path) -> BinaryIO:
    """The list's own bytes, whatever the file is called. Raises Refused for packings that aren't read."""
    head = raw.peek(6)[:6]
    kind = next((name for magic, name in PACKED.items() if head.startswith(magic)), "")
    if kind == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw, mode="rb"))
    if kind:
        raise Refused(f"{path} is packed with {kind}; this command reads plain text and gzip: unpack it first")
    if path.suffix == ".gz":
        why = "it is called .gz but holds no gzip data"
        raise Unavailable("can't read the list", str(path), why, "make the list again")
    return raw
