"""dm-monitoring --watch: drawn again and again on a terminal, until Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import command, environment, run, wait_until

HOME_OF_CURSOR = "\x1b[H"
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A command on a terminal of its own; `shown` is all that it drew."""

    def __init__(self, home: Path, columns: int, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        env = environment(home, {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"})
        self.process = subprocess.Popen(command(*words), env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.raw = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._ours, 65536)
            except OSError:
                return  # the other end is closed
            self.raw += part.decode("utf-8", "replace")

    @property
    def shown(self) -> str:
        return CONTROLS.sub("", self.raw.replace(HOME_OF_CURSOR, "\n"))

    def close(self) -> int:
        code = self.process.wait(60)
        self._reader.join()
        os.close(self._ours)
        return code


@pytest.fixture
def watching(home: Path) -> Callable[..., object]:
    @contextmanager
    def start(columns: int = 100) -> Iterator[Terminal]:
        terminal = Terminal(home, columns, "dm-monitoring", "--watch")
        try:
            wait_until(lambda: "Ctrl-C ends" in terminal.shown, 60, "it draws")
            yield terminal
        finally:
            terminal.process.send_signal(signal.SIGINT)
            terminal.code = terminal.close()

    return start


def test_it_draws_what_changes_and_ends_by_ctrl_c_with_the_terminal_as_it_was(home: Path, watching: Callable[..., Any]) -> None:
    with watching() as terminal:
        assert "new disks" not in terminal.shown
        run("dm-command", "halt", "migrate", "--reason", "new disks", home=home).ok()
        wait_until(lambda: "new disks" in terminal.shown, 60, "the halt is drawn")
    assert terminal.code == 130
    assert "Traceback" not in terminal.shown
    assert terminal.raw.rstrip().endswith("\x1b[?25h") or "\x1b[?1049l" in terminal.raw


def test_without_a_database_the_last_figures_stay_and_it_says_since_when(home: Path, watching: Callable[..., Any]) -> None:
    with watching() as terminal:
        (home / "dmtools.db").rename(home / "away.db")
        wait_until(lambda: "these figures are of" in terminal.shown, 60, "the trouble is drawn")
        assert "no database" in terminal.shown.partition("these figures are of")[2]
        drawn = terminal.shown.count("every 3 s")
        (home / "away.db").rename(home / "dmtools.db")
        wait_until(lambda: "these figures" not in last(terminal, drawn), 60, "it is well again")
    assert terminal.code == 130


def last(terminal: Terminal, drawn: int) -> str:
    """The newest picture, once there are more than these."""
    pictures = terminal.shown.split("every 3 s")
    return pictures[-1] if len(pictures) - 1 > drawn else "these figures"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_it_fits_the_terminal(watching: Callable[..., Any], columns: int) -> None:
    with watching(columns) as terminal:
        wait_until(lambda: "duplicate transfers: 0" in terminal.shown, 60, "the whole page")
    assert max(len(line.rstrip()) for line in terminal.shown.splitlines()) <= columns


@pytest.mark.parametrize("words", [(), ("--json",), ("-q",)])
def test_it_refuses_where_it_cannot_draw(home: Path, words: tuple[str, ...]) -> None:
    found = run("dm-monitoring", "--watch", *words, home=home).gave(2)
    assert "--watch draws on a terminal" in found.err + found.out
