"""The road of a pipeline's lists through the engine: its queue, its states, its rules, its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dmtools.control.passes import Pass
from dmtools.ledger.journal import States
from dmtools.settings import Rule
from dmtools.spool.folders import Folders
from dmtools.spool.listfile import Pair
from dmtools.transfers.lists import ListRow
from dmtools.transfers.verdict import Patience


class Rules(Protocol):
    """Which rule a pair of URLs follows, and how people call it."""

    def lfn(self, pair: Pair) -> str:
        """The name under which people ask for the file."""

    def match_of(self, pair: Pair) -> str | None:
        """The `match` of its rule; None: it follows none."""

    def by_match(self, match: str | None) -> Rule | None:
        """The rule with this `match`."""

    def all(self) -> Sequence[Rule]:
        """Every rule."""


class Cut(Protocol):
    """Longer lists, from which lists are cut that have no rows for their files yet."""

    def write_again(self, this: Pass, origins: Sequence[int]) -> None:
        """Writes the lists that were cut from these and are not proved to be there."""

    def text(self, this: Pass, row: ListRow) -> bytes | None:
        """The text of one such list; None, and told, when what it was cut from is gone."""


@dataclass(frozen=True)
class Road:
    """`home`: the id of the HOME whose lists these are; `states`: of their files. `cut`: None where each file has a row.
    `by_hand`: a list file that a person puts into TODO is taken.

    `retry`: the command that takes up Bad files again, `abandon`: the one that frees what a dead server holds, as people
    type them; a class, or a server, follows. `retry` empty: the pipeline takes them up, and tells of them, by itself.
    """

    home: str
    folders: Folders
    states: States
    rules: Rules
    patience: Patience
    max_open_jobs: int
    check_source: bool
    retry: str
    abandon: str
    by_hand: bool = False
    cut: Cut | None = None

    @property
    def pipeline(self) -> str:
        """Whose lists these are."""
        return self.states.pipeline

    @property
    def any_name(self) -> bool:
        """May a URL hold a control character? Lists that no person writes name files that are there."""
        return not self.by_hand
