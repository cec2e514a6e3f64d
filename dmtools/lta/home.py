"""lta's part of a HOME: its id, and the queue of the transfer engine."""

from __future__ import annotations

from dataclasses import dataclass

from dmtools.control.passes import Pass
from dmtools.spool import folders
from dmtools.spool.folders import Folders


@dataclass(frozen=True)
class Home:
    """HOME/lta."""

    id: str
    folders: Folders

    @classmethod
    def of(cls, this: Pass) -> Home:
        """The HOME of this pass; the directories that aren't there are made, but not by a dry run."""
        found = cls(id_of(this), Folders(this.home, "lta"))
        if not this.dry_run:
            found.folders.make()
        return found


def id_of(this: Pass) -> str:
    """The id of the pass's HOME; it is made when it is new, but not by a dry run: then it is empty."""
    return folders.id_for(this.home, dry_run=this.dry_run)
