"""What a person may tell lta-glue: expected numbers, the catalogue, what becomes of a directory."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Sequence
from pathlib import Path

from dmtools import names
from dmtools.command import Refused
from dmtools.control.passes import Pass
from dmtools.lta import warehouse
from dmtools.lta.api import Books, Conflict, Done, Problem, answer
from dmtools.lta.api.directories import (
    Directories,
    Directory,
    Expect,
    ListDirectories,
    LoadCatalogue,
    NewExpected,
    SetDirectory,
    Verdict,
)  # fmt: skip
from dmtools.lta.glue import texts
from dmtools.lta.home import id_of
from dmtools.lta.office import books_of
from dmtools.lta.refusals import advice
from dmtools.lta.states import PROBLEM, UNCLAIMED
from dmtools.storage.answers import StorageError


def expect(this: Pass, file: Path) -> None:
    """Takes the expected numbers of a file, and looks at once which of its directories are full. Raises Refused."""
    books, taken = books_of(this), 0
    names_of: list[str] = []
    try:
        with texts.opened(file) as lines:
            parts = list(texts.expected(lines))  # all of it is understood, or nothing is taken
    except (texts.BadLine, OSError) as problem:
        raise Refused(f"{file}: {_why(problem)}; nothing of it was taken; mend it and run this again") from None
    for part in parts:
        if not this.dry_run:
            taken += _take(books, file, part, taken)
        names_of += [one.ideal for one in part]
    this.plan(f"{file}: {'would take ' if this.dry_run else ''}expected numbers of {len(names_of)} directories")
    if not this.dry_run:
        _look(this, books, names_of)


def _take(books: Books, file: Path, part: Sequence[NewExpected], before: int) -> int:
    try:
        return answer(books, Expect(expected=tuple(_last_word(part))), Done).done
    except Conflict as problem:
        raise Refused(f"{file}: {problem}; {before} lines before were taken and stay; mend it and run this again") from None


def _last_word(part: Sequence[NewExpected]) -> Iterable[NewExpected]:
    return {one.ideal: one for one in part}.values()


def _look(this: Pass, books: Books, ideals: Sequence[str]) -> None:
    root, stall = warehouse.root(this.settings), this.settings.lta.disk_seconds
    for ideal in dict.fromkeys(ideals):
        try:
            for verdict in warehouse.register(books, id_of(this), root, [ideal], stall):
                tell_verdict(this, verdict)
        except StorageError as problem:
            left = "whether it is full is not known: it is not full"
            this.problem(
                "can't be counted", names.shown(ideal), why=problem.reason, left=left, next="mend it, and run this again"
            )


def tell_verdict(this: Pass, verdict: Verdict) -> None:
    """Says what was found of a directory that somebody expects."""
    shown = names.shown(verdict.ideal)
    if verdict.state == PROBLEM:
        why = f"{verdict.expected} files are expected, and it held more, or one was not as it must be: dm-trace {shown} says what"
        left = "it is not bundled; its files stay as they are"
        this.problem(
            "directory has a problem", shown, why=why, left=left, next=f"mend it, then: lta-glue --take-up {shown}", failed=False
        )
    elif verdict.state == UNCLAIMED:
        this.log(f"{shown} is full: {verdict.expected} files")


def load(this: Pass, file: Path) -> None:
    """Adds a file to the catalogue, in hundreds. Raises Refused; what was added before stays."""
    books, new, seen = books_of(this), 0, 0
    try:
        with texts.opened(file) as lines:
            for part in texts.catalogue(lines):
                if not this.dry_run:
                    new += answer(books, LoadCatalogue(files=tuple(part)), Done).done
                seen += len(part)
    except (texts.BadLine, Conflict, OSError) as problem:
        left = f"{new} files before it were added and stay"
        raise Refused(f"{file}: {_why(problem)}; {left}; mend it and run this again: the same once more is no harm") from None
    this.plan(f"{file}: {seen} files, {'nothing was added' if this.dry_run else f'{new} of them new in the catalogue'}")


def set_states(this: Pass, named: Sequence[str], to: str) -> None:
    """A person's word on directories: unclaimed, deprecated, neverdelete or LTArequest. Raises Refused."""
    books = books_of(this)
    chosen = [_named(books, text) for text in named]
    for one in chosen:
        shown = names.shown(one.ideal)
        if this.dry_run:
            this.plan(f"would set {shown} from {one.state} to {to}")
            continue
        try:
            answer(books, SetDirectory(id=one.id, to=to, why=f"by hand: {getpass.getuser()}"), Directory)
        except Problem as problem:
            step = advice(problem, "see docs/lta.md for what may follow")
            this.problem("refused", shown, why=str(problem), left=f"it is {one.state}", next=step)
            continue
        this.moved(one.state, to)
        this.plan(f"{shown}: {one.state} -> {to}")


def _named(books: Books, text: str) -> Directory:
    for name in names.spellings(text.rstrip("/") or text):
        if found := answer(books, ListDirectories(name=name), Directories).directories:
            return found[0]
    raise Refused(f"no full directory is called {text}; lta-dirinfo shows their names; nothing was changed")


def _why(problem: Exception) -> str:
    return (problem.strerror or str(problem)) if isinstance(problem, OSError) else str(problem)
