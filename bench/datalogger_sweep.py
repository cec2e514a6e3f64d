"""Every system call of a datalogger command that writes: killed, or failed, one at a time.

    .venv/bin/python bench/datalogger_sweep.py NAME [--workers 2] [--sample N --seed N] [--faults KILL,ENOSPC,EIO,EDQUOT,EACCES]

A point is a row as of bench/kill_sweep.py. params: a day of two devices, plain passes to the end, every value as the formula has
it. declare: two files that are out, to the journal, a real Rucio and MetaCat. distill: the statistics of a day of two devices, by
a first pass and anew: the rows of a pass that nothing disturbed. more: a day of an event, the plot site, a supercycle.
Exits 0 when all is good.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults import datalogger_declare, datalogger_distill, datalogger_more, datalogger_params  # noqa: E402
from tests.faults.all_points import Sweeps, main  # noqa: E402

SWEEPS: Sweeps = {
    "declare": (datalogger_declare, datalogger_declare.Depots),
    "distill": (datalogger_distill, datalogger_distill.Stills),
    "more": (datalogger_more, datalogger_more.More),
    "params": (datalogger_params, datalogger_params.Plants),
}

if __name__ == "__main__":
    sys.exit(main(SWEEPS, __doc__.splitlines()[0]))
