"""The scan: zips below outbound that no bundle is known for -> read once, hashed -> bundles, Untouched.

The walk is a process of its own, which streams names as they stand in the books. They are asked for in thousands; what is new
is claimed, asked for again, hashed and added in groups, so that several scanners share a long scan, and a kill loses the
reading of one group.
"""

from __future__ import annotations

import re
import signal
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import select

from dmtools import clock, names
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.lta import outbound, sums
from dmtools.lta.api import Problem, answer
from dmtools.lta.api.bundles import AddBundles, Added, Bundle, GetBundle, Glance, Glimpse, Glimpses, NewBundle
from dmtools.lta.states import LOCAL_DELETED, LOCAL_FILES_DELETED, UNTOUCHED
from dmtools.lta.sums import Sums
from dmtools.lta.work import Work
from dmtools.spool.listfile import MAX_URL, check_url
from dmtools.storage.answers import StorageError
from dmtools.storage.walking import Files, Walk

ASKED, GROUP, GROUP_BYTES = 1000, 500, 4 << 30
STALL_SECONDS = 60.0
READING_SECONDS = 600.0  # so long new zips are read; then the pass goes on, and the next one reads on
AHEAD_SECONDS = 300  # a zip whose time lies further ahead was not written just now: somebody set it
MOST_TOLD = 20
LEASE = "lta-zip-"  # then hexadecimal digits
AWAY = (LOCAL_DELETED, LOCAL_FILES_DELETED)  # a zip that lies under such a name is none that was shipped
_PLAIN = re.compile(rb"[A-Za-z0-9_.+=,@:~()/-]*").fullmatch  # names that are spelt as they are


class Seen(NamedTuple):
    """A zip as the walk saw it; `ideal`: its name at all sites."""

    ideal: str
    size: int
    mtime_ns: int
    regular: bool

    @property
    def resource(self) -> str:
        """The lease of who reads it."""
        return LEASE + names.key(self.ideal).hex()


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
        if not self.this.dry_run:
            self._end_dead()
        walk = Walk(outbound.root(self.this.settings), STALL_SECONDS, _zips, hidden=False)
        try:
            for made in walk.rows():
                self._look(made)
                if self.ended or not self.work.goes():
                    return ""
            while self.waiting and not self.ended:
                self._read_waiting()
        except StorageError as problem:
            return problem.reason
        for said in walk.unreadable[:MOST_TOLD]:
            left = "bundles below it are not seen; all others are"
            self.this.problem("not readable", said, why=said, left=left, next="look at its owner, mode and disk")
        return ""

    def _end_dead(self) -> None:
        """Leases of a scanner that was killed when its zips were added already: nobody would ask for them again."""
        column = tables.lease.c.resource
        query = select(column).where(column >= LEASE, column < LEASE + "g").limit(10 * GROUP)
        with self.this.ledger.read() as connection:
            found = connection.execute(query).scalars().all()
        for part in chunks(found):
            self.this.leases.release(list(self.this.leases.claim(part)))

    # ---- what is known

    def _look(self, made: Sequence[tuple[Any, ...]]) -> None:
        """Some zips as they were found: settled, new ones wait for their reading."""
        now = clock.now().timestamp()
        settled, ahead = (now - self.this.settings.lta.settle_seconds) * 1e9, (now + AHEAD_SECONDS) * 1e9
        longest = MAX_URL - len(self.this.settings.lta.buffer)
        ready = []
        for ideal, size, mtime_ns, regular in made:
            if not regular or len(ideal) > longest:
                self._refuse(Seen(ideal, size, mtime_ns, regular))
            elif not settled < mtime_ns < ahead:
                ready.append(Seen(ideal, size, mtime_ns, regular))
        for part in range(0, len(ready), ASKED):
            self.waiting += [one for one in self._unknown(ready[part : part + ASKED], tell=True) if self._has_a_name(one)]
            while not self.ended and (len(self.waiting) >= GROUP or sum(one.size for one in self.waiting) >= GROUP_BYTES):
                self._read_waiting()

    def _refuse(self, one: Seen) -> None:
        if one.regular:
            self._has_a_name(one)
            return
        why, left = "a link, or another thing that is no file, has the name of a bundle", "it is not shipped"
        self._tell("no regular file", one, why, left, "lay the file itself there, or take it away")

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
        found = answer(self.work.books, Glance(destination=self.work.destination, names=tuple(by_name)), Glimpses).bundles
        for bundle in found:
            one = by_name.pop(bundle.ideal)
            if tell and one.size != bundle.size:
                self._compare(one, bundle)
        self.known += len(found) if tell else 0
        return list(by_name.values())

    def _compare(self, one: Seen, glimpse: Glimpse) -> None:
        """Another zip under a known name."""
        bundle = answer(self.work.books, GetBundle(id=glimpse.id), Bundle)
        if bundle.home == self.work.home.id and bundle.state not in AWAY:
            why = f"bundle {bundle.id} of this name ({bundle.state}) has {bundle.size} bytes, the zip has {one.size}"
            left = "neither was touched; the zip is not shipped"
            self._tell("another zip", one, why, left, "give the new zip a name of its own, or put the old one back")

    # ---- what is new

    def _read_waiting(self) -> None:
        """Reads a group of what waits, and adds it."""
        if self.this.dry_run:
            for one in self.waiting:
                self.this.plan(f"would hash {names.shown(one.ideal)} ({one.size:,} bytes) and add it")
            self.new += len(self.waiting)
            self.waiting = []
            return
        group = self._group()
        ours = self.this.leases.claim([one.resource for one in group])
        try:
            mine = self._unknown([one for one in group if one.resource in ours], tell=False)
            self._add(list(self._hashed(mine)))
        finally:
            self.this.leases.release(list(ours))
        self.ended = time.monotonic() > self.until or not self.work.goes()

    def _group(self) -> list[Seen]:
        """The next of those that wait: not more of large ones than others can wait for."""
        size = number = 0
        for one in self.waiting:
            size += one.size
            number += 1
            if number == GROUP or size >= GROUP_BYTES:
                break
        group, self.waiting = self.waiting[:number], self.waiting[number:]
        return group

    def _hashed(self, mine: Sequence[Seen]) -> Iterator[NewBundle]:
        """Reads them; one that can't be read now is told and left."""
        root = outbound.root(self.this.settings)
        found = sums.read_many([root + names.decode(one.ideal) for one in mine], self.until) if mine else []
        for one, read in zip(mine, found, strict=False):
            if isinstance(read, Sums):
                yield self._made(one, names.file_url(root) + one.ideal, read)
            elif read.cls != "missing":
                left, advice = "it is not shipped", "the next pass looks at it again"
                self._tell("not read", one, read.reason, left, advice, failed=read.cls != "changed")

    def _made(self, one: Seen, url: str, found: Sums) -> NewBundle:
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
    before = outbound.ideal_of(directory + b"/" if directory else b"")
    is_file, encode = stat.S_ISREG, names.encode
    return [
        (before + (name.decode("ascii") if _PLAIN(name) else encode(name)), size, mtime_ns, is_file(mode))
        for name, size, mtime_ns, _inode, mode in entries
        if name.endswith(b".zip")
    ]
