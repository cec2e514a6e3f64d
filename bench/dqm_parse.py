"""dqm-parser: pages a second, how soon a grab is public, and a pass killed at every call.

    .venv/bin/python bench/dqm_parse.py [--jobs 300] [--pages 20] [--rounds 3] [--latency 20]
    .venv/bin/python bench/dqm_parse.py --sweep [--most 40]

Pages are as DQM^2 gives them, with all their buttons, comments and hidden twins (some 4 kB a job). `parse`: bytes to a record;
`page`: bytes to all the files of a public generation, cleaned. `no logs`: none is open. `moving`: all logs are open, and of
each running job's one line is new since the page before, as a live page is; `cold`: no line was ever seen. Seconds are those
of the processor. `latency`: dqm-parser --loop in a HOME of its own; from the rename of a grab to the public page, each sample.
`--sweep`: a pass is killed at each of its calls that write, the next pass must make it good.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dmtools import clock  # noqa: E402
from dmtools.dqm import generations  # noqa: E402
from dmtools.dqm.parsing import dom  # noqa: E402
from dmtools.dqm.parsing.keys import Keys  # noqa: E402
from dmtools.dqm.parsing.making import Maker, Of  # noqa: E402
from dmtools.dqm.parsing.redacting import Cleaner  # noqa: E402
from dmtools.settings.dqm import Dqm  # noqa: E402
from tests.dqm.pages import AT, Source, some_jobs  # noqa: E402
from tests.dqm.parser_steps import Mirror  # noqa: E402

LINES = (
    "Begin processing the {n}th record. Run 380001, Event {n}13, LumiSection 23 on stream 0 at 25-Nov-2026 12:00:00.123 CET",
    "%MSG-i DqmStreamer: opened /fff/BU0/output/run380001/run380001_ls{n:04d}_streamDQM_dqmrubu-c2a06-01-01.dat, events {n}",
)


def page(jobs: int, number: int, lines: int, moved: int) -> bytes:
    """The page at an instant: each job's log has `lines` lines at its start and at its end, `moved` of them are new each time."""
    found = some_jobs(jobs)
    for job in found:
        first = job.number * 100_000
        new = number * moved if job.exit_code is None else 0
        start = "\n".join(LINES[n % 2].format(n=first + n) for n in range(lines))
        end = "\n".join(LINES[n % 2].format(n=first + n) for n in range(50_000 + new, 50_000 + new + lines))
        job.log = (start, end) if lines else ()
        job.events = 1000 + number
    return Source(found, at=AT).html()


def rate(make: Callable[[bytes], object], html: list[bytes]) -> float:
    """Pages a second of processor time."""
    begun = time.process_time()
    for one in html:
        make(one)
    return len(html) / (time.process_time() - begun)


def speed(jobs: int, count: int, rounds: int) -> None:
    """The figures of parsing."""
    kinds = {"no logs": (0, 0, False), "moving": (30, 1, False), "cold": (30, 4, True)}
    for name, (lines, moved, cold) in kinds.items():
        html = [page(jobs, number, lines, moved) for number in range(count if not cold else 3)]
        size = sum(map(len, html)) / len(html) / 1e6
        samples = []
        for _ in range(rounds):
            maker = Maker(Cleaner(Dqm()), Keys(b"k" * 32))
            whole = lambda one, maker=maker: maker.make(dom.read(one), Of("production", True, AT), {})  # noqa: E731
            if not cold:
                whole(html[0])
                samples.append(rate(whole, html[1:]))
            else:
                fresh = lambda one: Maker(Cleaner(Dqm()), Keys(b"k" * 32)).make(dom.read(one), Of("p", True, AT), {})  # noqa: E731
                samples.append(rate(fresh, html))
        told(f"page,  {jobs} jobs, {name}, {size:.1f} MB", samples, "pages/s")
        told(f"parse, {jobs} jobs, {name}, {size:.1f} MB", [rate(dom.read, html) for _ in range(rounds)], "pages/s")


def told(what: str, samples: list[float], unit: str) -> None:
    said = " ".join(f"{sample:.3g}" for sample in samples)
    print(f"{what}: median {statistics.median(samples):.3g} {unit}  ({said})", flush=True)


def home(place: Path) -> Path:
    """A fresh HOME."""
    subprocess.run([sys.executable, ROOT / "bin/dm-config", "init", place], check=True, stdout=subprocess.DEVNULL)
    return place


def latency(jobs: int, samples: int) -> None:
    """From a grab to the public page, with the default settings."""
    with tempfile.TemporaryDirectory() as directory:
        mirror = Mirror(home(Path(directory) / "home"))
        found = []
        with mirror.loop() as process:
            for number in range(samples):
                source = Source(some_jobs(jobs), at=clock.now())
                source.jobs[0].events = number + 1
                made = mirror.grab(source)
                while not (live := generations.newest(mirror.public / "production/live")) or live.number <= number:
                    assert process.poll() is None
                    time.sleep(0.002)
                found.append((live.made - made.made).total_seconds())
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    told(f"latency of a grab, {jobs} jobs", found, "s")


def sweep(most: int) -> None:
    """Every call of a pass that writes, killed."""
    from tests.dqm.test_parser_publishing import killed_and_mended, numbered
    from tests.faults import calls
    from tests.faults import sweep as points
    from tests.support import command, environment

    def prepared(place: Path) -> Mirror:
        mirror = Mirror(home(place))
        mirror.grab(numbered(1))
        mirror.parse()
        mirror.grab(numbered(2))
        return mirror

    with tempfile.TemporaryDirectory() as directory:
        mirror = prepared(Path(directory) / "home")
        argv = [sys.executable, *command("dqm-parser")[1:]]
        found = calls.relevant(argv, environment(mirror.home), mirror.home, Path(directory) / "trace")
    chosen = points.sample(found, most, 1) if most else found
    hit = 0
    for call in chosen:
        with tempfile.TemporaryDirectory() as directory:
            was_hit = killed_and_mended(prepared(Path(directory) / "home"), call)
        hit += was_hit
        print(f"{call.name} {call.number} {call.subject}: {'killed' if was_hit else 'survived'}, good", flush=True)
    print(f"{len(chosen)} of {len(found)} points, {hit} killed, all good")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--jobs", type=int, default=300)
    words.add_argument("--pages", type=int, default=20)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--latency", type=int, default=20)
    words.add_argument("--sweep", action="store_true")
    words.add_argument("--most", type=int, default=0)
    given = words.parse_args()
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    if given.sweep:
        sweep(given.most)
        return
    speed(given.jobs, given.pages, given.rounds)
    if given.latency:
        latency(given.jobs, given.latency)


if __name__ == "__main__":
    main()
