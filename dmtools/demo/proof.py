"""The end of the demo: both trees are walked and read anew, the books are read as they lie, the servers show their records."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from dmtools.demo import books, staged
from dmtools.demo.tree import Fact, Tree, look, walk


@dataclass
class Check:
    """One thing that must be so, and what speaks against it."""

    what: str
    against: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Is it so?"""
        return not self.against


def shown(lfn: bytes) -> str:
    """A name for people."""
    return repr(lfn.decode("utf-8", "backslashreplace"))


def _differences(wanted: dict[bytes, Any], found: dict[bytes, Any]) -> list[str]:
    against = [f"{shown(lfn)} is not there" for lfn in wanted.keys() - found.keys()]
    against += [f"{shown(lfn)} is there and should not be" for lfn in found.keys() - wanted.keys()]
    both = wanted.keys() & found.keys()
    return against + [f"{shown(lfn)}: {found[lfn]}, not {wanted[lfn]}" for lfn in both if wanted[lfn] != found[lfn]]


def _read(root: Path, told: Callable[[], None]) -> dict[bytes, Fact]:
    def one(lfn: bytes) -> tuple[bytes, Fact]:
        told()
        return lfn, look(root, lfn)

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(one, walk(root)))


def trees(source: Tree, destination: Path, told: Callable[[], None]) -> list[Check]:
    """Every byte of both trees against what was written when the source was made."""
    arrived = {lfn: fact for lfn, fact in source.files.items() if lfn not in staged.DOOMED}
    made = Fact(len(staged.FOREIGN), hashlib.sha256(staged.FOREIGN).hexdigest())
    here, there = _read(source.root, told), _read(destination, told)
    foreign = there.pop(staged.OCCUPIED, None)
    arrives = f"{len(arrived)} files, {sum(fact.size for fact in arrived.values())} bytes, are at the destination, byte for byte"
    return [
        Check(f"the source holds its {len(source.files)} files as they were made", _differences(source.files, here)),
        Check(f"{arrives}, and nothing else is", _differences(arrived, there)),
        Check("somebody else's file in the way was left as it was", [] if foreign == made else [f"it is {foreign}"]),
    ]


def directories(home: Path, source: Tree) -> list[Check]:
    """The lists in DONE say of each name, once, where it ended; the rest of the queue is empty."""
    okay, bad, missing = (books.listed(home, folder, source.root) for folder in books.DONE)
    arrived = Counter(lfn for lfn in source.files if lfn not in staged.DOOMED)
    checks = [Check(f"DONE/Okay lists each of the {len(arrived)} files once", _counted(arrived, Counter(lfn for lfn, _ in okay)))]
    wanted = {lfn: (doom.folder, doom.error_class) for lfn, doom in staged.DOOMED.items()}
    wanted |= dict.fromkeys(staged.WRONG_LINES, ("Bad", "invalid"))
    found = {lfn: ("Bad", why.partition(":")[0]) for lfn, why in bad}
    found |= {lfn: ("Missing", why.partition(":")[0]) for lfn, why in missing}
    twice = [f"{shown(lfn)} is listed {n} times" for lfn, n in Counter(lfn for lfn, _ in bad + missing).items() if n > 1]
    what = f"DONE/Bad and DONE/Missing list the {len(wanted)} that were staged, each with its reason"
    checks.append(Check(what, _differences(wanted, found) + twice))
    spare = books.set_aside(home, source.root) - arrived.keys() - wanted.keys()
    against = books.left_open(home) + [f"run/set-aside has {shown(lfn)}, of which nobody else knows" for lfn in spare]
    return [*checks, Check("TODO and DOING are empty; run/set-aside holds second copies of lists at most", against)]


def _counted(wanted: Counter[bytes], found: Counter[bytes]) -> list[str]:
    differ = sorted((wanted - found).keys() | (found - wanted).keys())
    return [f"{shown(lfn)}: {found[lfn]} times, not {wanted[lfn]}" for lfn in differ]


def database(home: Path, source: Tree) -> list[Check]:
    """The tables say the same."""
    wanted = Counter({("Okay", lfn, ""): 1 for lfn in source.files if lfn not in staged.DOOMED})
    wanted |= Counter({(doom.folder, lfn, doom.error_class): 1 for lfn, doom in staged.DOOMED.items()})
    wanted |= Counter({("Bad", line, "invalid"): 1 for line in staged.WRONG_LINES})
    found = Counter((state, lfn, "" if state == "Okay" else kind) for state, lfn, kind in books.rows(home))
    differ = sorted((wanted - found).keys() | (found - wanted).keys())
    against = [f"{shown(one[1])} {one[0]} {one[2]}: {found[one]} rows, not {wanted[one]}" for one in differ]
    states = Counter(state for state, _, _ in wanted.elements())
    tally = books.tally(home)
    history = books.histories(home)
    jobs = books.open_jobs(home)
    return [
        Check(f"the tables hold a row for each of {wanted.total()} names, in its state", against),
        Check(f"the counts agree: {_counts(states)}", [] if tally == states else [f"dm-monitoring would say {_counts(tally)}"]),
        Check("the journal tells how each came there", [] if history == states else [f"it knows of {_counts(history)}"]),
        Check("no job is open", [f"{jobs} are"] if jobs else []),
    ]


def _counts(states: Any) -> str:
    return ", ".join(f"{states[state]} {state}" for state in sorted(states))


def records(source: Tree, destination: Path, copies: Iterable[dict[str, Any]]) -> list[Check]:
    """The servers' own records: no file was copied whole more than once. A copy that a kill cut off may have been whole."""
    prefix = b"file://" + os.fsencode(destination)
    by_outcome: dict[str, Counter[bytes]] = {"FINISHED": Counter(), "INTERRUPTED": Counter()}
    for copy in copies:
        lfn = unquote_to_bytes(copy["destination"]).removeprefix(prefix)
        by_outcome.setdefault(copy["outcome"] or "open", Counter())[lfn] += 1
    whole, cut = by_outcome["FINISHED"], by_outcome["INTERRUPTED"]
    arrived = [lfn for lfn in source.files if lfn not in staged.DOOMED]
    wrong = [lfn for lfn in arrived if whole[lfn] > 1 or (not whole[lfn] and not cut[lfn])]
    against = [f"{shown(lfn)} was copied {whole[lfn]} times" for lfn in wrong]
    against += [f"{shown(lfn)} is still being copied" for lfn in by_outcome.get("open", ())]
    return [Check("the servers' own records: each file was copied once, none twice", against)]
