"""The scan: zips below outbound that no bundle is known for -> read once, hashed -> bundles, Untouched.

The walk is a process of its own and streams. Names are asked for in hundreds; what is new is claimed, asked for again,
hashed and added in groups, so that several scanners share a long scan, and a kill loses the reading of one group.
"""

from __future__ import annotations

import signal
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.lta import outbound, sums
from dmtools.lta.api import Problem, answer
from dmtools.lta.api.bundles import AddBundles, Added, Bundles, Known, NewBundle
from dmtools.lta.states import LOCAL_DELETED, LOCAL_FILES_DELETED, UNTOUCHED
from dmtools.lta.sums import Sums
from dmtools.lta.work import Work
from dmtools.spool.listfile import check_url
from dmtools.storage.answers import StorageError
from dmtools.storage.walking import Files, Walk

ASKED, GROUP, GROUP_BYTES = 500, 200, 4 << 30
STALL_SECONDS = 60.0
READING_SECONDS = 600.0  # so long new zips are read; then the pass goes on, and the next one reads on
AHEAD_SECONDS = 300  # a zip whose time lies further ahead was not written just now: somebody set it
MOST_TOLD = 20
AWAY = (LOCAL_DELETED, LOCAL_FILES_DELETED)  # a zip that lies under such a name is none that was shipped


class Seen(NamedTuple):
    """A zip as the walk saw it."""

    path: bytes
    size: int
    mtime_ns: int
    regular: bool

    @property
    def ideal(self) -> str:
        """Its name at all sites."""
        return outbound.ideal_of(self.path)

    @property
    def resource(self) -> str:
        """The lease of who reads it."""
        return f"lta-zip-{names.key(self.ideal).hex()}"


@dataclass
class Scan:
    """One scan of the outbound directory. `ended`: the time for reading was over before all was read."""

    work: Work
    seconds: float = READING_SECONDS
    until: float = 0.0
    ended: bool = False
    known: int = 0
    new: int = 0
    told: int = 0
    waiting: list[Seen] = field(default_factory=list)

    @property
    def this(self) -> Pass:
        """The pass."""
        return self.work.this

    def run(self) -> str:
        """Looks at all of it, adds what is new; gives why it could not be read to its end, or nothing."""
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # see storage.writers
        self.until = time.monotonic() + self.seconds
        walk = Walk(outbound.root(self.this.settings), STALL_SECONDS, _zips, hidden=False)
        try:
            for made in walk.rows():
                self._look([Seen(*one) for one in made])
                if self.ended or not self.this.goes():
                    return ""
            self._read_waiting()
        except StorageError as problem:
            return problem.reason
        for said in walk.unreadable[:MOST_TOLD]:
            left = "bundles below it are not seen; all others are"
            self.this.problem("not readable", said, why=said, left=left, next="look at its owner, mode and disk")
        return ""

    # ---- what is known

    def _look(self, seen: list[Seen]) -> None:
        """Some zips as they were found: settled, new ones wait for their reading."""
        now = clock.now().timestamp()
        settled, ahead = (now - self.this.settings.lta.settle_seconds) * 1e9, (now + AHEAD_SECONDS) * 1e9
        good = (one for one in seen if self._is_file(one) and self._has_a_name(one))
        ready = [one for one in good if not settled < one.mtime_ns < ahead]
        for part in range(0, len(ready), ASKED):
            self.waiting += self._unknown(ready[part : part + ASKED], tell=True)
            while not self.ended and (len(self.waiting) >= GROUP or sum(one.size for one in self.waiting) >= GROUP_BYTES):
                self._read_waiting()

    def _is_file(self, one: Seen) -> bool:
        if not one.regular:
            left, advice = "it is not shipped", "lay the file itself there, or take it away"
            self._tell("no regular file", one, "a link, or another thing that is no file, has the name of a bundle", left, advice)
        return one.regular

    def _has_a_name(self, one: Seen) -> bool:
        """One that no job may carry is told, and left."""
        try:
            check_url(self.this.settings.lta.buffer + one.ideal, any_name=True)
        except names.NameRefused as problem:
            self._tell("no name for a bundle", one, str(problem), "it is not shipped", "rename it", failed=True)
            return False
        return True

    def _unknown(self, seen: Sequence[Seen], *, tell: bool) -> list[Seen]:
        """Those that no live bundle has the name of."""
        if not seen:
            return []
        by_name = {one.ideal: one for one in seen}
        ask = Known(destination=self.work.destination, names=tuple(by_name))
        known = answer(self.work.books, ask, Bundles).bundles
        for bundle in known:
            one = by_name.pop(bundle.ideal)
            if tell:
                self.known += 1
                if bundle.home == self.work.home.id and bundle.state not in AWAY and one.size != bundle.size:
                    why = f"bundle {bundle.id} of this name ({bundle.state}) has {bundle.size} bytes, the zip has {one.size}"
                    left = "neither was touched; the zip is not shipped"
                    self._tell("another zip", one, why, left, "give the new zip a name of its own, or put the old one back")
        return list(by_name.values())

    # ---- what is new

    def _read_waiting(self) -> None:
        """Reads a group of what waits, and adds it."""
        if self.this.dry_run:
            for one in self.waiting:
                self.this.plan(f"would hash {names.shown(one.ideal)} ({one.size:,} bytes) and add it")
            self.new += len(self.waiting)
            self.waiting = []
            return
        group: list[Seen] = []
        size = 0
        while self.waiting and len(group) < GROUP and (not group or size < GROUP_BYTES):
            group.append(self.waiting.pop(0))
            size += group[-1].size
        ours = self.this.leases.claim([one.resource for one in group])
        try:
            mine = self._unknown([one for one in group if one.resource in ours], tell=False)
            self._add([made for one in mine if (made := self._hash(one)) is not None])
        finally:
            self.this.leases.release(list(ours))

    def _hash(self, one: Seen) -> NewBundle | None:
        """Reads a zip; None when that is not for now."""
        if self.ended or time.monotonic() > self.until or not self.this.goes():
            self.ended = True
            return None
        try:
            return self._made(one, sums.read(outbound.root(self.this.settings) + b"/" + one.path))
        except StorageError as problem:
            if problem.cls == "missing":
                return None
            advice = "the next pass looks at it again"
            self._tell("not read", one, problem.reason, "it is not shipped", advice, failed=problem.cls != "changed")
            return None

    def _made(self, one: Seen, found: Sums) -> NewBundle:
        url = names.file_url(outbound.root(self.this.settings)) + one.ideal
        return NewBundle(
            destination=self.work.destination, ideal=one.ideal, home=self.work.home.id, name=url, size=found.size,
            sha512=found.sha512, adler32=found.adler32,
        )  # fmt: skip

    def _add(self, made: Sequence[NewBundle]) -> None:
        """All together; where one is refused, each by itself: it must not hold up the others."""
        if not made:
            return
        try:
            added = answer(self.work.books, AddBundles(bundles=tuple(made)), Added).new
        except Problem as problem:
            if len(made) > 1:
                for one in made:
                    self._add([one])
                return
            left = "its zip stays in outbound and is not shipped"
            subject, advice = names.shown(made[0].ideal), "give it another name"
            self.this.problem("not added", subject, why=str(problem), left=left, next=advice)
            return
        self.new += added
        self.this.moved("", UNTOUCHED, added)

    def _tell(self, what: str, one: Seen, why: str, left: str, advice: str, *, failed: bool = False) -> None:
        """The first ones in full, for there may be thousands; the log has all."""
        self.told += 1
        subject = names.shown(one.ideal)
        if self.told <= MOST_TOLD:
            self.this.problem(what, subject, why=why, left=left, next=advice, failed=failed)
        else:
            self.this.log(f"{what}: {subject}: {why}")


def _zips(found: Files) -> list[tuple[Any, ...]]:
    """In the process of the walk: what may be a bundle, as the fields of `Seen`."""
    directory, entries = found
    return list(_of(directory + b"/" if directory else b"", entries))


def _of(before: bytes, entries: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for name, size, mtime_ns, _inode, mode in entries:
        if name.endswith(b".zip"):
            yield before + name, size, mtime_ns, stat.S_ISREG(mode)
