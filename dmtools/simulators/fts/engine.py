"""Runs the copies: a scheduler thread hands waiting files to copying threads, link by link, and turns the timers."""

from __future__ import annotations

import errno
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from dmtools.simulators.fts import changes, timers
from dmtools.simulators.fts.copying import Canceled, Control, Copier, Stopping, TransferError, recoverable
from dmtools.simulators.fts.model import Task, now_text
from dmtools.simulators.fts.store import Store

_THREADS = 400
_TICK = 0.1
_GATHER = 0.004  # between two rounds, so that one transaction claims for many copies that ended
_IDLE = 5.0


class Engine:
    """At most `running` copies at once and `link_limit` between two storages; a stalled copy counts only for its link."""

    def __init__(
        self, store: Store, copier: Copier, pace: changes.Pace, *, running: int = 8, link_limit: int = 60, cancel_delay: float = 0
    ) -> None:
        self.store = store
        self.copier = copier
        self.pace = pace
        self._room = running
        self._link_limit = link_limit
        self._cancel_delay = cancel_delay
        self._links: Counter[str] = Counter()
        self._controls: dict[int, Control] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="copy")
        self._thread = threading.Thread(target=self._schedule, name="schedule", daemon=True)

    def start(self) -> None:
        """Clears what a kill left and begins to copy."""
        self._recover()
        self._thread.start()

    def stop(self, seconds: float = 5) -> None:
        """Ends the running copies, hands them back and waits for that, no longer than `seconds`."""
        self._stopping.set()
        self._wake.set()
        end = time.monotonic() + seconds
        self._thread.join(seconds)
        with self._lock:
            controls = list(self._controls.values())
        for control in controls:
            control.wake()
        self._pool.shutdown(wait=False, cancel_futures=True)
        while self._controls and time.monotonic() < end:
            time.sleep(0.005)

    def wake(self) -> None:
        """There is new work."""
        self._wake.set()

    def cancel(self, file_ids: list[int]) -> None:
        """These files were canceled: their copies, if they run, are to end."""
        with self._lock:
            controls = [self._controls[file_id] for file_id in file_ids if file_id in self._controls]
        for control in controls:
            control.cancel()
        self._wake.set()

    def _recover(self) -> None:
        """A copy that was cut off left a partial file: it goes, if it is still the one that the copy opened."""
        for row in changes.interrupted(self.store):
            with suppress(OSError, TransferError):
                place = self.copier.place(row["destination"], "DESTINATION")
                if row["identity"] is not None:
                    place.remove(row["destination"], row["identity"])
                elif place is self.copier.directory and place.size(row["destination"]) == 0:
                    place.remove(row["destination"])
        changes.recovered(self.store)

    def _schedule(self) -> None:
        ticked = 0.0
        while not self._stopping.is_set():
            self._wake.clear()
            pause = 1.0
            try:
                if time.monotonic() - ticked >= _TICK:
                    timers.turn(self.store, self.pace)
                    ticked = time.monotonic()
                self._hand_out()
                pause = _TICK if changes.live(self.store) else _IDLE
            except Exception as problem:  # noqa: BLE001 - the server must go on: a full disk passes
                print(
                    f"dm-sim: {now_text()} the scheduler could not go on and tries again: {problem}", file=sys.stderr, flush=True
                )
            self._wake.wait(pause)
            self._stopping.wait(_GATHER)

    def _hand_out(self) -> None:
        with self._lock:
            room, busy = self._room, dict(self._links)
        if room <= 0 or not changes.waiting(self.store):
            return
        for task in changes.claim(self.store, room, busy, self._link_limit, self.pace):
            with self._lock:
                self._room -= 1
                self._links[task.link] += 1
            self._pool.submit(self._copy, task)

    def _copy(self, task: Task) -> None:
        control = Control(task.timeout, self._stopping, self._cancel_delay)
        with self._lock:
            self._controls[task.file_id] = control
        try:
            if not self._stopping.is_set() and changes.started(self.store, task):
                self._transfer(task, control)
        except Exception as problem:  # noqa: BLE001 - no tables: the file is begun again after a restart
            print(f"dm-sim: {now_text()} file {task.file_id} was left as it was: {problem!r}", file=sys.stderr, flush=True)
        finally:
            with self._lock:
                self._room += 1
                self._links[task.link] -= 1
                del self._controls[task.file_id]
            self._wake.set()

    def _transfer(self, task: Task, control: Control) -> None:
        began = time.monotonic()

        def opened(identity: str) -> None:
            changes.opened(self.store, task, identity)

        try:
            size = self.copier.run(task, control, self._parked, opened)
        except TransferError as problem:
            changes.failed(self.store, task, problem.reason, recoverable(problem.reason), problem.report)
        except Canceled:
            changes.failed(self.store, task, "CANCELED", recoverable=False)
        except Stopping:
            changes.handed_back(self.store, task)
        except (OSError, ValueError) as problem:
            reason = f"GENERAL_FAILURE [{getattr(problem, 'errno', None) or 5}] {problem}"
            changes.failed(self.store, task, reason, recoverable=True)
        else:
            changes.finished(self.store, task, size, time.monotonic() - began, self.pace)

    @contextmanager
    def _parked(self) -> Iterator[None]:
        """A stalled copy makes room for another."""
        with self._lock:
            self._room += 1
        self._wake.set()
        try:
            yield
        finally:
            with self._lock:
                self._room -= 1


def at_once(copier: Copier, overwrite: str | None) -> Callable[[list[dict[str, Any]]], None]:
    """For `--instant`: a function that links each file of a submission to its destination and settles its row."""
    known: dict[bytes, bytes] = {}

    def settle(files: list[dict[str, Any]]) -> None:
        now = now_text()
        for row in files:
            row |= {
                "start_time": now,
                "finish_time": now,
                "opened": False,
                "tx_duration": 0.0,
                "throughput": 0.0,
                "filesize": None,
            }
            try:
                _link(copier, row, overwrite, known)
            except TransferError as problem:
                row |= {"file_state": "FAILED", "reason": problem.reason, "recoverable": int(recoverable(problem.reason))}
            else:
                row |= {"file_state": "FINISHED", "reason": "", "recoverable": 0, "dest_surl_uuid": None}

    return settle


def _link(copier: Copier, row: dict[str, Any], overwrite: str | None, known: dict[bytes, bytes]) -> None:
    source, destination, directory = row["source_surl"], row["dest_surl"], copier.directory
    if copier.place(source, "SOURCE") is not directory or copier.place(destination, "DESTINATION") is not directory:
        raise TransferError("GENERAL_FAILURE", errno.EPROTONOSUPPORT, "Protocol not supported, --instant knows file:// only")
    scope = "SOURCE"
    try:
        path, found = directory.look(source, known)
        row["filesize"] = found.st_size
        scope = "DESTINATION"
        row["opened"] = directory.link(path, found, destination, known, overwrite == "Y")
    except FileExistsError:
        raise TransferError(scope, errno.EEXIST, "Destination file exists and overwrite is not enabled") from None
    except OSError as problem:
        raise TransferError(scope, problem.errno or errno.EIO, problem.strerror or str(problem)) from None
