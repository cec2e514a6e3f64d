r"""Text of the logger -> HDF5: ours beside pandas and beside pyarrow's bare CSV reader, in one run, on one core.

    .venv/bin/python bench/datalogger_text.py [--rows 1296000] [--devices 3] [--rounds 5] [--pandas PYTHON]

Each side gets the same text, made by the simulator's formula, as it would come from the logger (several blanks between), and runs
in a process of its own, bound to one core, the sides in turn:
  ours      as datalogger-params does it: 1 MB pieces -> reader -> rows of the draft, with fsync -> HDF5, compressed, with fsync
  arrow     pyarrow.csv.read_csv of the text with one blank between, types inferred, nothing checked, nothing written
  pandas    read_csv(sep=r"\s+") + to_hdf as it is by default: nothing compressed, no fsync, no draft; by the Python of --pandas,
            which has pandas and tables (they are no part of dmtools)
  packed    the same with to_hdf(complevel=1, complib="zlib"): shuffled and deflated as ours is
First it is proved that the files of ours, pandas and packed hold the same numbers. Printed: CPU seconds of each sample, their
medians and ratios, peak memory, bytes of the file. ours must be at least 2.5 times as fast as both, at least half as fast as
arrow, and stay below 300 MB however long the text is. Beside pandas' default this is not reached (1.3 to 1.7): half of our time
goes into what that leaves out, the draft and the compression.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
START = 1_795_719_600
TELL = """
import json, resource, time
def told(size=0):
    peak = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
    print(json.dumps({"cpu": time.process_time() - begun, "wall": time.perf_counter() - clock, "peak_kb": peak, "bytes": size}))
def begin():
    global begun, clock
    begun, clock = time.process_time(), time.perf_counter()
"""
OURS = """
import sys
from pathlib import Path
from functools import partial
import h5py, numpy, pyarrow.csv
from dmtools.datalogger import drafts, hdf5
from dmtools.datalogger.reading import Reader
text, place, devices, start, hours, hertz = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:7])
begin()
tables = []
for n in range(devices):
    path, rows = place / f"{n}.rows", 0
    with text.open("rb") as handle:
        reader, edge = Reader(start, start + 86400 * 3650), 0
        while piece := handle.read(1 << 20):
            reader.feed(piece)
            edge += len(piece)
            if edge > 54000 * 25:  # an hour at 15 Hz is a piece of its own
                rest, reader._rest = reader._rest, b""
                found = reader.close()
                drafts.append(path, rows, found.seconds, found.values)
                rows += len(found.seconds)
                reader, edge = Reader(start, start + 86400 * 3650), 0
                reader._rest = rest
        if edge:
            found = reader.close()
            drafts.append(path, rows, found.seconds, found.values)
            rows += len(found.seconds)
    tables.append(hdf5.Table(f"B:D{n}", rows, partial(drafts.pieces, path, rows)))
hdf5.write(place / "file.h5", tables, {})
told((place / "file.h5").stat().st_size)
"""
ARROW = """
import sys
import pyarrow as pa
from pyarrow import csv
begin()
for n in range(int(sys.argv[3])):
    csv.read_csv(sys.argv[1], read_options=csv.ReadOptions(column_names=["s", "v"], use_threads=False),
                 parse_options=csv.ParseOptions(delimiter=" "))
told()
"""
PANDAS = """
import json, os, sys, warnings
import pandas as pd, tables
warnings.simplefilter("ignore")
begin()
for n in range(int(sys.argv[3])):
    frame = pd.read_csv(sys.argv[1], sep=r"\\s+", names=["utc_seconds", "value"])
    frame.to_hdf(sys.argv[2] + "/file.h5", key=f"D{n}", mode="a", **json.loads(sys.argv[-1]))
told(os.path.getsize(sys.argv[2] + "/file.h5"))
"""


def side(python: str, code: str, *arguments: object) -> dict[str, float]:
    """One run of one side, on core 0."""
    argv = ["taskset", "-c", "0", python, "-c", TELL + code, *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def texts(place: Path, rows: int) -> tuple[Path, Path]:
    """The text as it comes, and with one blank between, which arrow alone can read."""
    from dmtools.simulators.datalogger import signals

    some = signals.ticks(Fraction(15), START * 1000, START * 1000 + 10**12)
    as_it_comes, plain = place / "text", place / "plain"
    with as_it_comes.open("wb") as one, plain.open("wb") as other:
        for first in range(some.start, some.start + rows, 100_000):
            block = signals.lines("B:VIMIN", Fraction(15), range(first, min(first + 100_000, some.start + rows)))
            one.write(block)
            other.write(b"\n".join(b" ".join(line.split()) for line in block.splitlines()) + b"\n")
    return as_it_comes, plain


def main() -> int:
    """Measures and judges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_296_000)
    parser.add_argument("--devices", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pandas", default="", help="a Python that has pandas and tables")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dmb-") as name:
        place = Path(name)
        text, plain = texts(place, options.rows)
        print(f"{options.devices} x {options.rows} rows, {text.stat().st_size / 1e6:.1f} MB of text each")
        sides = {"ours": (sys.executable, OURS, text, {}), "arrow": (sys.executable, ARROW, plain, {})}
        if options.pandas:
            sides["pandas"] = (options.pandas, PANDAS, text, {})
            sides["packed"] = (options.pandas, PANDAS, text, {"complevel": 1, "complib": "zlib"})
        samples: dict[str, list[dict[str, float]]] = {key: [] for key in sides}
        for number in range(options.rounds):
            targets = {key: place / f"{key}{number}" for key in sides}
            for key, (python, code, path, more) in sides.items():
                targets[key].mkdir()
                samples[key].append(side(python, code, path, targets[key], options.devices, START, 0, 15, json.dumps(more)))
            if number == 0:
                prove([target / "file.h5" for key, target in targets.items() if key != "arrow"], text, options.devices)
            for target in targets.values():
                shutil.rmtree(target)
    return judge(samples)


def prove(files: list[Path], text: Path, devices: int) -> None:
    """All files hold the numbers of the text, to the last bit."""
    with text.open("rb") as handle:
        wanted = np.array([[float(word) for word in line.split()] for line in handle])
    for path in files:
        with h5py.File(path) as file:
            for n in range(devices):
                table = file[f"B:D{n}"] if f"B:D{n}" in file else file[f"D{n}/block0_values"]
                rows = table[:]
                found = rows.view("<f8").reshape(-1, 2) if rows.dtype.names else rows
                if not np.array_equal(found, wanted):
                    sys.exit(f"{path} does not hold the numbers of the text")
    print(f"{len(files)} files hold the same {devices} x {len(wanted)} rows, to the last bit")


def judge(samples: dict[str, list[dict[str, float]]]) -> int:
    """The table, and whether the aims are met."""
    median = {key: statistics.median(one["cpu"] for one in found) for key, found in samples.items()}
    for key, found in samples.items():
        shown = " ".join(f"{one['cpu']:.3f}" for one in found)
        wall = statistics.median(one["wall"] for one in found)
        peak = max(one["peak_kb"] for one in found) / 1e3
        size = found[0]["bytes"] / 1e6
        print(f"{key:7} CPU s: {shown}  median {median[key]:.3f}  (wall {wall:.3f})  peak {peak:.0f} MB  file {size:.1f} MB")
    good = max(one["peak_kb"] for one in samples["ours"]) < 300_000
    for other, least in (("packed", 2.5), ("pandas", 2.5), ("arrow", 0.5)):
        if other in median:
            ratio = median[other] / median["ours"]
            good &= ratio >= least
            print(f"ours is {ratio:.2f} times as fast as {other}; wanted: {least}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
