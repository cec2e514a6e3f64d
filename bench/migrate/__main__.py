"""How fast migrate is, and against what: .venv/bin/python bench/migrate [producer|polls|idle|engine ...] [--runs N] [--small]

producer  a master list of 1,000,000 LFNs -> 50,000 durable lists and rows, against `split -l 20` of the same list
polls     10,000 open jobs: one request per 100 jobs, against one request a job, on the same server
idle      a pass with nothing to do, against `python -c "import click, sqlalchemy"`; at 1,000 and at 1,000,000 finished files
engine    plan, submit, poll, verify, book: files a second against a server that finishes at once
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from sides import PYTHON, ROOT, Sample, alternate, dm, settle, timed, verdict


def make_master(path: Path, lfns: int) -> None:
    """Names as an experiment has them."""
    with path.open("w", encoding="ascii") as file:
        for n in range(lfns):
            file.write(f"/lhcb/prod/MC/2016/ALLSTREAMS.DST/{n // 1000:08d}/0000/{n:08d}_{n % 10}.AllStreams.dst\n")


def fresh(home: Path) -> None:
    """A new HOME that lets as many jobs be open as there are."""
    shutil.rmtree(home, ignore_errors=True)
    dm("dm-config", "init", home, home=home)
    settings = home / "dmtools.toml"
    settings.write_text(
        "[migrate]\nmax_open_jobs = 1000000\n" + settings.read_text("utf-8").replace("[migrate]", "# [migrate]"), "utf-8"
    )


def producer(place: Path, runs: int, small: bool) -> None:
    lfns = 100_000 if small else 1_000_000
    print(f"producer: {lfns:,} LFNs -> {lfns // 20:,} lists")
    master, home, pieces = place / "lfns", place / "home", place / "split"
    make_master(master, lfns)

    def split() -> Sample:
        shutil.rmtree(pieces, ignore_errors=True)
        pieces.mkdir()
        settle()
        return timed(["split", "-a", "5", "-l", "20", master, pieces / "x"])

    def ours() -> Sample:
        fresh(home)
        shutil.copy(master, home / "migrate/TODO/ListOfLFNs/lfns")
        settle()
        return dm("migrate-producer", "--lists", 0, home=home)

    medians = alternate(
        {"split -a 5 -l 20 (not durable)": split, "migrate-producer --lists 0 (durable, with rows)": ours}, runs, wall, "s"
    )
    same_lists(home, pieces)
    low, high = medians.values()
    verdict("producer / split, wall", high / low, 3, most=True)


def same_lists(home: Path, pieces: Path) -> None:
    """Equal output: as many lists, and the same LFNs in the same order; and a row for each."""
    todo = sorted(p for p in (home / "migrate/TODO").iterdir() if p.is_file())
    parts = sorted(pieces.iterdir())
    todo.sort(key=lambda p: (p.name.split("-")[1], int(p.stem.rsplit("-", 1)[1])))
    rows = sqlite3.connect(home / "dmtools.db").execute("select count(*) from filelist where state = 'TODO'").fetchone()[0]
    root = f"file://{home}/demo/castor"
    ours = [line.split("  ")[0].removeprefix(root) for p in todo for line in p.read_text().splitlines() if line[0] != "#"]
    theirs = [line for p in parts for line in p.read_text().splitlines()]
    if len(todo) != len(parts) or ours != theirs or rows != len(parts):
        sys.exit(f"the two sides differ: {len(todo)} lists, {rows} rows, {len(ours)} LFNs against {len(parts)} and {len(theirs)}")
    print(f"  equal output: {len(parts):,} lists, {len(theirs):,} LFNs in the same order, {rows:,} rows")


@contextmanager
def servers(home: Path, *options: str) -> Iterator[None]:
    """The two FTS servers of this HOME."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    argv = [PYTHON, ROOT / "bin/dm-sim", "fts", "--port", "0", "--home", home, *options]
    process = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    try:
        assert process.stdout is not None
        for _ in range(2):
            if b"listening" not in process.stdout.readline():
                sys.exit("dm-sim fts did not start")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def sources(home: Path, files: int) -> None:
    """Small real files, and the master list that names them."""
    root = home / "demo/castor"
    with (home / "migrate/TODO/ListOfLFNs/lfns").open("w") as master:
        for n in range(files):
            folder = root / f"d{n // 1000}"
            if n % 1000 == 0:
                folder.mkdir()
            (folder / f"f{n}").write_bytes(b"%d" % n * 100)
            master.write(f"/d{n // 1000}/f{n}\n")


def engine(place: Path, runs: int, small: bool) -> None:
    files = 10_000 if small else 100_000
    print(f"engine: {files:,} files, 20 a job, against a server that finishes at once; sqlite at synchronous=FULL")
    rates = []
    for number in range(-1, runs):
        home = place / "home"
        fresh(home)
        sources(home, files)
        with servers(home, "--instant"):
            dm("migrate-producer", "--lists", 0, home=home)
            settle()
            consumer = dm("migrate-consumer", "--lists", 0, home=home)
            monitor = dm("migrate-monitor", home=home)
        done = sqlite3.connect(home / "dmtools.db").execute("select count(*) from transfer where state = 'Okay'").fetchone()[0]
        if done != files:
            sys.exit(f"only {done} of {files} files are Okay")
        rate = files / (consumer.wall + monitor.wall)
        cpu = files / (consumer.cpu + monitor.cpu)
        what = f"consumer {consumer.wall:.2f} s, monitor {monitor.wall:.2f} s"
        print(f"  {'warm-up: ' if number < 0 else ''}{what}: {rate:,.0f} files/s ({cpu:,.0f} files a CPU second)")
        if number >= 0:
            rates.append(rate)
    verdict("engine, files a second (median)", sorted(rates)[len(rates) // 2], 5000, most=False)


def idle(place: Path, runs: int, small: bool) -> None:
    print("idle: CPU of a pass with nothing to do")
    many = 100_000 if small else 1_000_000
    homes = {1_000: place / "few", many: place / "many"}
    for finished, home in homes.items():
        fresh(home)
        history(home, finished)
    sides = {'python -c "import click, sqlalchemy"': lambda: timed([PYTHON, "-c", "import click, sqlalchemy"])}
    for finished, home in homes.items():
        for name in ("migrate-producer", "migrate-consumer", "migrate-monitor"):
            sides[f"{name}, {finished:,} finished files"] = lambda name=name, home=home: dm(name, home=home)
    medians = alternate(sides, runs * 4, lambda s: s.cpu, "CPU s")
    base = next(iter(medians.values()))
    for name, value in list(medians.items())[1:]:
        verdict(f"{name} / import of click and sqlalchemy", value / base, 1.15, most=True)
    for name in ("migrate-producer", "migrate-consumer", "migrate-monitor"):
        few, lots = (medians[f"{name}, {finished:,} finished files"] for finished in homes)
        verdict(f"{name}, {many:,} / 1,000 finished files", lots / few, 1.05, most=True)


def history(home: Path, files: int) -> None:
    """Finished lists and files, with their jobs and journal, as the passes leave them."""
    base = sqlite3.connect(home / "dmtools.db")
    at = "2026-01-01 00:00:00.000000"
    (home / "run/home-id").write_text("bench\n")
    common = {"pipeline": "migrate", "since": at}
    listed = {**common, "home": "bench", "state": "done", "files": 20, "planned": 1, "attempt": 1}
    moved = {**common, "size": 1, "checksum": "adler32:00000001", "state": "Okay", "failures": 0, "tries": 1, "overwrite": 0}
    closed = {**common, "attempt": 1, "server": "fts1", "sid": "s", "vo": "v", "state": "closed", "files": 20, "bytes": 20}
    booked = {"pipeline": "migrate", "at": at, "kind": "file", "from_state": "DOING", "to_state": "Okay", "by": "migrate-monitor"}
    lists = range(1, files // 20 + 1)
    insert(base, "filelist", ({**listed, "id": i, "name": f"L{i}", "name_key": os.urandom(32)} for i in lists))
    insert(base, "transfer", ({**moved, **place_of(i)} for i in range(files)))
    insert(base, "ftsjob", ({**closed, "list_id": i, "job": f"j{i}"} for i in lists))
    insert(base, "journal", ({**booked, "item": i} for i in range(files)))
    base.commit()
    base.close()


def place_of(i: int) -> dict[str, object]:
    """Where the file number i was and is."""
    urls = {"name": f"/f{i}", "source": f"file:///s/f{i}", "destination": f"file:///d/f{i}"}
    return {**urls, "name_key": os.urandom(32), "place_key": os.urandom(32), "list_id": i // 20 + 1, "job_id": i // 20 + 1}


def insert(base: sqlite3.Connection, table: str, rows: Iterator[dict[str, object]]) -> None:
    """Many rows into one table; the first says which columns."""
    first = next(rows)
    columns = ", ".join(f'"{name}"' for name in first)
    marks = ", ".join("?" for _ in first)
    base.executemany(f"insert into {table} ({columns}) values ({marks})", (tuple(r.values()) for r in chain([first], rows)))


def polls(place: Path, runs: int, small: bool) -> None:
    jobs = 2_000 if small else 10_000
    print(f"polls: {jobs:,} open jobs at one server, one file each; the engine's bulk request against one a job")
    home = place / "home"
    fresh(home)
    with servers(home, "--running", "1"):
        (home / "run/sim/fts1.faults.toml").write_text('[[fault]]\nmatch = "*"\nop = "stall"\nseconds = 100000\n')
        code = POLLS.replace("HOME", str(home)).replace("JOBS", str(jobs))
        out = subprocess.run([PYTHON, "-c", code, str(runs)], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    found = json.loads(out)
    for side in ("one a job", "100 a request"):
        print(f"  {side}: microseconds a job: {', '.join(f'{s:.1f}' for s in found[side])}")
    single, bulk = (sorted(found[side])[len(found[side]) // 2] for side in ("one a job", "100 a request"))
    verdict("one request a job / 100 jobs a request, wall per job", single / bulk, 30, most=False)


POLLS = """
import json, sys, time, uuid
from pathlib import Path
from dmtools.settings import load
from dmtools.transfers.servers import ask
from fts3.rest.client import easy
server = ask(load(None, Path("HOME")), ["fts1"]).up["fts1"]
jobs = []
for n in range(JOBS):
    file = {"sources": [f"https://a.example/{n}"], "destinations": [f"https://b.example/{n}"]}
    jobs.append(server.submit([file], {"sid": str(n), "id_generator": "deterministic"}))
context = server._context
def single(part):
    begun = time.perf_counter()
    states = {job: easy.get_job_status(context, job, list_files=False)["job_state"] for job in part}
    return (time.perf_counter() - begun) / len(part) * 1e6, states
def bulk(part):
    begun = time.perf_counter()
    states = {}
    for start in range(0, len(part), 100):
        states |= {s.job: s.state for s in server.statuses(part[start:start + 100])}
    return (time.perf_counter() - begun) / len(part) * 1e6, states
found = {"one a job": [], "100 a request": []}
for number in range(-1, int(sys.argv[1])):
    one, a = single(jobs[:500])
    many, b = bulk(jobs)
    assert len(b) == len(jobs) and all(b[job] == state for job, state in a.items()), "the sides differ"
    if number >= 0:
        found["one a job"].append(one); found["100 a request"].append(many)
print(json.dumps(found))
"""


def wall(sample: Sample) -> float:
    return sample.wall


def main() -> None:
    benches = {"producer": producer, "polls": polls, "idle": idle, "engine": engine}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", choices=[*benches, []], help="which (all)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a tenth of the size, to try it")
    options = parser.parse_args()
    for name in options.which or list(benches):
        place = Path(tempfile.mkdtemp(prefix="dm-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")))
        begun = time.perf_counter()
        try:
            benches[name](place, options.runs, options.small)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        print(f"  ({time.perf_counter() - begun:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
