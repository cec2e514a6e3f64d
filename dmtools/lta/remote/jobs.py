"""The tape jobs of this HOME: a directory each below HOME/lta/tape-jobs, named by its key, and the batch room they run in.

Order: the claim -> job.json, durable -> the server is told the key -> the batch system -> `submitted`. A kill in between leaves a
key that the batch system doesn't know: it goes there again, and the room runs no key twice.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dmtools.batch import Job, Room, Status, room_for
from dmtools.lta.remote import jobfile
from dmtools.lta.remote.jobfile import FAILED, JOB, RESULT, Outcome, TapeJob
from dmtools.lta.remote.settings import Remote

SUBMITTED, HELD = "submitted", "held"
HELD_SECONDS = 3600.0
STALE_SECONDS = 3600.0
OVER = ("done", "failed", "gone")


@dataclass(frozen=True)
class Stand:
    """How a job stands: its outcome when it is over, else what the batch system says of it."""

    outcome: Outcome | None = None
    status: Status | None = None
    unread: str = ""  # why its result can't be read now
    booked: bool = False  # by another pass, just now

    @property
    def is_open(self) -> bool:
        """It goes on."""
        return self.outcome is None and not self.booked

    @property
    def is_held(self) -> bool:
        """It won't run by itself."""
        return self.outcome is None and self.status is not None and self.status.how == "held"


class Jobs:
    """The jobs of a HOME, of which `id` is the id. Raises BatchAway where the room does."""

    def __init__(self, settings: Remote, home_id: str) -> None:
        self.settings = settings
        self.id = home_id
        self.place = settings.home / "lta" / "tape-jobs"
        self.room: Room = room_for(cast("Any", settings), settings.batch)

    def key(self, what: str, number: int, fence: int) -> str:
        """The key of an attempt: of this HOME, this bundle (b) or errand (e), and this claim."""
        return f"lta-{self.id[:12]}-{what[0]}{number}-{fence}"

    def has(self, key: str | None) -> bool:
        """Is it a job of this HOME, with its directory?"""
        return key is not None and key.startswith(f"lta-{self.id[:12]}-") and (self.place / key / JOB).is_file()

    def write(self, job: TapeJob) -> None:
        """Its directory with job.json, durable; what a killed pass wrote already is written again, alike."""
        place = self.place / job.key
        place.mkdir(parents=True, exist_ok=True, mode=0o750)
        jobfile.write(place / JOB, job)

    def submit(self, keys: Sequence[str]) -> dict[str, Status]:
        """To the batch system, which runs no key twice."""
        said = self.room.submit([self._job(key) for key in keys])
        for key in keys:
            if said[key].how != HELD or said[key].id:
                with contextlib.suppress(FileNotFoundError):  # another pass has booked its end already
                    (self.place / key / SUBMITTED).touch()
        return said

    def _job(self, key: str) -> Job:
        isolated = ["-I"] if sys.flags.isolated else []
        isolated += ["-S"] if sys.flags.no_site else []
        return Job(
            key=key,
            argv=(sys.executable, *isolated, str(Path(sys.argv[0]).resolve()), "--job", JOB),
            directory=self.place / key,
            inputs=(JOB,),
            outputs=(RESULT,),
            seconds=2 * self.settings.tape_seconds + 600,
            options=self.settings.batch_options,
        )

    def stands(self, keys: Sequence[str]) -> dict[str, Stand]:
        """How these stand. What the batch system never got is submitted now."""
        stands = self.room.statuses(keys) if keys else {}
        never = [key for key in keys if stands[key].how == "gone" and not self._traces(key)]
        if never:
            stands |= self.submit(never)
        return {key: self._stand(key, stands[key]) for key in keys}

    def _traces(self, key: str) -> bool:
        """Was it in the batch system once, or booked by another pass meanwhile?"""
        return not (self.place / key / JOB).exists() or any((self.place / key / name).exists() for name in (SUBMITTED, RESULT))

    def _stand(self, key: str, status: Status) -> Stand:
        if not (self.place / key / JOB).exists():
            return Stand(status=status, booked=True)
        try:
            found = jobfile.read_outcome(self.place / key / RESULT, key)
        except jobfile.BadFile as problem:
            if status.how not in OVER:
                return Stand(status=status)
            found = Outcome(key, FAILED, "job", str(problem))
        except OSError as problem:
            return Stand(status=status, unread=str(problem))
        if found is None and status.how in OVER:
            found = _without_result(key, status)
        if found is None and status.how == HELD and self._held_for(key) > HELD_SECONDS:
            self.room.cancel([key])
            found = Outcome(key, FAILED, "held", f"its job was held for more than an hour: {status.reason}")
        return Stand(found, status)

    def _held_for(self, key: str) -> float:
        mark = self.place / key / HELD
        if not mark.exists():
            mark.touch()
        return abs(time.time() - mark.stat().st_mtime)

    def forget(self, keys: Sequence[str]) -> None:
        """They were booked: what the room and this HOME keep of them goes."""
        if keys:
            self.room.forget(keys)
        for key in keys:
            shutil.rmtree(self.place / key, ignore_errors=True)

    def sweep(self, open_keys: Iterable[str]) -> list[str]:
        """Ends and forgets jobs that nobody waits for: their bundle was given up, or another HOME has it. Gives their keys."""
        kept = set(open_keys)
        rooms = self.settings.home / "run/batch" / self.settings.batch
        places = [place for above in (self.place, rooms) if above.is_dir() for place in above.glob(f"lta-{self.id[:12]}-*")]
        stale = sorted({place.name for place in places if place.name not in kept and _age(place) > STALE_SECONDS})
        if stale:
            self.room.cancel([key for key, status in self.room.statuses(stale).items() if status.how not in OVER])
            self.forget(stale)
        return stale


def _without_result(key: str, status: Status) -> Outcome:
    if status.how == "gone":
        why = "the batch system knows no such job any more, and it left no result"
        return Outcome(key, FAILED, "lost", why)
    how = f"exit code {status.exit_code}" if status.exit_code is not None else "by a signal or a limit"
    return Outcome(
        key, FAILED, "job", f"its tape job ended without a result ({how})" + (f": {status.reason}" if status.reason else "")
    )


def _age(place: Path) -> float:
    with contextlib.suppress(OSError):
        return abs(time.time() - place.stat().st_mtime)
    return 0.0
