"""Every system call of producer, consumer and monitor that writes below HOME or to a server: killed, or failed, one at a time.

    .venv/bin/python bench/kill_sweep.py [--workers 2] [--stages producer,monitor] [--faults KILL,ENOSPC,...]
        [--sample N] [--twice N] [--moments N] [--broken] [--seed N] [--csv FILE]

A point is a row: stage, call, its number in its thread, what it was about, the fault, whether it was met, the command's exit,
copies opened at the destinations (7 files are to be copied, so 7), hidden files left, and the verdict after plain passes.
Faults: KILL; the errors ENOSPC, EIO, EDQUOT, EACCES; the power cuts strict, names, chance (tests/faults/powercut.py).
`survived` stands behind the last call of a kind. --twice kills a pass and the pass behind it; --moments kills at a moment,
in the midst of threads; --broken sweeps a tree that submits before its intent is written, and must find doubles.
Exits 0 when all is good; with --broken, when doubles were found.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults import sweep  # noqa: E402
from tests.faults.control import SUBMIT_BEFORE_INTENT  # noqa: E402
from tests.faults.machine import Machine, copy_tree  # noqa: E402
from tests.faults.powercut import IMAGES  # noqa: E402
from tests.faults.sweep import BY_NAME, NO_MORE, Row  # noqa: E402

FAULTS = ("KILL", "ENOSPC", "EIO", "EDQUOT", "EACCES", *IMAGES)
MOMENTS = (0.02, 0.45)  # seconds: from the first look at HOME to the end of a pass
Work = tuple[str, tuple[Any, ...]]
_machine: Machine


def _begin(tree: str, stages: list[str], places: Any) -> None:
    global _machine
    _machine = Machine(Path(tree))
    places.put(str(_machine.place))
    sweep.prepare(_machine, stages)


def _work(work: Work) -> Row:
    kind, words = work
    acts: dict[str, Callable[..., Row]] = {
        "run": sweep.run,
        "twice": sweep.twice,
        "moment": sweep.moment,
        "power_cut": sweep.power_cut,
    }
    return acts[kind](_machine, *words)


def plan(tree: Path, options: argparse.Namespace) -> Iterator[Work]:
    """All points, in their order."""
    machine, dice = Machine(tree), random.Random(options.seed)
    try:
        sweep.prepare(machine, options.stages)
        found = {name: sweep.points(machine, BY_NAME[name]) for name in options.stages}
    finally:
        machine.close()
    for name, calls in found.items():
        chosen = sweep.sample(calls, options.sample, options.seed) if options.sample else calls
        for fault in options.faults:
            if fault in IMAGES:
                cuts = [call for call in chosen if call.subject != NO_MORE]
                yield from (("power_cut", (BY_NAME[name], call, fault, options.seed + i)) for i, call in enumerate(cuts))
                continue
            kind = "signal" if fault == "KILL" else "error"
            yield from (
                ("run", (BY_NAME[name], call, f"{kind}={fault}")) for call in chosen if fault == "KILL" or call.subject != NO_MORE
            )
    real = [(BY_NAME[name], call) for name, calls in found.items() for call in calls if call.subject != NO_MORE]
    for _ in range(options.twice):
        yield "twice", (dice.choice(real), dice.choice(real))
    for _ in range(options.moments):
        yield "moment", (BY_NAME[dice.choice(options.stages)], dice.uniform(*MOMENTS))


def main() -> int:
    options = arguments()
    begun = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="kill-sweep-"))
    rows: list[Row] = []
    places = multiprocessing.SimpleQueue()
    try:
        tree = copy_tree(place / "tree", SUBMIT_BEFORE_INTENT if options.broken else ())
        work = list(plan(tree, options))
        print(f"{len(work)} points", file=sys.stderr, flush=True)
        start = (str(tree), options.stages, places)
        with options.csv.open("w", newline="") as file, multiprocessing.Pool(options.workers, _begin, start) as pool:
            table = csv.writer(file)
            table.writerow(sweep.COLUMNS)
            for row in pool.imap(_work, work):
                rows.append(row)
                table.writerow(sweep.cells(row))
                file.flush()
                if row.wrong:
                    print(" ".join(sweep.cells(row)), flush=True)
    finally:
        shutil.rmtree(place)
        while not places.empty():
            shutil.rmtree(places.get(), ignore_errors=True)
    return told(rows, options.broken, time.monotonic() - begun)


def told(rows: list[Row], broken: bool, seconds: float) -> int:
    """The sums; the exit code."""
    by_kind = Counter((row.stage if "+" not in row.stage else "twice", row.fault.partition("=")[2]) for row in rows)
    for (stage, fault), n in sorted(by_kind.items()):
        print(f"{stage:10} {fault:8} {n:5} points")
    wrong = [row for row in rows if row.wrong]
    doubles = [row for row in rows if "copies opened" in row.verdict]
    survived = sum(not row.hit for row in rows)
    print(f"{len(rows)} points in {seconds:.0f} s: {survived} survived, {len(wrong)} wrong, {len(doubles)} with doubles")
    return int(not doubles) if broken else int(bool(wrong))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stages", type=names, default=list(BY_NAME))
    parser.add_argument("--faults", type=names, default=["KILL", "ENOSPC", "EIO"], help=",".join(FAULTS))
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="N points of each stage and fault, not all")
    parser.add_argument("--twice", type=int, default=0, metavar="N", help="N more points that are killed twice")
    parser.add_argument("--moments", type=int, default=0, metavar="N", help="N more that are killed at a moment")
    parser.add_argument("--broken", action="store_true", help="the control: a tree that must show doubles")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--csv", type=Path, default=Path("kill-sweep.csv"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
