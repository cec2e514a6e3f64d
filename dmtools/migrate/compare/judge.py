"""The comparison itself: what is equal, lost, dark, young or different, stretch by stretch of the sorted names."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dmtools.migrate.compare.guard import Guard, instant
from dmtools.migrate.compare.lists import NameList
from dmtools.migrate.compare.merge import TOLD, Side, Sorter, feed_at_once, windows
from dmtools.migrate.compare.results import Results

KINDS = ("lost", "dark", "young", "different")
_NO_COLUMNS = b"\0\0"


@dataclass
class Tally:
    """What was found: names by kind, bytes by kind (as far as sizes are known), why names are young, the first of each kind."""

    counts: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    young: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[bytes]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    repeated: dict[str, int] = field(default_factory=dict)
    told: dict[str, list[bytes]] = field(default_factory=dict)
    not_comparable: int = 0


class Comparison:
    """Compares two lists and writes what differs into `results`."""

    def __init__(self, dump: NameList, catalogue: NameList, guard: Guard, results: Results) -> None:
        self._lists, self._guard, self._results = (dump, catalogue), guard, results
        self._columns = dump.form.compared or catalogue.form.compared
        self.tally = Tally()

    def run(self, temporary: Path) -> Tally:
        """Sorts both lists below `temporary` and compares them. Raises Unavailable or Refused."""
        sorters: list[Sorter] = []
        try:
            sorters.extend(Sorter(temporary) for _ in self._lists)
            feed_at_once(zip(sorters, (names.records() for names in self._lists), strict=True))
            dump, catalogue = (Side(sorter) for sorter in sorters)
            for here, there in windows(dump, catalogue):
                if self._columns:
                    self._with_columns(_by_name(here, dump), _by_name(there, catalogue))
                else:
                    self._names_only(here, there)
        finally:
            for sorter in sorters:
                sorter.close()
        for names, side in zip(self._lists, (dump, catalogue), strict=True):
            self.tally.repeated[names.title] = side.repeated
            self.tally.told[names.title] = list(side.told)
        return self.tally

    def _names_only(self, here: list[bytes], there: list[bytes]) -> None:
        dark = sorted(set(here).difference(there))
        self.tally.counts["equal"] += len(here) - len(dark)
        if len(here) - len(dark) < len(there):
            self._lost([(name, _NO_COLUMNS) for name in sorted(set(there).difference(here))])
        self._dark([(name, _NO_COLUMNS) for name in dark])

    def _with_columns(self, here: dict[bytes, bytes], there: dict[bytes, bytes]) -> None:
        self._dark([(name, here[name]) for name in sorted(here.keys() - there.keys())])
        self._lost([(name, there[name]) for name in sorted(there.keys() - here.keys())])
        for name, columns in here.items():
            other = there.get(name)
            if other is None:
                continue
            same = columns.rpartition(b"\0")[0] == other.rpartition(b"\0")[0]  # all but the mtime
            why = b"" if same else self._difference(columns, other)
            if why:
                self._keep("different", [name], lines=[b"# " + why, name])
            else:
                self.tally.counts["equal"] += 1

    def _dark(self, found: list[tuple[bytes, bytes]]) -> None:
        dark: list[tuple[bytes, bytes]] = []
        young: list[bytes] = []
        for name, columns in found:
            verdict = self._guard.dark(columns.rpartition(b"\0")[2])
            if verdict == "dark":
                dark.append((name, columns))
            else:
                young.append(name)
                self.tally.young[verdict] += 1
        self._count_bytes("dark", dark)
        self._keep("dark", [name for name, _ in dark])
        self._keep("young", young)

    def _lost(self, found: list[tuple[bytes, bytes]]) -> None:
        lost: list[tuple[bytes, bytes]] = []
        young: list[bytes] = []
        for name, columns in found:
            if self._guard.lost(columns.rpartition(b"\0")[2]) == "lost":
                lost.append((name, columns))
            else:
                young.append(name)
        self._count_bytes("lost", lost)
        self._keep("lost", [name for name, _ in lost])
        if young:
            self.tally.young["newer than the dump"] += len(young)
        self._keep("young", young, file="young-lost")

    def _keep(self, kind: str, names: list[bytes], lines: list[bytes] | None = None, file: str = "") -> None:
        self.tally.counts[kind] += len(names)
        first = self.tally.first[kind]
        first += names[: TOLD - len(first)]
        self._results.add(file or kind, names if lines is None else lines)

    def _count_bytes(self, kind: str, found: list[tuple[bytes, bytes]]) -> None:
        for _, columns in found:
            size = columns.partition(b"\0")[0]
            if size:
                self.tally.sizes[kind] += int(size)

    def _difference(self, here: bytes, there: bytes) -> bytes:
        """What the columns of both disagree about; empty when nothing, as far as both are known."""
        size, checksum, _ = (here or _NO_COLUMNS).split(b"\0")
        other_size, other_checksum, _ = (there or _NO_COLUMNS).split(b"\0")
        if size and other_size and int(size) != int(other_size):
            self.tally.sizes["different"] += int(other_size)
            return b"size: " + size + b" on storage, " + other_size + b" in the catalogue"
        if checksum and other_checksum:
            same = same_checksum(checksum, other_checksum)
            if same is None:
                self.tally.not_comparable += 1
            elif not same:
                self.tally.sizes["different"] += int(other_size or size or 0)
                return b"checksum: " + checksum + b" on storage, " + other_checksum + b" in the catalogue"
        return b""


def _by_name(records: list[bytes], side: Side) -> dict[bytes, bytes]:
    """Name -> its columns. Of a name that stands twice with different columns the youngest counts."""
    parts = [record.partition(b"\0") for record in records]
    found = {name: columns for name, _, columns in parts}
    if len(found) == len(records):
        return found
    side.repeated += len(records) - len(found)
    found.clear()
    for name, _, columns in parts:
        if name in found:
            side.tell(name)
            found[name] = max(found[name], columns, key=_youth)
        else:
            found[name] = columns
    return found


def _youth(columns: bytes) -> float:
    at = instant(columns.rpartition(b"\0")[2])
    return float("inf") if at is None else at


def same_checksum(first: bytes, second: bytes) -> bool | None:
    """Whether two checksums (`adler32:0a1b`, `a1b`, `MD5=...`, `0x...`) agree; None when they are of different kinds."""
    kind, value = _checksum(first)
    other_kind, other = _checksum(second)
    if kind and other_kind and kind != other_kind:
        return None
    if "adler32" in (kind, other_kind) or max(len(value), len(other)) <= 8:
        value, other = value.zfill(8), other.zfill(8)
    if len(value) != len(other):
        return None
    return value == other


def _checksum(text: bytes) -> tuple[str, str]:
    """(algorithm or "", hex digits), in lower case."""
    kind, _, value = text.decode("latin-1").lower().replace("=", ":").rpartition(":")
    kind = kind.strip().replace("-", "")
    return "adler32" if kind == "adler" else kind, value.strip().removeprefix("0x")
