"""What the person sees: a bar and counts on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class Display:
    """Says lines; on a terminal a bar below them shows how many names have come to their end."""

    def __init__(self, *, quiet: bool = False, err: bool = False) -> None:
        self.quiet = quiet
        self._stream = sys.stderr if err else sys.stdout
        self._begun = time.monotonic()
        self._console: Console | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        if self._stream.isatty() and not quiet:
            from rich.console import Console

            self._console = Console(file=self._stream, highlight=False, soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        """One line, with the seconds since the begin."""
        if self.quiet:
            return
        line = f"{time.monotonic() - self._begun:6.1f} s  {text}"
        if self._console:
            self._console.print(line, style=style or None, markup=False)
        else:
            print(line, file=self._stream, flush=True)

    def head(self, text: str) -> None:
        """A heading."""
        if self._console:
            self._console.print(f"\n{text}", style="bold", markup=False)
        elif not self.quiet:
            print(f"\n{text}", file=self._stream, flush=True)

    def bar(self, what: str, total: int) -> None:
        """Begins a bar."""
        if not self._console:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.end_bar()
        columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        columns += (TextColumn("{task.fields[note]}", style="dim"),)
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._task = self._progress.add_task(what, total=total, note="")
        self._progress.start()

    def at(self, done: int, note: str = "") -> None:
        """Moves the bar."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, completed=done, note=note)

    def end_bar(self) -> None:
        """Takes the bar away."""
        if self._progress:
            self._progress.stop()
            self._progress = None

    def plain(self, text: str) -> None:
        """A line to be copied: nothing before it."""
        if self._console:
            self._console.print(text, markup=False)
        elif not self.quiet:
            print(text, file=self._stream, flush=True)
