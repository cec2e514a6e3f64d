"""The words that bind a pass: those of its own HOME and, when its tables are elsewhere, those of the server."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from dmtools.command.run import Unavailable
from dmtools.control.passes import Pass
from dmtools.lta.api import Books, answer
from dmtools.lta.api.sites import Control, Word

ASK_SECONDS = 30.0  # a word that is so old is asked for again: a pass may go on for hours


@dataclass
class Gate:
    """Run, halt or drain; halt beats drain beats run, whoever said it."""

    this: Pass
    books: Books
    _word: str = "run"
    _asked: float | None = field(default=None)

    def goes(self, *, new: bool = True) -> bool:
        """May the next unit of work begin, by the words here and at the server? As `Pass.goes`. Raises Unavailable."""
        if not self.this.goes(new=new):
            return False
        word = self._at_server()
        if word == "run":
            return True
        self.this.report.state = "halted" if word == "halt" else "draining"
        return word == "drain" and not new

    def _at_server(self) -> str:
        """A server that is away for a while has changed nothing: its last word holds."""
        if not self.this.settings.lta.url:
            return "run"
        now = time.monotonic()
        if self._asked is None or now - self._asked > ASK_SECONDS:
            try:
                self._word = answer(self.books, Control(component=self.this.report.component), Word).word
            except Unavailable:
                if self._asked is None:
                    raise
            self._asked = time.monotonic()
        return self._word
