"""The whole journey of daq, small: a DAQ that writes on, four disks, to site and tape and back; `diff -r` is clean.

bench/daq_journey.py does the same with 5,000 files.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT, environment


def test_disk_to_tape_to_restore_while_the_daq_writes_on(short_tmp: Path) -> None:
    env = {**environment(), "TMPDIR": str(short_tmp), "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, ROOT / "bench/daq_journey.py", "--files", "24", "--a-disk", "4", "--deadline", "240"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(done.stdout)
    assert (told["good"], told["diff"], told["zips_on_tape"]) == (True, [], 24)
