"""migrate's part of a HOME: its id, its folders, its rules."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from dmtools import names
from dmtools.command import Unavailable
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.engine import sqlite_path
from dmtools.spool import folders as at
from dmtools.spool import listfile
from dmtools.spool.folders import Folders, home_id

if TYPE_CHECKING:
    from dmtools.migrate.rules import Rules
    from dmtools.transfers.road import Road

F = tables.filelist.c


class Home:
    """HOME/migrate."""

    def __init__(self, this: Pass, home: str) -> None:
        self.id = home
        self.folders = Folders(this.home, "migrate")
        self.masters: Path = self.folders.root / "TODO" / "ListOfLFNs"
        self._settings = this.settings

    @cached_property
    def rules(self) -> Rules:
        """[migrate] rules."""
        from dmtools.migrate.rules import Rules

        return Rules(self._settings)

    @cached_property
    def road(self) -> Road:
        """Migrate's lists in the transfer engine."""
        from dmtools.migrate.rewrite import CutLists
        from dmtools.migrate.states import STATES
        from dmtools.transfers.road import Road
        from dmtools.transfers.verdict import Patience

        wanted = self._settings.migrate
        return Road(
            home=self.id,
            folders=self.folders,
            states=STATES,
            rules=self.rules,
            patience=Patience(wanted.retry_seconds, wanted.max_attempts),
            max_open_jobs=wanted.max_open_jobs,
            check_source=wanted.check_source,
            retry="migrate-triage --class",
            abandon="migrate-cancel --abandon",
            by_hand=True,
            cut=CutLists(self),
        )

    @classmethod
    def of(cls, this: Pass) -> Home:
        """The HOME of this pass; its id is made when it is new. Raises Unavailable when its tables were lost."""
        path = this.home / "run" / "home-id"
        if path.exists():
            found = cls(this, path.read_text("ascii").strip())
        else:
            known = known_homes(this)
            found = cls(this, (known or [""])[0] if this.dry_run else home_id(this.home, known))
        found.refuse_lost_tables(this)
        return found

    def refuse_lost_tables(self, this: Pass) -> None:
        """New tables over old directories: each list would be moved a second time.

        The tables are looked at again behind the directories: a first pass beside us books its lists before it writes them.
        """
        if not self.is_known(this) and self.was_booked() and not self.is_known(this):
            why = f"{self.folders.root} holds lists that were booked; the database {this.ledger.shown} knows none of them"
            raise Unavailable("the tables were lost", str(this.home), why, "rebuild them with: dm-check --repair")

    def is_known(self, this: Pass) -> bool:
        """Do the tables have a list of this HOME?"""
        with this.ledger.read() as connection:
            query = select(F.id).where(F.pipeline == "migrate", F.home == self.id).limit(1)
            return connection.execute(query).first() is not None

    def was_booked(self) -> bool:
        """Does any list of the queue say that tables knew it?"""
        return any(
            "list" in notes and (folder != at.TODO or "attempt" in notes or self._has_master(notes.get("master", "")))
            for folder in (at.DOING, at.OKAY, at.BAD, at.MISSING, at.TODO)
            for name in self.folders.names(folder)
            if (notes := listfile.first_notes(self.folders.path(folder, name)))
        )

    def _has_master(self, name: str) -> bool:
        raw = names.decode(name).decode("utf-8", "surrogateescape")
        return bool(raw) and any((place / raw).is_file() for place in (self.masters, self.masters / "Done"))


def known_homes(this: Pass) -> list[str]:
    """The HOMEs whose lists are in this HOME's own database: one, when run/home-id was lost. Of a shared one: none."""
    if sqlite_path(this.settings) != this.home / "dmtools.db":
        return []
    with this.ledger.read() as connection:
        return list(connection.execute(select(F.home).where(F.pipeline == "migrate").distinct()).scalars())
