"""All points of the sweeps over the commands of a pipeline, over several processes: the body of bench/*_sweep.py."""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.faults import calls, sweep
from tests.faults.calls import NO_MORE, Call
from tests.faults.machine import copy_tree
from tests.faults.sweep import Row

FAULTS = ("KILL", "ENOSPC", "EIO", "EDQUOT", "EACCES")
Sweeps = Mapping[str, tuple[Any, Any]]  # a module with prepare, points, run, BY_NAME; and its machine
_machine: Any
_sweep: Any


def _begin(chosen: tuple[Any, Any], tree: str, places: Any) -> None:
    global _machine, _sweep
    _sweep, machine = chosen
    _machine = machine(Path(tree))
    places.put(str(_machine.place))
    _sweep.prepare(_machine)


def _work(work: tuple[str, Call, str]) -> Row:
    stage, call, fault = work
    row: Row = _sweep.run(_machine, _sweep.BY_NAME[stage], call, "signal=KILL" if fault == "KILL" else f"error={fault}")
    return row


def plan(chosen: tuple[Any, Any], tree: Path, options: argparse.Namespace) -> list[tuple[str, Call, str]]:
    """All points, in their order."""
    module, make = chosen
    machine = make(tree)
    try:
        module.prepare(machine)
        found = {name: _points(chosen, machine, name, options.ends) for name in options.stages or module.BY_NAME}
    finally:
        machine.close()
    made = []
    for name, every in found.items():
        some = sweep.sample(every, options.sample, options.seed) if options.sample else every
        made += [(name, call, fault) for fault in options.faults for call in some if fault == "KILL" or call.subject != NO_MORE]
    return made


def _points(chosen: tuple[Any, Any], machine: Any, stage: str, ends: bool) -> list[Call]:
    module, _ = chosen
    found: list[Call] = module.points(machine, module.BY_NAME[stage])
    if not ends:
        return found
    kept = calls.ends_of_runs(machine.place / "trace", machine.home)
    return [call for call in found if call.subject == NO_MORE or (call.name, call.number) in kept]


def main(sweeps: Sweeps, what: str) -> int:
    """Runs the sweep that the command line names; gives the exit code."""
    words = lambda text: text.split(",")  # noqa: E731
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("command", choices=sorted(sweeps))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stages", type=words, default=[])
    parser.add_argument("--faults", type=words, default=list(FAULTS))
    parser.add_argument("--sample", type=int, default=0, help="points of each stage and fault; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ends", action="store_true", help="of a run of writes to one file the first two and the last")
    options = parser.parse_args()
    chosen = sweeps[options.command]
    tree = copy_tree(Path(tempfile.mkdtemp(prefix="dmf-tree-")))
    begun, bad, done = time.monotonic(), 0, 0
    places: Any = multiprocessing.Queue()
    work = plan(chosen, tree, options)
    try:
        with multiprocessing.Pool(options.workers, _begin, (chosen, str(tree), places)) as pool:
            for row in pool.imap_unordered(_work, work):
                done += 1
                bad += bool(row.wrong)
                print("  ".join(sweep.cells(row)), flush=True)
                if done % 25 == 0:
                    print(f"{done} of {len(work)} points, {bad} bad", file=sys.stderr, flush=True)
    finally:
        while not places.empty():
            shutil.rmtree(places.get(), ignore_errors=True)
        shutil.rmtree(tree)
    print(f"{done} points, {bad} bad, {time.monotonic() - begun:.0f} s")
    return 1 if bad else 0
