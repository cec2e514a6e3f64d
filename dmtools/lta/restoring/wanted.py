"""What a person wants back -> which files of which bundles, by the tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dmtools import names
from dmtools.command import Refused
from dmtools.control.passes import Pass
from dmtools.lta import pages, typed
from dmtools.lta.api import Books, answer
from dmtools.lta.api.bundles import Bundle, GetBundle, ListBundles
from dmtools.lta.api.files import File, FindFiles
from dmtools.lta.restoring.bundlezip import is_below
from dmtools.lta.states import DEAD, PROVED, QUARANTINED


@dataclass
class Wanted:
    """A bundle, and which of its files are wanted: LFN -> what the tables say of it, None when they say nothing.

    `everything`: all that is in it. `others`: bundles of the same content at other sites, should this one not come.
    """

    bundle: Bundle
    everything: bool = False
    files: dict[str, File | None] = field(default_factory=dict)
    others: list[Bundle] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """Its name for people."""
        return names.shown(self.bundle.ideal)


def spellings(name: str) -> tuple[str, ...]:
    """What a typed name of a bundle or a file may be in the tables. Raises Refused for what is none."""
    if not is_below(os.fsencode(name)):
        raise Refused(f"{name!r} is no name of a bundle or a file; it begins with / and has no '.', '..' or '//' in it")
    return typed.spellings(name)


def by_books(this: Pass, books: Books, asked: Sequence[str], inside: str | None) -> list[Wanted]:
    """The bundles that hold these, each once; a name that is unknown is told. Raises Refused."""
    found: dict[int, Wanted] = {}
    if inside is not None:
        bundle = _bundle(this, books, inside)
        if bundle is not None:
            one = found.setdefault(bundle.bundle.id, bundle)
            one.everything = not asked
            one.files = dict.fromkeys(spellings(name)[0] for name in asked)
        return list(found.values())
    for name in asked:
        for bundles, file in _named(books, name):
            best, *others = ranked(bundles)
            one = found.setdefault(best.id, Wanted(best, others=others))
            if file is None:
                one.everything = True
            else:
                one.files[file.name] = file
            break
        else:
            _tell_unknown(this, name)
    return list(found.values())


def _named(books: Books, name: str) -> Iterator[tuple[list[Bundle], File | None]]:
    """What may be meant, the likeliest first: a bundle, or a file and the bundles that have it."""
    for spelt in spellings(name):
        if found := alive(pages.bundles(books, ListBundles(name=spelt))):
            yield found, None
        files = {file.bundle_id: file for file in pages.files(books, FindFiles(name=spelt))}
        if found := alive(answer(books, GetBundle(id=number), Bundle) for number in files):
            yield found, files[ranked(found)[0].id]


def _bundle(this: Pass, books: Books, name: str) -> Wanted | None:
    for spelt in spellings(name):
        if found := alive(pages.bundles(books, ListBundles(name=spelt))):
            best, *others = ranked(found)
            return Wanted(best, others=others)
    _tell_unknown(this, name)
    return None


def alive(bundles: Iterable[Bundle]) -> list[Bundle]:
    """Those that nobody gave up."""
    return [one for one in bundles if one.state not in DEAD]


def ranked(bundles: Sequence[Bundle]) -> list[Bundle]:
    """Those first whose copy on tape is proved; a quarantined one last."""
    return sorted(bundles, key=lambda one: (one.state not in PROVED, one.state == QUARANTINED, one.id))


def _tell_unknown(this: Pass, name: str) -> None:
    step = "look for the right name with: lta-dirinfo --files PART; of a bundle that lta-glue did not make: --in BUNDLE NAME"
    why = "no bundle has this name, and no bundle is known to hold such a file"
    this.problem("unknown name", name, why=why, left="nothing of it was written", next=step)
