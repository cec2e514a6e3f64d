"""Every system call of daq-transfer, or of daq-archive and its zip jobs, that writes: killed, or failed, one at a time.

    .venv/bin/python bench/daq_sweep.py transfer|archive [--workers 2] [--stages NAME,...] [--sample N --seed N]
                                        [--faults KILL,ENOSPC,EIO,EDQUOT,EACCES]

A point is a row as of bench/kill_sweep.py. `copies` are what must be there once after the plain passes: of transfer the four
files at the site, of archive the three copies that were opened at the tape. Exits 0 when all is good.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults import daq_archive, daq_transfer  # noqa: E402
from tests.faults.all_points import Sweeps, main  # noqa: E402

SWEEPS: Sweeps = {
    "transfer": (daq_transfer, daq_transfer.DaqDisks),
    "archive": (daq_archive, daq_archive.DaqMachine),
}

if __name__ == "__main__":
    sys.exit(main(SWEEPS, __doc__.splitlines()[0]))
