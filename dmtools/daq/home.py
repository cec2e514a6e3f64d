"""daq-archive's part of a HOME: its id, the queue of the transfer engine, the directories of its zip jobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dmtools.control.passes import Pass
from dmtools.spool import folders
from dmtools.spool.folders import Folders

JOB, RESULT = "job.json", "job.result.json"


@dataclass(frozen=True)
class Home:
    """HOME/daq."""

    id: str
    folders: Folders

    @property
    def jobs(self) -> Path:
        """A directory a job is in it, under the job's key."""
        return self.folders.root / "jobs"

    def job(self, key: str) -> Path:
        """The directory of one job."""
        return self.jobs / key

    @classmethod
    def of(cls, this: Pass) -> Home:
        """The HOME of this pass; the directories that aren't there are made, but not by a dry run."""
        found = cls(id_of(this), Folders(this.home, "daq"))
        if not this.dry_run:
            found.folders.make()
            found.jobs.mkdir(exist_ok=True, mode=0o750)
        return found


def id_of(this: Pass) -> str:
    """The id of the pass's HOME; it is made when it is new, but not by a dry run: then it is empty."""
    return folders.id_for(this.home, dry_run=this.dry_run)
