"""A whole day from the simulator to files, statistics and JSON: how long, with how much memory, and where the time goes.

    .venv/bin/python bench/datalogger_day.py [--devices 50] [--hours 24] [--hertz 15] [--keep]

A HOME of its own; each command as a process: wall and CPU seconds, peak memory, and whether its memory stays flat: the median of
the last third of its samples against that of the middle third. datalogger-params is split by what stands in the draft directory:
asking (its threads read answers; its main thread drafts and books), making the HDF5 file, copying it out. The simulator runs on
the same machine; its CPU is told beside. At the end every value of the file is compared with the formula. With --hours less than
24 the window is one by hand. Exits 0 when all values are right and no command needs more than 300 MB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
TICK = os.sysconf("SC_CLK_TCK")
MOST = 300_000_000


@dataclass
class Run:
    """What was seen of one command."""

    name: str
    wall: float = 0.0
    cpu: float = 0.0
    peak: int = 0
    samples: list[int] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)  # name: wall, CPU of the main thread, of the others

    def told(self) -> str:
        flat = "too short to say"
        if len(self.samples) >= 30:
            third = len(self.samples) // 3
            middle, last = (statistics.median(self.samples[n * third : (n + 1) * third]) for n in (1, 2))
            flat = f"middle {middle / 1e6:.0f}, last {last / 1e6:.0f} MB"
        return f"{self.name:20} wall {self.wall:7.1f} s  CPU {self.cpu:7.1f} s  peak {self.peak / 1e6:4.0f} MB  ({flat})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--hertz", default="15")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="dmb-", dir="/tmp"))
    os.environ.update(DMTOOLS_HOME=str(place / "home"))
    subprocess.run(
        [sys.executable, ROOT / "bin/dm-config", "init", place / "home", "--port-base", "28300"], check=True, capture_output=True
    )
    names = [f"B:D{n:02}" for n in range(options.devices)]
    (place / "ParamList.txt").write_text("".join(f"MLrn {name} {options.hertz}\n" for name in names))
    text = (place / "home/dmtools.toml").read_text()
    (place / "home/dmtools.toml").write_text(f'datalogger.paramfile = "{place}/ParamList.txt"\n' + text)
    simulator = subprocess.Popen(
        [sys.executable, ROOT / "bin/dm-sim", "datalogger", "--hertz", options.hertz, "--port", "0"], stdout=subprocess.PIPE
    )
    try:
        assert simulator.stdout is not None
        simulator.stdout.readline()
        return measured(place, names, options.hours, Fraction(options.hertz), simulator.pid)
    finally:
        simulator.terminate()
        simulator.wait()
        if not options.keep:
            shutil.rmtree(place)


def measured(place: Path, names: list[str], hours: int, hertz: Fraction, simulator: int) -> int:
    """Runs the commands and tells of them."""
    out, draft = place / "home/datalogger/out", place / "home/datalogger/draft"
    window = ["--days", "1"] if hours == 24 else ["--hours", str(hours), "--adopt", "--draftdir", str(draft)]
    runs = [command("datalogger-params", *window, "--outdir", str(out), draft=draft)]
    for name in ("datalogger-distill", "datalogger-json"):
        if (ROOT / "bin" / name).exists():
            runs.append(command(name))
        else:
            print(f"{name} is not there yet")
    (file,) = out.glob("*.h5")
    rows = prove(file, names, hertz)
    size = file.stat().st_size / 1e6
    print(f"{len(names)} devices, {hours} h, {hertz} Hz: {rows} rows, all as the formula has them; a file of {size:.0f} MB")
    for one in runs:
        print(one.told())
        for stage, (wall, own, others) in one.stages.items():
            print(f"    {stage:16} wall {wall:7.1f} s  CPU of its main thread {own:6.1f} s, of the others {others:6.1f} s")
    print(f"{'simulator':20} CPU {sum(cpu_of(simulator)):7.1f} s")
    print(f"{rows / sum(one.wall for one in runs) / 1e6:.2f} million rows a second, all together")
    return 0 if max(one.peak for one in runs) <= MOST else 1


def command(name: str, *words: str, draft: Path | None = None) -> Run:
    """Runs it and watches it."""
    found, begun = Run(name), time.perf_counter()
    process = subprocess.Popen([sys.executable, ROOT / "bin" / name, *words])
    seen, last = (0.0, 0.0), begun
    while process.poll() is None:
        time.sleep(0.1)
        try:
            found.samples.append(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
            now, at = cpu_of(process.pid), time.perf_counter()
        except (OSError, IndexError):
            continue
        stage = found.stages.setdefault(stage_of(draft), [0.0, 0.0, 0.0]) if draft else [0.0] * 3
        for n, more in enumerate((at - last, now[0] - seen[0], now[1] - seen[1])):
            stage[n] += max(0.0, more)
        seen, last = now, at
    usage = os.times()
    found.wall = time.perf_counter() - begun
    found.cpu = usage.children_user + usage.children_system - sum(_before)
    _before[:] = [usage.children_user, usage.children_system]
    found.peak = max(found.samples, default=0)
    if process.returncode:
        sys.exit(f"{name} gave {process.returncode}")
    return found


_before = [0.0, 0.0]


def stage_of(draft: Path) -> str:
    """By what stands in the draft directory."""
    if any(draft.glob("draft-*.h5")):
        return "copying it out"
    return "making the file" if any(draft.glob(".draft-*.h5.part")) else "asking"


def cpu_of(pid: int) -> tuple[float, float]:
    """CPU seconds of its main thread and of the others, those that have ended too."""
    whole, main = (
        sum(map(int, Path(path).read_text().rpartition(")")[2].split()[11:13])) / TICK
        for path in (f"/proc/{pid}/stat", f"/proc/{pid}/task/{pid}/stat")
    )
    return main, whole - main


def prove(file: Path, names: list[str], hertz: Fraction) -> int:
    """Every value of the file is the formula's; gives how many rows there are."""
    from dmtools.simulators.datalogger import signals

    rows = 0
    with h5py.File(file) as found:
        start, end = (datetime.fromisoformat(found.attrs[key]) for key in ("start", "end"))
        ticks = signals.ticks(hertz, round(start.timestamp() * 1000), round(end.timestamp() * 1000))
        numbers = np.arange(ticks.start, ticks.stop)
        for name in names:
            table = found[name][:]
            assert np.array_equal(table["utc_seconds"], signals.times_ms(hertz, numbers) / 1000), name
            assert np.array_equal(table["value"], signals.values(name, numbers) / 10000), name
            rows += len(table)
    assert datetime.now(UTC) - end < timedelta(days=2)
    return rows


if __name__ == "__main__":
    sys.exit(main())
