"""A power cut: HOME as a disk may hold it after the acts that strace saw, when what was not yet synced is lost or reordered.

The model is POSIX's, not one file system's: data last until fsync, fdatasync or syncfs of the file; a name lasts from the
fsync of its directory on. Three images of each cut: nothing unsynced is kept; all names but no unsynced data; by chance.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

STRICT, NAMES, CHANCE = "strict", "names", "chance"
IMAGES = (STRICT, NAMES, CHANCE)
KEPT = ("demo", "run/sim", "secrets", "dqm", "datalogger")  # other disks, other machines: they had no power cut
_CALL = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed>)(.*)")
_END = re.compile(r"\) += (-?\d+|\?)")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
_HANDLE = re.compile(r"\(?(?:\d+|AT_FDCWD)<([^>]*)>")


@dataclass
class Write:
    """One change of a file's data that is not synced yet."""

    offset: int
    data: bytes | None  # None: cut to `offset` bytes


@dataclass
class Inode:
    """A file: what is safe of it, and what came since."""

    safe: bytes = b""
    since: list[Write] = field(default_factory=list)

    def now(self, kept: list[Write] | None = None) -> bytes:
        """Its data with all changes, or with these."""
        data = bytearray(self.safe)
        for change in self.since if kept is None else kept:
            if change.data is None:
                data[change.offset :] = b"" if len(data) > change.offset else bytes(change.offset - len(data))
            else:
                data.extend(bytes(max(0, change.offset - len(data))))
                data[change.offset : change.offset + len(change.data)] = change.data
        return bytes(data)

    def sync(self) -> None:
        """All of it is safe."""
        self.safe, self.since = self.now(), []


class Disk:
    """The files below HOME, by name, as they are and as they are safe."""

    def __init__(self, template: Path, home: Path) -> None:
        self.home = str(home)
        self.files: dict[str, Inode] = {}
        for path in template.rglob("*"):
            name = str(path.relative_to(template))
            if path.is_file() and not name.startswith(KEPT) and not name.endswith("-shm"):
                self.files[name] = Inode(path.read_bytes())
        self.names = dict(self.files)
        self.safe_names = dict(self.files)

    def apply(self, name: str, text: str) -> None:
        """One call that was done."""
        act = getattr(self, f"_{name}", None)
        if act is not None:
            act(text)

    def _inside(self, path: str) -> str | None:
        if not path.startswith(self.home + "/") or path.endswith(("-shm", " (deleted)")):
            return "" if path == self.home else None
        inner = path[len(self.home) + 1 :]
        return None if inner.startswith(KEPT) else inner

    def _paths(self, text: str) -> list[str | None]:
        """The names that a call's words mean, each with the directory handle before it."""
        found = []
        for match in _WORD.finditer(text):
            word = _decoded(match[1]).decode("utf-8", "surrogateescape")
            handles = _HANDLE.findall(text[: match.start()])
            found.append(self._inside(word if word.startswith("/") or not handles else f"{handles[-1]}/{word}"))
        return found

    def _file(self, text: str) -> Inode | None:
        handle = _HANDLE.match(text)
        inner = self._inside(handle[1]) if handle else None
        return self.names.get(inner) if inner else None

    def _openat(self, text: str) -> None:
        (inner, *_) = self._paths(text)
        if not inner or ("O_CREAT" not in text and "O_TRUNC" not in text):
            return
        inode = self.names.get(inner)
        if inode is None and "O_CREAT" in text:
            self.names[inner] = Inode()
        elif inode is not None and "O_TRUNC" in text:
            inode.since.append(Write(0, None))

    def _write(self, text: str) -> None:
        if inode := self._file(text):
            inode.since.append(Write(len(inode.now()), _data(text)))

    def _pwrite64(self, text: str) -> None:
        if inode := self._file(text):
            inode.since.append(Write(int(re.findall(r", (\d+)\)", text)[-1]), _data(text)))

    def _ftruncate(self, text: str) -> None:
        if inode := self._file(text):
            inode.since.append(Write(int(re.findall(r", (\d+)\)", text)[-1]), None))

    def _fsync(self, text: str) -> None:
        handle = _HANDLE.match(text)
        inner = self._inside(handle[1]) if handle else None
        if inner is None:
            return
        if inner in self.names:
            self.names[inner].sync()
            return
        here = {name for name in self.names.keys() | self.safe_names.keys() if os.path.dirname(name) == inner}
        for name in here:
            self._settle(name)

    _fdatasync = _fsync

    def _settle(self, name: str) -> None:
        if name in self.names:
            self.safe_names[name] = self.names[name]
        else:
            self.safe_names.pop(name, None)

    def _syncfs(self, _text: str) -> None:
        for inode in self.names.values():
            inode.sync()
        self.safe_names = dict(self.names)

    def _rename(self, text: str) -> None:
        source, target = self._paths(text)[:2]
        if source and target and source in self.names:
            self.names[target] = self.names.pop(source)

    _renameat = _renameat2 = _rename

    def _unlink(self, text: str) -> None:
        (inner, *_) = self._paths(text)
        self.names.pop(inner or "", None)

    _unlinkat = _unlink

    def compare(self) -> None:
        """The replay must have made what the calls made; else the model is wrong, not the program."""
        for name, inode in self.names.items():
            path = Path(self.home, name)
            assert path.is_file(), f"{name} is in the model, but not there"
            assert path.read_bytes() == inode.now(), f"{name} differs from the model"

    def image(self, kind: str, dice: random.Random) -> dict[str, bytes]:
        """What the disk holds after the cut."""
        if kind == STRICT:
            return {name: inode.safe for name, inode in self.safe_names.items()}
        if kind == NAMES:
            return {name: inode.safe for name, inode in self.names.items()}
        found = {}
        for name in sorted(self.names.keys() | self.safe_names.keys()):
            inode = dice.choice((self.names, self.safe_names)).get(name)
            if inode is not None:
                found[name] = inode.now([change for change in inode.since if dice.random() < 0.5])
        return found


def _decoded(text: str) -> bytes:
    return text.encode("latin-1", "replace").decode("unicode_escape").encode("latin-1")


def _data(text: str) -> bytes:
    match = _WORD.search(text)
    assert match, text
    return _decoded(match[1])


def acts(log: Path) -> Iterator[tuple[str, str]]:
    """The calls of a log that were done, in the order of their ends: name and text from the first bracket on."""
    begun: dict[str, str] = {}
    for line in log.read_text("latin-1").splitlines():
        match = _CALL.match(line)
        if not match:
            continue
        thread, name, middle, rest = match.groups()
        if rest.endswith("<unfinished ...>"):
            begun[thread] = "(" + rest.removesuffix("<unfinished ...>").rstrip()
            continue
        text = begun.pop(thread, "") + rest if middle != "(" else "(" + rest
        ends = _END.findall(text)
        if ends and ends[-1].isdigit():
            yield name, text


def cut(template: Path, home: Path, log: Path, kind: str, seed: int) -> None:
    """Puts HOME into the state that a power cut may leave behind the acts of the log."""
    disk = Disk(template, home)
    for name, text in acts(log):
        disk.apply(name, text)
    disk.compare()
    image = disk.image(kind, random.Random(seed))
    for path in sorted(home.rglob("*"), reverse=True):
        inner = str(path.relative_to(home))
        if path.is_file() and not inner.startswith(KEPT) and inner not in image:
            path.unlink()
    for name, data in image.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(data)
        elif path.read_bytes() != data:
            mode = path.stat().st_mode
            path.write_bytes(data)
            path.chmod(mode)
        shutil.copystat(template / name, path) if (template / name).exists() else None
