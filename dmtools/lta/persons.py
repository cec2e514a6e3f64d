"""What a person says about bundles at the terminal: out of quarantine, sent anew, given up; and which ones are meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmtools import names
from dmtools.command import Refused
from dmtools.control.passes import Pass
from dmtools.lta.api import Books, Problem, Unknown, answer
from dmtools.lta.api.bundles import Bundle, Bundles, GetBundle, ListBundles, Reset, Set
from dmtools.lta.office import books_of
from dmtools.lta.refusals import advice
from dmtools.lta.states import ABORT, RETRY
from dmtools.lta.typed import spellings


def order(this: Pass, what: str, wanted: Sequence[str], reason: str) -> None:
    """`reset`, `retry` or `abort` for the named bundles. Raises Refused for names that mean none, or without a reason."""
    if not reason:
        raise Refused(f"--{what} wants to know why, for the journal: --reason TEXT")
    books = books_of(this)
    for one in [bundle for text in wanted for bundle in meant(this, books, text)]:
        if this.dry_run:
            this.plan(f"would {what} {names.shown(one.ideal)} ({one.id}, {one.state})")
            continue
        try:
            now = answer(books, _ask(what, one, reason), Bundle)
        except Problem as problem:
            left, step = f"it stays {one.state}", advice(problem, "lta-dirinfo and dm-trace say how it stands")
            this.problem("refused", names.shown(one.ideal), why=str(problem), left=left, next=step)
            continue
        this.moved(one.state, now.state)
        this.context.say(f"{names.shown(one.ideal)}: {one.state} -> {now.state}")


def _ask(what: str, one: Bundle, reason: str) -> Reset | Set:
    if what == "reset":
        return Reset(id=one.id, why=reason)
    return Set(id=one.id, to=ABORT if what == "abort" else RETRY, why=reason)


def meant(this: Pass, books: Books, text: str) -> Iterator[Bundle]:
    """The live bundles that a person names by id or name, of all destinations. Raises Refused when there is none."""
    if text.isascii() and text.isdecimal():
        try:
            yield answer(books, GetBundle(id=int(text)), Bundle)
        except Unknown:
            raise Refused(f"there is no bundle {text}") from None
        return
    found: list[Bundle] = []
    for name in spellings(text):
        found += answer(books, ListBundles(name=name if name.startswith("/") else f"/{name}"), Bundles).bundles
    live = [one for one in found if one.state != ABORT]
    if not live:
        raise Refused(f"there is no bundle {text!r}; lta-dirinfo {text!r} looks for a part of a name")
    yield from live
