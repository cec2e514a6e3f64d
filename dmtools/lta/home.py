"""lta's part of a HOME: its id, and the queue of the transfer engine."""

from __future__ import annotations

from dataclasses import dataclass

from dmtools.control.passes import Pass
from dmtools.spool import folders as at
from dmtools.spool.folders import Folders, home_id


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
            for name in at.ALL:
                (found.folders.root / name).mkdir(parents=True, exist_ok=True, mode=0o750)
        return found


def known_id(this: Pass) -> str:
    """The id of the pass's HOME; empty when it has none yet. Nothing is written."""
    try:
        return (this.home / "run" / "home-id").read_text().strip()
    except FileNotFoundError:
        return ""


def id_of(this: Pass) -> str:
    """The id of the pass's HOME; it is made when it is new, but not by a dry run: then it is empty."""
    path = this.home / "run" / "home-id"
    return "" if this.dry_run and not path.exists() else home_id(this.home)
