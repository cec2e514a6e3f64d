"""Two sides of a comparison, alternated after a warm-up: raw samples, medians, their ratio."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"


@dataclass(frozen=True)
class Sample:
    """One run: wall seconds, CPU seconds (user + system), the most memory of one process in kB."""

    wall: float
    cpu: float
    kb: int


def timed(argv: Sequence[object], *, cwd: Path | None = None, home: Path | None = None, codes: Sequence[int] = (0,)) -> Sample:
    """Runs a command to its end and reads what the kernel booked for it."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("DMTOOLS_") and key != "PYTHONDONTWRITEBYTECODE"}
    if home is not None:
        env["DMTOOLS_HOME"] = str(home)
    begun = time.perf_counter()
    process = subprocess.Popen([str(word) for word in argv], cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read() if process.stderr else b""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begun
    if process.returncode not in codes:
        sys.exit(f"{argv} gave {process.returncode}: {said.decode(errors='replace')[-2000:]}")
    return Sample(wall, used.ru_utime + used.ru_stime, used.ru_maxrss)


def dm(name: str, *args: object, home: Path, codes: Sequence[int] = (0,)) -> Sample:
    """Runs one of our commands."""
    return timed([PYTHON, ROOT / "bin" / name, *args], home=home, codes=codes)


def settle() -> None:
    """Nothing that an earlier run left to be written may be paid by the next one."""
    os.sync()


def alternate(sides: dict[str, Callable[[], Sample]], runs: int, value: Callable[[Sample], float], unit: str) -> dict[str, float]:
    """Runs the sides in turn; prints every sample; gives the median of each."""
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    for number in range(-1, runs):
        for name, run in sides.items():
            settle()
            sample = run()
            if number >= 0:
                samples[name].append(sample)
    medians = {}
    for name, found in samples.items():
        medians[name] = statistics.median(value(s) for s in found)
        raw = ", ".join(f"{value(s):.3f}" for s in found)
        print(f"  {name}: median {medians[name]:.3f} {unit}; samples {raw}; most memory {max(s.kb for s in found) // 1024} MB")
    return medians


def verdict(text: str, ratio: float, target: float, *, most: bool) -> None:
    """A ratio against its target, said plainly."""
    met = ratio <= target if most else ratio >= target
    print(f"{text}: {ratio:.2f} (target {'at most' if most else 'at least'} {target}): {'met' if met else 'MISSED'}", flush=True)


def children_cpu() -> float:
    """CPU seconds of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
