"""The statistics of device-days: ours beside DuckDB, the same figures, in one run.

    .venv/bin/python bench/datalogger_stats.py [--rows 1296000] [--devices 3] [--rounds 5] [--events 62208000]

Needs DuckDB: pip install 'dmtools[bench]'. Both sides get the same arrays of times and values, which lie in memory: `signal` as
the simulator's formula has them, four decimals; `noise`, in which no value comes twice. Each side runs in a process of its own,
the sides in turn, and gives mean, mode, std, min, max, median, six quantiles of the values and of the intervals, first, last,
gaps, doubles, non-finite values and the longest run of one value:
  ours      datalogger-distill's own functions, in pieces as they come from a file, bound to one core
  duck      one statement of DuckDB, threads = 1, bound to one core
  duck-all  the same with DuckDB's default, all cores
  file      ours from an HDF5 file: what reading adds
First it is proved that the figures are equal (of several equally frequent values DuckDB takes any). Printed: CPU seconds of each
sample (of duck-all those of the wall), medians, ratios. ours must take at most 0.3 of duck's time.
--events N: as many events, of which most have a value of their own, from an HDF5 file: seconds, peak memory; 0 leaves it out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
START, HERTZ, WANTED = 1_795_719_600, 15, 0.3
QUANTILES = ("q01", "q05", "q25", "median", "q75", "q95", "q99")
TELL = """
import json, sys, time
import numpy as np
from pathlib import Path
place, devices, start, end, hertz = Path(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:6])
def told(begun, figures):
    spent, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    peak = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
    print(json.dumps({"wall": spent, "cpu": cpu, "peak_kb": peak, "figures": figures}))
"""
OURS = """
from dataclasses import asdict
from dmtools.datalogger.stats.figures import Series
samples = [(np.load(place / f"{n}.t.npy"), np.load(place / f"{n}.v.npy")) for n in range(devices)]
begun, found = (time.perf_counter(), time.process_time()), []
for seconds, values in samples:
    series = Series(start, end, hertz, place)
    for first in range(0, len(seconds), 65536):
        series.add(seconds[first : first + 65536], values[first : first + 65536])
    found.append(asdict(series.figures()))
told(begun, found)
"""
FILE = """
from dataclasses import asdict
from dmtools.datalogger.stats import summing
begun = (time.perf_counter(), time.process_time())
told(begun, [asdict(one) for one in summing.of_file(place / "file.h5", place, 0.0)])
"""
DUCK = """
import duckdb
THREADS = 0
db = duckdb.connect(config={"threads": THREADS} if THREADS else {})
db.execute("SET enable_progress_bar = false").fetchall()
samples = [(np.load(place / f"{n}.t.npy"), np.load(place / f"{n}.v.npy")) for n in range(devices)]
limit = round(1.5e6 / hertz)
shares = "[.01, .05, .25, .5, .75, .95, .99]"
spread = lambda x: f"avg({x}), mode({x}), stddev_samp({x}), min({x}), max({x}), quantile_cont({x}, {shares})"
query = f'''
    WITH s AS (
        SELECT t, v, CAST(round(t * 1e6) AS BIGINT) - lag(CAST(round(t * 1e6) AS BIGINT)) OVER () AS i,
               v IS DISTINCT FROM lag(v) OVER () AS changed, row_number() OVER () AS n FROM samples),
    runs AS (SELECT max(n - before) AS longest, max(n) AS last FROM (SELECT n, lag(n) OVER () AS before FROM s WHERE changed))
    SELECT count(*), {spread('v')}, {spread('i')}, min(t), max(t), count_if(i > {limit}), sum(i) FILTER (i > {limit}),
           count_if(i = 0), count_if(NOT isfinite(v)),
           (SELECT greatest(coalesce(longest, 0), (SELECT count(*) FROM samples) - last + 1) FROM runs)
    FROM s
'''
begun, found = (time.perf_counter(), time.process_time()), []
for seconds, values in samples:
    db.register("samples", {"t": seconds, "v": values})
    found.append(db.execute(query).fetchall()[0])
told(begun, found)
"""


def signal(n: int, rows: int) -> tuple[Any, Any]:
    """Times and values as docs/datalogger.md has them, of the device `B:Dn`."""
    k = np.arange(START * HERTZ, START * HERTZ + rows, dtype=np.uint64)
    c = zlib.crc32(f"B:D{n}".encode())
    period = 600 + c % 4001
    noise = ((k % 2**32) * np.uint64(2654435761) + np.uint64(97 * c)) % 2**32 >> np.uint64(20)
    wave = 37 * np.abs(((k + np.uint64(c)) % (2 * period)).astype(np.int64) - period)
    return (1000 * k // HERTZ) / 1000, (((c >> 8) % 2000 - 1000) * 100 + wave - noise.astype(np.int64) + 2048) / 10000


def noise(n: int, rows: int) -> tuple[Any, Any]:
    """The same times; values of which none comes twice."""
    return signal(n, rows)[0], np.random.default_rng(n).normal(size=rows)


def side(code: str, place: Path, devices: int, end: float, hertz: float, core: bool) -> dict[str, Any]:
    """One process of one side."""
    argv = [*(("taskset", "-c", str(min(os.sched_getaffinity(0)))) if core else ()), sys.executable, "-c", TELL + code]
    words = [str(word) for word in (place, devices, START, end, hertz)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    done = subprocess.run([*argv, *words], env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout))


def differs(ours: dict[str, Any], duck: list[Any], values: Any) -> list[str]:
    """What is not equal."""
    found = {"count": (ours["count"], duck[0])}
    for at, what, unit in ((1, "value", 1.0), (7, "interval", 1e6)):
        named = dict(zip(("mean", "mode", "std", "min", "max"), duck[at : at + 5], strict=True))
        named |= dict(zip(QUANTILES, duck[at + 5], strict=True))
        found |= {f"{what} {name}": (ours[what][name], figure / unit) for name, figure in named.items()}
    tail = ("first", "last", "gaps", "gap_seconds", "doubles", "non_finite", "stuck")
    found |= {name: (ours[name], figure or 0) for name, figure in zip(tail, duck[13:], strict=True)}
    times = [int((values == mode).sum()) for mode in found.pop("value mode")]
    wrong = [f"{name}: {a} {b}" for name, (a, b) in found.items() if not math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)]
    return wrong + [f"value mode: comes {times} times"] * (times[0] != times[1])


def write(path: Path, samples: list[tuple[Any, Any]], end: float) -> None:
    """A file as datalogger-params makes it."""
    from dmtools.datalogger import hdf5

    about = {"start": stamp(START), "end": stamp(end), "hertz": HERTZ}
    made = []
    for n, (seconds, values) in enumerate(samples):
        rows = np.empty(len(seconds), hdf5.row_type())
        rows["utc_seconds"], rows["value"] = seconds, values
        made.append(hdf5.Table(f"B:D{n}", len(rows), lambda rows=rows: [rows], {"device": f"B:D{n}", **about}))
    hdf5.write(path, made, {})


def stamp(seconds: float) -> str:
    """For the attributes of a file."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def compare(kind: Any, args: argparse.Namespace) -> float:
    """One kind of data; gives ours / duck."""
    end = START + args.rows / HERTZ
    with tempfile.TemporaryDirectory() as where:
        place = Path(where)
        samples = [kind(n, args.rows) for n in range(args.devices)]
        for n, (seconds, values) in enumerate(samples):
            np.save(place / f"{n}.t.npy", seconds)
            np.save(place / f"{n}.v.npy", values)
        write(place / "file.h5", samples, end)
        sides = {
            "ours": (OURS, True),
            "duck": (DUCK.replace("THREADS = 0", "THREADS = 1"), True),
            "duck-all": (DUCK, False),
            "file": (FILE, True),
        }
        taken: dict[str, list[float]] = {name: [] for name in sides}
        peaks: dict[str, int] = {}
        for turn in range(args.rounds):
            got = {}
            for name, (code, core) in sides.items():
                got[name] = side(code, place, args.devices, end, HERTZ, core)
                taken[name].append(got[name]["cpu" if core else "wall"])
                peaks[name] = max(peaks.get(name, 0), got[name]["peak_kb"])
            if turn == 0:
                pairs = zip(got["ours"]["figures"], got["duck"]["figures"], got["file"]["figures"], samples, strict=True)
                for ours, duck, file, (_, values) in pairs:
                    wrong = differs(ours, duck, values) + [name for name in ours if file[name] != ours[name]]
                    if wrong:
                        sys.exit(f"not equal: {wrong}")
                print(f"{kind.__name__}: the figures of {args.devices} x {args.rows} samples are equal")
        middle = {name: statistics.median(times) for name, times in taken.items()}
        for name, times in taken.items():
            ratio = f"ours / {name} {middle['ours'] / middle[name]:.2f}" if name.startswith("duck") else ""
            print(
                f"  {name:9}",
                " ".join(f"{one:.3f}" for one in times),
                f" median {middle[name]:.3f} s, {peaks[name] // 1000} MB  {ratio}",
            )
        return middle["ours"] / middle["duck"]


def events(number: int) -> None:
    """Many events, from a file, in bounded memory."""
    from dmtools.datalogger import hdf5, kinds

    with tempfile.TemporaryDirectory() as where:
        place, step, end = Path(where), 1 << 20, START + number / 720
        kind = kinds.EVENTS

        def pieces() -> Any:
            random = np.random.default_rng(7)
            for first in range(0, number, step):
                rows = np.zeros(min(step, number - first), kind.row_type())
                rows["epoch"] = START + np.floor(np.arange(first, first + len(rows)) * 1000 / 720) / 1000
                rows["SCmicrosec"] = random.integers(0, 60_066_666, len(rows))
                yield rows

        known = {"event": "07", "start": stamp(START), "end": stamp(end)}
        hdf5.write(place / "file.h5", [hdf5.Table("Event07", number, pieces, known, kind)], {})
        found = side(FILE, place, 1, end, 0, core=True)
        with h5py.File(place / "file.h5") as file:
            micros = np.sort(file["Event07"]["SCmicrosec"])
        wanted = float(np.quantile(micros, 0.25))
        given = found["figures"][0]["value"]
        if not math.isclose(given["q25"], wanted) or (given["min"], given["max"]) != (micros[0], micros[-1]):
            sys.exit(f"not equal: {given}, {wanted}")
        spent, peak = found["cpu"], found["peak_kb"] // 1000
        print(f"events: {number} from a file: {spent:.1f} CPU seconds, at most {peak} MB; q25 as numpy has it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=86_400 * HERTZ)
    parser.add_argument("--devices", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=720 * 86_400)
    args = parser.parse_args()
    ratios = [compare(kind, args) for kind in (signal, noise)]
    if args.events:
        events(args.events)
    if max(ratios) > WANTED:
        sys.exit(f"missed: {max(ratios):.2f} of DuckDB's time where {WANTED} is wanted")


if __name__ == "__main__":
    main()
