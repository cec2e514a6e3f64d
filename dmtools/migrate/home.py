"""migrate's part of a HOME: its id, its folders, its rules."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.spool.folders import Folders, home_id

if TYPE_CHECKING:
    from dmtools.migrate.rules import Rules


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

    @classmethod
    def of(cls, this: Pass) -> Home:
        """The HOME of this pass; its id is made when it is new."""
        path = this.home / "run" / "home-id"
        if path.exists():
            return cls(this, path.read_text("ascii").strip())
        if this.dry_run:
            return cls(this, "")
        with this.ledger.read() as connection:
            known = list(connection.execute(select(tables.filelist.c.home).distinct()).scalars())
        return cls(this, home_id(this.home, known if this.ledger.sqlite else ()))
