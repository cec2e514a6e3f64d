"""Faults on demand: HOME/run/sim/NAME.faults.toml, read again at each request and each copy."""

from __future__ import annotations

import hashlib
import re
import sys
import threading
import tomllib
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

COPY_OPS = frozenset({"fail", "stall", "corrupt", "slow"})
TAPE_OPS = frozenset({"nothing", "truncate", "no-checksum"})  # of a put at dm-sim archive
# of an answer of dm-sim datalogger
LOGGER_OPS = frozenset(
    {
        "say",
        "say-after",
        "html",
        "header",
        "tail",
        "hole",
        "few",
        "early-end",
        "cut-line",
        "unsorted",
        "twice",
        "glue",
        "stars",
        "not-finite",
        "clock",
    }
)
REQUEST_OPS = frozenset({"http500", "silent", "slow", "lose-answer"})
PAGE_OPS = frozenset({"busy", "alert", "half", "markup", "cut", "deaf"})  # of the page of dm-sim dqm


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[fault]]`: where it hits (part or glob of a URL, or of "METHOD /path"), what it does, how often, how long."""

    op: str
    match: str = "*"
    reason: str = ""
    times: int | None = None
    seconds: float | None = None

    def hits(self, subject: str) -> bool:
        """Whether `match` is a part of the subject or, as a glob, the whole of it."""
        return self.match in subject or fnmatchcase(subject, self.match)


class FaultsFile:
    """The faults in force. `spend(key, times)` counts a use durably and says whether one was left.

    A counter goes with its entry: an entry that was taken out and is written again counts from nothing.
    """

    def __init__(self, file: Path, spend: Callable[[str, int], bool], keep: Callable[[list[str]], None]) -> None:
        self.file = file
        self._spend = spend
        self._keep = keep
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._faults: list[tuple[str, Fault]] = []

    @classmethod
    def counted_here(cls, file: Path) -> Self:
        """Uses are counted by this process alone: another start begins anew."""
        used: Counter[str] = Counter()

        def spend(key: str, times: int) -> bool:
            used[key] += 1
            return used[key] <= times

        def keep(keys: list[str]) -> None:
            for key in set(used) - set(keys):
                del used[key]

        return cls(file, spend, keep)

    def find(self, subjects: list[str], ops: frozenset[str]) -> Fault | None:
        """The first fault that hits one of the subjects and has uses left; one use is counted."""
        with self._lock:
            for key, fault in self._current():
                hit = fault.op in ops and any(fault.hits(subject) for subject in subjects)
                if hit and (fault.times is None or self._spend(key, fault.times)):
                    return fault
        return None

    def of_request(self, method: str, path: str, query: str) -> Fault | None:
        """The fault that hits a request: by "METHOD /path" or "METHOD /path?query"."""
        return self.find(subjects(method, path, query), REQUEST_OPS)

    def _current(self) -> list[tuple[str, Fault]]:
        try:
            stat = self.file.stat()
            seen: tuple[int, ...] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except FileNotFoundError:
            seen = ()
        if seen != self._seen:
            self._seen = seen
            found = self._read() if seen else []
            self._faults = found or []
            if found is not None:
                self._keep([key for key, _ in found])
        return self._faults

    def _read(self) -> list[tuple[str, Fault]] | None:
        try:
            found = parse(self.file.read_text("utf-8"))
        except (OSError, ValueError) as problem:
            print(f"dm-sim: {self.file} is no faults file and is ignored: {problem}", file=sys.stderr, flush=True)
            return None
        ordinals: dict[str, int] = {}
        keyed = []
        for fault in found:
            base = hashlib.sha256(msgspec.json.encode(fault)).hexdigest()[:32]
            ordinals[base] = ordinals.get(base, 0) + 1
            keyed.append((f"{base}-{ordinals[base]}", fault))
        return keyed


def subjects(method: str, path: str, query: str) -> list[str]:
    """What a fault's `match` is compared with for a request."""
    return [f"{method} {path}", f"{method} {path}?{query}"] if query else [f"{method} {path}"]


def server_error(fault: Fault) -> bytes:
    """The body of the answer 500, as JSON; what JSON would have to escape becomes a blank."""
    text = re.sub(r'[^ -~]|["\\]', " ", fault.reason or "Internal Server Error").encode()
    return b'{"status":"500 Internal Server Error","message":"' + text + b'"}'


def parse(text: str) -> list[Fault]:
    """TOML text -> faults. Raises ValueError with a sentence that names the entry."""
    table = tomllib.loads(text)
    if unknown := sorted(set(table) - {"fault"}):
        raise ValueError(f"unknown key {unknown[0]!r}; write [[fault]]")
    entries = table.get("fault", [])
    if not isinstance(entries, list):
        raise ValueError("write [[fault]], with two brackets")
    faults = []
    for number, entry in enumerate(entries, 1):
        try:
            fault = msgspec.convert(entry, Fault)
        except msgspec.ValidationError as problem:
            raise ValueError(f"fault {number}: {problem}") from None
        if fault.op not in (known := COPY_OPS | LOGGER_OPS | TAPE_OPS | REQUEST_OPS | PAGE_OPS):
            raise ValueError(f"fault {number}: unknown op {fault.op!r}; known: {', '.join(sorted(known))}")
        faults.append(fault)
    return faults
