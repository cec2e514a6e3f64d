"""Found files -> the site: copied by threads, proved by what the storage says, booked in groups.

Order of a group: hidden files synced -> Copied, with the checksum that was read -> the names -> the storage's own answer ->
AtSite. What a kill leaves in Copied is asked for first by the next pass.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import accumulate

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.daq import copying, files, outcomes
from dmtools.daq.copying import Outcome
from dmtools.daq.disks import Disk, look_at
from dmtools.daq.files import File
from dmtools.daq.proving import prove
from dmtools.daq.states import COPIED, FOUND
from dmtools.ledger.journal import Move
from dmtools.storage import grouped
from dmtools.storage.answers import StorageError, Store
from dmtools.storage.crew import Crew
from dmtools.storage.deadline import Pulse

BATCH, BATCH_BYTES = 8192, 16 << 30  # claimed at once: no more of large files than others can wait for
HANDLES = 4096  # open files that we want to have; a copied file keeps its handle until its group is settled
GROUP_BYTES, GROUP_SECONDS = 1 << 30, 2.0
COPIES = ("staged", "sent", "there")
HANGS = 20  # so many times [daq] disk_seconds without a sign of life, though its disk answers


@dataclass
class Sending:
    """What one pass copies with. `site_trouble`: nothing more can be copied now, whatever the file."""

    this: Pass
    disks: dict[int, Disk]
    store: Store
    threads: int
    site_trouble: StorageError | None = None
    away: dict[int, str] = field(default_factory=dict)  # disks in trouble, and why

    def run(self) -> None:
        """Copies all that is due on these disks."""
        crew: Crew[Outcome] = Crew(self.threads)
        try:
            for batch in self._batches():
                with files.claimed(self.this, batch) as ours:
                    Batch(self, crew, ours).run()
        finally:
            crew.close(Outcome.discard)

    def goes(self) -> bool:
        """May the next file begin?"""
        return self.site_trouble is None and self.this.goes()

    def destination(self, file: File) -> str:
        """Where a file's copy is."""
        return self.this.settings.daq.site.rstrip("/") + file.lfn

    def _batches(self) -> Iterator[list[File]]:
        now = clock.now()
        for disk in self.disks.values():
            last = 0
            while disk.id not in self.away and self.goes():
                with self.this.ledger.read() as connection:
                    batch = files.read(connection, files.due(disk.id, last, BATCH, now))
                if not batch:
                    break
                batch = _bounded(batch)
                last = batch[-1].id
                yield batch


def _bounded(batch: list[File]) -> list[File]:
    """The first of these, at least one, that are not too large together."""
    sizes = accumulate(file.size for file in batch)
    number = next((number for number, size in enumerate(sizes, 1) if size >= BATCH_BYTES), len(batch))
    return batch[:number]


def _handles() -> int:
    """How many files may be open, after asking for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HANDLES if hard == resource.RLIM_INFINITY else min(HANDLES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Batch:
    """Files that this pass has claimed: begun as threads are free, settled in groups."""

    def __init__(self, sending: Sending, crew: Crew[Outcome], ours: Sequence[File]) -> None:
        self.sending, self.this, self.crew = sending, sending.this, crew
        self.files = {file.id: file for file in ours}
        self.firsts = self._firsts()
        self.group: list[Outcome] = []
        self.size, self.since = 0, 0.0  # bytes of the group, and when its first file ended
        self.most = _handles() // 4  # begun and not yet ended; and the same number in a group

    def run(self) -> None:
        """Until all are settled, or nothing more can be copied and what was begun is settled."""
        waiting = list(reversed(self.files.values()))
        goes, crew = True, self.crew
        try:
            while (waiting and goes) or crew.open or self.group:
                while waiting and goes and crew.open < self.most:
                    self._begin(waiting.pop())
                self._take(crew.ended(0.5) if crew.open else None)
                if self._is_full() or not crew.open:
                    self._settle()
                    goes = bool(waiting) and self.sending.goes()
        except BaseException:
            for outcome in self.group:
                outcome.discard()
            raise

    def _firsts(self) -> dict[int, File]:
        with self.this.ledger.read() as connection:
            return files.by_ids(connection, [file.twin_id for file in self.files.values() if file.twin_id])

    def _begin(self, file: File) -> None:
        disk = self.sending.disks[file.disk_id]
        if disk.id in self.sending.away:
            return
        source, fence = disk.place(file.path), self.this.leases.held[file.resource].fence
        if file.twin_id is not None:
            first = self.firsts.get(file.twin_id)
            if first is None:
                files.take_over(self.this, file)
            elif first.checksum is None or first.state == FOUND:
                wait = timedelta(seconds=self.this.settings.daq.retry_seconds)
                files.put_off(self.this, file, clock.now() + wait, f"it waits for {first.shown} of another disk")
            else:
                self.crew.begin(file.id, partial(copying.compare, file, source, first.checksum))
            return
        destination = self.sending.destination(file)
        job = partial(copying.copy, file, source, destination, self.sending.store, fence)
        self.crew.begin(file.id, partial(self._unless_in_vain, file, job))

    def _unless_in_vain(self, file: File, job: Callable[[Pulse], Outcome], pulse: Pulse) -> Outcome:
        """In a thread: trouble that came up after it was begun makes it needless."""
        if self.sending.site_trouble is not None or file.disk_id in self.sending.away:
            return Outcome(file, "left")
        return job(pulse)

    def _take(self, ended: tuple[int, Outcome | BaseException] | None) -> None:
        if ended is None:
            self._look_for_the_silent()
            return
        result = ended[1]
        if isinstance(result, BaseException):
            raise result
        self.since = self.since or time.monotonic()
        if result.problem is not None and result.problem.wide:
            self._trouble(result)
        elif result.how != "left":
            self.group.append(result)
            self.size += result.file.size

    def _trouble(self, one: Outcome) -> None:
        """Nothing of this disk, or nothing at all, can be copied now; no attempt is counted."""
        assert one.problem is not None
        if one.at_disk:
            self.sending.away[one.file.disk_id] = one.problem.reason
        else:
            self._site(one.problem)

    def _is_full(self) -> bool:
        late = bool(self.since) and time.monotonic() - self.since > GROUP_SECONDS
        return len(self.group) >= self.most or self.size >= GROUP_BYTES or late

    def _look_for_the_silent(self) -> None:
        seconds = self.this.settings.daq.disk_seconds
        for number, age, reads in self.crew.silent(seconds):
            disk = self.sending.disks[self.files[number].disk_id]
            trouble = self.sending.away.get(disk.id) or look_at(disk.path, seconds).trouble
            hangs = age > HANGS * seconds and self.sending.store.scheme == "file"  # other clients end by themselves
            if not (trouble or hangs) or not self.crew.give_up(number):
                continue
            why = f"{self.files[number].shown}: no byte moved for {age:.0f} s"
            if trouble or reads:
                self.sending.away[disk.id] = trouble or f"it gives nothing of {why}"
            else:
                self.sending.site_trouble = StorageError("timeout", why)

    # ---- a group

    def _settle(self) -> None:
        group, self.group, self.size, self.since = self.group, [], 0, 0.0
        try:
            copied = [one for one in group if one.how in COPIES]
            self._keep(copied)
            for one in group:
                if one.how not in COPIES:
                    self._other(one)
        except BaseException:
            for one in group:
                one.discard()
            raise

    def _keep(self, copied: list[Outcome]) -> None:
        """Copied -> names -> AtSite."""
        staged = [one for one in copied if one.staged]
        try:
            grouped.sync([one.staged for one in staged if one.staged])
        except StorageError as problem:
            self._site(problem)
            for one in staged:
                one.discard()
            copied = [one for one in copied if not one.staged]
        sums = {one.file.id: one.copied.checksum for one in copied if one.copied}
        moves = [
            Move(one.file.id, FOUND, COPIED, size=one.file.size, values=(("checksum", sums[one.file.id]), ("reason", None)))
            for one in copied
        ]
        booked = files.advance(self.this, moves, [one.file for one in copied])
        for one in copied:
            if one.file.id not in booked:
                one.discard()
        now = {n: replace(self.files[n], state=COPIED, checksum=sums[n]) for n in booked}
        copied = self._named([one for one in copied if one.file.id in booked], now)
        trusted = {one.file.id for one in copied if one.how in ("staged", "there")}  # read back already
        trouble = prove(self.this, self.sending.store, [now[one.file.id] for one in copied], trusted, wrote=True)
        if trouble is not None:
            self._site(trouble)

    def _named(self, copied: list[Outcome], now: dict[int, File]) -> list[Outcome]:
        staged = [one for one in copied if one.staged]
        try:
            errors = grouped.publish([one.staged for one in staged if one.staged])
        except StorageError as problem:  # the names may not be durable: the next pass asks the storage
            self._site(problem)
            return [one for one in copied if not one.staged]
        for place, error in errors.items():
            file = now[staged[place].file.id]
            if error.cls == "occupied":  # another program was quicker: the next attempt compares
                files.again(self.this, [file], "something stands at its destination: it is compared")
            else:
                self._site(error)
                files.again(self.this, [file], error.reason)
        lost = {id(staged[place]) for place in errors}
        return [one for one in copied if id(one) not in lost]

    def _site(self, problem: StorageError) -> None:
        if self.sending.site_trouble is None:
            self.sending.site_trouble = problem

    # ---- those that were not copied

    def _other(self, one: Outcome) -> None:
        disk = self.sending.disks[one.file.disk_id]
        if one.how == "gone" and not disk.is_there(self.this.settings.daq.disk_seconds):
            self.sending.away[disk.id] = "another directory stands at its place: it is not mounted any more"
            return
        outcomes.book(self.this, one, self.firsts.get(one.file.twin_id or 0))


def left_in_copied(this: Pass, disks: Sequence[Disk], store: Store) -> StorageError | None:
    """What a killed pass left in Copied: the storage is asked. Gives the site's trouble, if it is in trouble."""
    for disk in disks:
        with this.ledger.read() as connection:
            found = files.read(connection, files.on_disk(disk.id, (COPIED,)))
        for first in range(0, len(found), BATCH):  # few: what was under way
            if not this.goes(new=False):
                return None
            with files.claimed(this, found[first : first + BATCH]) as ours:
                if (problem := prove(this, store, ours, set(), wrote=False)) is not None:
                    return problem
    return None
