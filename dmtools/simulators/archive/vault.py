"""The files on tape, what hsi's commands do to them, and the faults that hit them.

A file lies below the vault under its whole path; its checksum, computed while it was put, beside it under `.sums`. So the tape
can rot: `corrupt` flips a bit on tape and leaves the checksum.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmtools import durable
from dmtools.simulators.faults import COPY_OPS, TAPE_OPS, Fault, FaultsFile

FAILED = 64
BLOCK = 1 << 18
SUMS = ".sums"


class Trouble(Exception):
    """hsi ends with a code and an error text."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.text, self.code = text, code


@dataclass
class Vault:
    """The tape below `root`. `mount`: seconds before a tape turns; `rate`: bytes a second, 0: any."""

    root: Path
    faults: FaultsFile
    mount: float = 0.0
    rate: float = 0.0
    stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: str, given: Any, length: int, *, keep_sum: bool) -> str:
        """Stores a file, as faults have it; gives what hsi says. Raises Trouble."""
        fault = self._fault("put", path)
        if fault is not None and fault.op == "nothing":
            self._drain(given, length)
            return ""
        target = self._at(path)
        if not target.parent.is_dir():
            raise Trouble(f"put: no such directory: {path} [-2: HPSS_ENOENT]")
        if target.is_dir():
            raise Trouble(f"put: is a directory: {path}")
        self._turn()
        hidden = target.with_name(f".put-{threading.get_ident()}-{time.monotonic_ns()}")
        true, stored = self._store(hidden, given, length, fault)
        sums = stored if fault is not None and fault.op == "corrupt" and fault.reason == "on the way" else true
        with self._lock:
            self._sum(path).unlink(missing_ok=True)
            if keep_sum and not (fault is not None and fault.op == "no-checksum"):
                durable.write_file(self._sum(path), sums.encode())
            os.replace(hidden, target)
        return f"put  '{path}' ( {length} bytes )\n"

    def _store(self, hidden: Path, given: Any, length: int, fault: Fault | None) -> tuple[str, str]:
        """(sha512 of what came, sha512 of what is on tape)."""
        true, stored, left, begun = hashlib.sha512(), hashlib.sha512(), length, time.monotonic()
        most = length // 2 if fault is not None and fault.op == "truncate" else length
        with hidden.open("wb") as file:
            while left:
                block = given.read(min(BLOCK, left))
                if not block:
                    hidden.unlink()
                    raise Trouble("put: the client went away")
                true.update(block)
                if fault is not None and fault.op == "corrupt" and left == length:
                    block = bytes([block[0] ^ 1]) + block[1:]
                written = length - left
                file.write(piece := block[: max(0, most - written)])
                stored.update(piece)
                left -= len(block)
                self._pace(length - left, begun)
        return true.hexdigest(), stored.hexdigest()

    def get(self, path: str) -> tuple[Iterator[bytes], int, bool]:
        """(its bytes, its size, whether they are those of its checksum). Raises Trouble."""
        fault = self._fault("get", path)
        place = self._file(path)
        self._turn()
        right = self._right(path)
        flip = fault is not None and fault.op == "corrupt"
        return self._read(place, flip=flip), place.stat().st_size, right

    def _read(self, place: Path, *, flip: bool) -> Iterator[bytes]:
        done, begun = 0, time.monotonic()
        with place.open("rb") as file:
            while block := file.read(BLOCK):
                yield bytes([block[0] ^ 1]) + block[1:] if flip and not done else block
                done += len(block)
                self._pace(done, begun)

    def ls(self, path: str) -> str:
        """As `ls -l`."""
        self._fault("ls", path)
        place = self._at(path)
        if place.is_dir():
            inside = sorted(one for one in place.iterdir() if one.is_file() and not one.name.startswith(".put-"))
            return f"{path}:\n" + "".join(_line(one.name, one) for one in inside)
        return _line(path, self._file(path))

    def hashlist(self, path: str) -> str:
        """Its checksum, or (none)."""
        self._fault("hashlist", path)
        self._file(path)
        try:
            return f"{self._sum(path).read_text()} sha512 {path} [hsi]\n"
        except FileNotFoundError:
            return f"(none)  {path}\n"

    def hashverify(self, path: str) -> str:
        """Reads the tape. Raises Trouble when it differs."""
        self._fault("hashverify", path)
        self._file(path)
        self._turn()
        if not self._sum(path).exists():
            raise Trouble(f"hashverify: no checksum: {path}", 1)
        if not self._right(path):
            return f"{path}: (sha512) INVALID: checksum mismatch\n"
        return f"{path}: (sha512) OK\n"

    def mkdir(self, path: str) -> str:
        """With all that is above."""
        self._fault("mkdir", path)
        self._at(path).mkdir(parents=True, exist_ok=True)
        return ""

    def mv(self, path: str, to: str) -> str:
        """Over what stands there, as HPSS does."""
        self._fault("mv", path)
        place = self._file(path)
        if not self._at(to).parent.is_dir():
            raise Trouble(f"mv: no such directory: {to} [-2: HPSS_ENOENT]")
        with self._lock:
            if self._sum(path).exists():
                os.replace(self._sum(path), self._sum(to))
            else:
                self._sum(to).unlink(missing_ok=True)
            os.replace(place, self._at(to))
        return ""

    def rm(self, path: str) -> str:
        """A file."""
        self._fault("rm", path)
        self._file(path).unlink()
        self._sum(path).unlink(missing_ok=True)
        return ""

    def available(self) -> str:
        """Raises Trouble when a fault says that it is not."""
        self._fault("hpss_avail", "archive")
        return ""

    def files(self) -> list[dict[str, Any]]:
        """All that is on tape: path, size, sha512 as it is read now, and the one that was kept."""
        found = []
        for place in sorted(self.root.rglob("*")):
            path = str(place)[len(str(self.root)) :]
            if place.is_file() and not path.startswith(f"/{SUMS}/") and not place.name.startswith(".put-"):
                kept = self._sum(path).read_text() if self._sum(path).exists() else None
                found.append({"path": path, "size": place.stat().st_size, "sha512": _sha512(place), "kept": kept})
        return found

    def flip(self, path: str) -> str:
        """One bit rots on tape; the checksum stays. Raises Trouble."""
        with self._file(path).open("r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        return ""

    def _fault(self, what: str, path: str) -> Fault | None:
        fault = self.faults.find([f"{what} {path}"], COPY_OPS | TAPE_OPS)
        if fault is None:
            return None
        if fault.op == "fail":
            raise Trouble(f"{what}: {fault.reason or 'HPSS_EIO'}: {path}", 1)
        if fault.op in ("stall", "slow"):
            self.stopped.wait(fault.seconds if fault.seconds is not None else 3600.0 if fault.op == "stall" else 1.0)
        return fault

    def _at(self, path: str) -> Path:
        if not path.startswith("/") or "\0" in path or ".." in path.split("/") or path.startswith(f"/{SUMS}"):
            raise Trouble(f"invalid name: {path} [-22: HPSS_EINVAL]")
        return Path(f"{self.root}{path}")

    def _file(self, path: str) -> Path:
        place = self._at(path)
        if not place.is_file():
            raise Trouble(f"*** No such file or directory: {path} [-2: HPSS_ENOENT]")
        return place

    def _sum(self, path: str) -> Path:
        return self.root / SUMS / hashlib.sha256(os.fsencode(path)).hexdigest()

    def _right(self, path: str) -> bool:
        kept = self._sum(path)
        return not kept.exists() or kept.read_text() == _sha512(self._file(path))

    def _turn(self) -> None:
        self.stopped.wait(self.mount)

    def _pace(self, done: int, begun: float) -> None:
        if self.rate:
            self.stopped.wait(max(0.0, done / self.rate - (time.monotonic() - begun)))

    def _drain(self, given: Any, left: int) -> None:
        while left and (block := given.read(min(BLOCK, left))):
            left -= len(block)


def _sha512(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def _line(name: str, place: Path) -> str:
    seen = place.stat()
    when = time.strftime("%b %d %H:%M:%S %Y", time.gmtime(seen.st_mtime))
    return f"-rw-r-----   1 icecube   icecube   {seen.st_size:>14} {when} {name}\n"
