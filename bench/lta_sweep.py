"""Every system call of lta's commands that writes: killed, or failed, one at a time.

    .venv/bin/python bench/lta_sweep.py back|dump|remote|scanner|server [--workers 2] [--stages NAME,...] [--sample N --seed N]
                                               [--faults KILL,ENOSPC,EIO,EDQUOT,EACCES]
                                               [--ends]

A point is a row as of bench/kill_sweep.py. `copies` are what must be opened once after the plain passes: of scanner the three
in the buffer, of back the three files that were restored; of dump the bundles; of remote
and server the two on tape. Exits 0 when all is good.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults import lta_back, lta_dump, lta_remote, lta_scanner, lta_server  # noqa: E402
from tests.faults.all_points import Sweeps, main  # noqa: E402

SWEEPS: Sweeps = {
    "back": (lta_back, lta_back.BackMachine),
    "dump": (lta_dump, lta_dump.Slots),
    "remote": (lta_remote, lta_remote.RemoteMachine),
    "scanner": (lta_scanner, lta_scanner.LtaMachine),
    "server": (lta_server, lta_server.ServerMachine),
}

if __name__ == "__main__":
    sys.exit(main(SWEEPS, __doc__.splitlines()[0]))
