"""Every system call of daq-transfer, or of daq-archive and its zip jobs, that writes: killed, or failed, one at a time.

    .venv/bin/python bench/daq_sweep.py transfer|archive [--workers 2] [--stages NAME,...] [--sample N --seed N]
                                        [--faults KILL,ENOSPC,EIO,EDQUOT,EACCES]

A point is a row as of bench/kill_sweep.py. `copies` are what must be there once after the plain passes: of transfer the four
files at the site, of archive the three copies that were opened at the tape. Exits 0 when all is good.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults import daq_archive, daq_transfer, sweep  # noqa: E402
from tests.faults.calls import NO_MORE, Call  # noqa: E402
from tests.faults.machine import copy_tree  # noqa: E402
from tests.faults.sweep import Row  # noqa: E402

FAULTS = ("KILL", "ENOSPC", "EIO", "EDQUOT", "EACCES")
SWEEPS: dict[str, tuple[Any, Any]] = {
    "transfer": (daq_transfer, daq_transfer.DaqDisks),
    "archive": (daq_archive, daq_archive.DaqMachine),
}
_machine: Any
_command: Any


def _begin(name: str, tree: str, places: Any) -> None:
    global _machine, _command
    _command, machine = SWEEPS[name]
    _machine = machine(Path(tree))
    places.put(str(_machine.place))
    _command.prepare(_machine)


def _work(work: tuple[str, Call, str]) -> Row:
    stage, call, fault = work
    return _command.run(_machine, _command.BY_NAME[stage], call, "signal=KILL" if fault == "KILL" else f"error={fault}")


def plan(tree: Path, options: argparse.Namespace) -> list[tuple[str, Call, str]]:
    """All points, in their order."""
    command, make = SWEEPS[options.command]
    machine = make(tree)
    try:
        command.prepare(machine)
        found = {name: command.points(machine, command.BY_NAME[name]) for name in options.stages or command.BY_NAME}
    finally:
        machine.close()
    made = []
    for name, calls in found.items():
        chosen = sweep.sample(calls, options.sample, options.seed) if options.sample else calls
        made += [(name, call, fault) for fault in options.faults for call in chosen if fault == "KILL" or call.subject != NO_MORE]
    return made


def main() -> int:
    """Runs the sweep; gives the exit code."""
    words = lambda text: text.split(",")  # noqa: E731
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=sorted(SWEEPS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stages", type=words, default=[])
    parser.add_argument("--faults", type=words, default=list(FAULTS))
    parser.add_argument("--sample", type=int, default=0, help="points of each stage and fault; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tree = copy_tree(Path(tempfile.mkdtemp(prefix="dmf-tree-")))
    begun, bad, done = time.monotonic(), 0, 0
    places: Any = multiprocessing.Queue()
    work = plan(tree, options)
    try:
        with multiprocessing.Pool(options.workers, _begin, (options.command, str(tree), places)) as pool:
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


if __name__ == "__main__":
    sys.exit(main())
