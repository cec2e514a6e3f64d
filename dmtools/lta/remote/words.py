"""Run, halt and drain at the remote site: the source's word, this HOME's own, and that of a file; halt beats drain beats run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dmtools.command.run import Unavailable
from dmtools.lta.remote.settings import Remote
from dmtools.storage import deadline

RANK = {"run": 0, "drain": 1, "halt": 2}
FILE = "run/lta-nersc-client.word"  # for where there is no dm-command: echo halt > HOME/run/lta-nersc-client.word
ASK_SECONDS = 60.0


def strongest(*words: str) -> str:
    """The word in force. One that isn't known is taken for halt."""
    return max(words, key=lambda word: RANK.get(word, RANK["halt"]))


def own(settings: Remote) -> tuple[str, str]:
    """(this HOME's word, where it stands). Raises Unavailable when it can't be told: then nothing may begin."""
    word, where = _of_file(settings.home / FILE)
    if (settings.home / "dmtools.db").exists() and not settings.own_server:
        said = _of_tables(settings.home)
        if said is not None and strongest(said, word) != word:
            return said, "dm-command of this HOME"
    return word, where


def _of_file(path: Path) -> tuple[str, str]:
    try:
        word = path.read_text("utf-8", "replace").strip().lower()
    except FileNotFoundError:
        return "run", ""
    except OSError as problem:
        raise _unknown(str(path), problem.strerror or str(problem)) from None
    if word not in RANK:
        raise _unknown(str(path), f"it holds {word[:40]!r}, which is none of run, drain and halt")
    return word, str(path)


def _of_tables(home: Path) -> str | None:
    """By dm-command beside this command; None: there is none, as with the one file to carry."""
    command = Path(sys.argv[0]).resolve().with_name("dm-command")
    if not command.is_file():
        return None
    try:
        done = deadline.run([sys.executable, str(command), "--json", "--home", str(home)], ASK_SECONDS)
        word = json.loads(done.out)["pipelines"]["lta"]["components"]["nersc-client"]
    except (OSError, ValueError, KeyError, TypeError):
        word = None
    if word not in RANK:
        raise _unknown("dm-command", "it gave no answer that is understood; try: dm-command --json")
    return str(word)


def _unknown(subject: str, why: str) -> Unavailable:
    return Unavailable("control word unknown", subject, why, "mend it: while a halt can't be excluded nothing begins")
