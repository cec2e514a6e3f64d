"""Claim + advance of lta bundles on MariaDB by 16 clients: driver alone, directly, by lta-rest-server; figures of many.

    .venv/bin/python bench/lta_claims.py [--seconds 10] [--clients 16] [--bundles 100000] [--most 1 --most 20] [--only PART ...]
        [--rows 1000000] [--runs 5]

A private MariaDB (READ COMMITTED, its log flushed at each commit). Each client is a process: it claims Untouched bundles, one
at a time for so many seconds, or 20 at a time until all are had, and brings them to JsonMade. `driver` is the control: the same
statements by pymysql alone (bench/lta_claims_raw.py). Prints for each way: pairs of claim and advance a second and bundles a
second, the pairs of each client, the CPU milliseconds of a pair (clients, server, database) and so what all CPUs could do at
most, their ratio to the control's, and whether a bundle was had twice. Then `status` and the figures of dm-monitoring with
--rows bundles, each sample.
--only: driver, direct, rest or figures; it may come several times.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import lta_claims_raw  # noqa: E402
from sqlalchemy import insert, text  # noqa: E402

from dmtools import clock, names  # noqa: E402
from dmtools.ledger import Ledger, journal, open_ledger, schema, tables  # noqa: E402
from dmtools.lta import tokens  # noqa: E402
from dmtools.lta.api import ADMIN, LOCAL, OPERATOR, Books, answer  # noqa: E402
from dmtools.lta.api.bundles import Advance, BundleMove, Bundles, Claim  # noqa: E402
from dmtools.lta.api.sites import Figures, Status  # noqa: E402
from dmtools.lta.api.tokens import AddToken  # noqa: E402
from dmtools.lta.books import Who  # noqa: E402
from dmtools.lta.direct import Direct  # noqa: E402
from dmtools.lta.states import STATES, UNTOUCHED  # noqa: E402
from dmtools.settings import load  # noqa: E402
from tests.real_components import SBIN, MariaDb, as_user  # noqa: E402
from tests.support import command, environment  # noqa: E402

WANTED = {("direct", 1): 1000, ("rest", 1): 700, ("direct", 20): 5000, ("rest", 20): 5000}
SLOWEST = 0.050  # seconds of status and of monitoring
LONGEST = 600.0  # seconds of a race in which all bundles are to be had
TICK = os.sysconf("SC_CLK_TCK")


def database(place: Path) -> MariaDb:
    """A new one, with its log flushed at each commit."""
    start_as = as_user("mysql", "nobody")
    place.chmod(0o755)
    if start_as:
        subprocess.run(["chown", "-R", start_as[1].partition("=")[2], place], check=True)
    install = [*start_as, "mariadb-install-db", "--no-defaults", f"--datadir={place}/data", "--skip-test-db"]
    done = subprocess.run(
        [*install, "--auth-root-authentication-method=normal"], capture_output=True, env=environment(extra=SBIN)
    )
    assert done.returncode == 0, done.stderr
    sizes = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M", "--innodb-flush-log-at-trx-commit=1")
    return MariaDb(place, start_as).start(*sizes)


def fill(ledger: Ledger, n: int, states: tuple[str, ...] = (UNTOUCHED,)) -> None:
    """So many bundles in these states by turns, past the books, with their counts."""
    now = clock.now()
    row = {
        "destination": "nersc",
        "home": "h",
        "size": 1,
        "adler32": "0" * 8,
        "since": now,
        "ready": now,
        "fence": 0,
        "failures": 0,
    }
    for first in range(0, n, 5000):
        made = []
        for number in range(first, min(n, first + 5000)):
            ideal = f"/data/exp/{number:08d}.zip"
            keys = {
                "ideal": ideal,
                "ideal_key": names.key(ideal),
                "live_key": names.key(f"nersc\n{ideal}"),
                "name": f"file://{ideal}",
            }
            made.append({**row, **keys, "sha512": f"{number:0128x}", "state": states[number % len(states)]})
        ledger.transact(lambda c, rows=made: c.execute(insert(tables.lta_bundle), rows))  # type: ignore[misc]
    for number, state in enumerate(states):
        count = len(range(number, n, len(states)))
        ledger.transact(lambda c, s=state, k=count: journal.count_new(c, STATES.pipeline, s, k, k, now))  # type: ignore[misc]
    with ledger.write() as connection:
        if not ledger.sqlite:
            connection.execute(text("ANALYZE TABLE lta_bundle"))


def clear(ledger: Ledger) -> None:
    """No bundle is left."""
    for table in (tables.lta_bundle, tables.journal, tables.tally, tables.flow, tables.lta_answer):
        with ledger.write() as connection:
            connection.execute(text(f"TRUNCATE TABLE {table.name}"))


Begin = Callable[[int, int], Callable[[], list[int]]]  # a client by its number and how many a claim -> a pair of asks


def by_books(books_of: Callable[[], Books]) -> Begin:
    """Clients of our own tables, or of a server."""

    def begin(number: int, most: int) -> Callable[[], list[int]]:
        books = books_of()
        answer(books, Status(), Figures)  # the connection is open
        claim = Claim(states=(UNTOUCHED,), destination="nersc", most=most, holder=f"client {number}")

        def pair() -> list[int]:
            held = answer(books, claim, Bundles).bundles
            moves = tuple(BundleMove(id=one.id, fence=one.fence, before=UNTOUCHED, to="JsonMade") for one in held)
            return [one.id for one in answer(books, Advance(moves=moves), Bundles).bundles] if moves else []

        return pair

    return begin


def work(number: int, begin: Begin, most: int, at: float, until: float, out: Any) -> None:
    """One client: claims and advances until its time is over; what it had, and its CPU seconds."""
    pair = begin(number, most)
    time.sleep(max(0.0, at - time.time()))
    had: list[int] = []
    pairs = 0
    cpu = time.process_time()
    while time.time() < until and (done := pair()):
        had += done
        pairs += 1
    out.put((number, pairs, had, time.process_time() - cpu, time.time()))


def cpu_of(*pids: int) -> float:
    """CPU seconds that these processes have used."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def race(name: str, begin: Begin, most: int, options: argparse.Namespace, pids: dict[str, int]) -> float:
    """All clients at once; prints how it went and gives the CPU milliseconds of a pair."""
    forks = multiprocessing.get_context("fork")
    out = forks.Queue()
    at = time.time() + 4
    until = at + (options.seconds if most == 1 else LONGEST)
    clients = [forks.Process(target=work, args=(n, begin, most, at, until, out)) for n in range(options.clients)]
    before = {who: cpu_of(pid) for who, pid in pids.items()}
    for client in clients:
        client.start()
    results = sorted(out.get(timeout=LONGEST + 60) for _ in clients)
    for client in clients:
        client.join()
    spent = {who: cpu_of(pid) - before[who] for who, pid in pids.items()} | {"clients": sum(one[3] for one in results)}
    seconds = max(one[4] for one in results) - at
    pairs, had = sum(one[1] for one in results), [number for one in results for number in one[2]]
    rates = f"{pairs / seconds:.0f} pairs/s, {len(had) / seconds:.0f} bundles/s"
    print(f"{name}, {most} a claim: {rates} (wanted {WANTED.get((name, most), '-')}) in {seconds:.1f} s")
    print(f"  pairs of each client: {' '.join(str(one[1]) for one in results)}")
    each: dict[str, float] = {who: 1000 * used / max(1, pairs) for who, used in spent.items()}
    most_of_all = 1000 * (os.cpu_count() or 1) / sum(each.values())
    told = ", ".join(f"{who} {cost:.2f}" for who, cost in each.items())
    print(f"  CPU ms a pair: {told}, together {sum(each.values()):.2f}: {most_of_all:.0f} pairs/s would take all CPUs")
    print(f"  had: {len(had):,} of {options.bundles:,}, twice: {len(had) - len(set(had))}", flush=True)
    return sum(each.values())


def figures(ledger: Ledger, home: Path, options: argparse.Namespace) -> None:
    """Status and monitoring of many bundles."""
    from dmtools.control import figures as of_pipeline
    from dmtools.control import holds
    from dmtools.lta.register import PIPELINE

    clear(ledger)
    fill(ledger, options.rows, tuple(name for name in STATES.names() if name != "Abort"))
    settings = load(None, home)
    books = Direct(ledger, Who("bench", OPERATOR, LOCAL), settings)

    def monitoring() -> None:
        with ledger.read() as connection:
            at = clock.now()
            of_pipeline.of(connection, PIPELINE, holds.open_holds(connection, settings, at), at, settings)

    for name, ask in (("status", lambda: answer(books, Status(), Figures)), ("monitoring", monitoring)):
        ask()
        samples = []
        for _ in range(options.runs):
            began = time.perf_counter()
            ask()
            samples.append(time.perf_counter() - began)
        told = " ".join(f"{1000 * one:.1f}" for one in samples)
        print(f"{name} of {options.rows:,} bundles, ms: {told} (wanted: under {1000 * SLOWEST:.0f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--bundles", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--most", type=int, action="append")
    parser.add_argument("--only", choices=("driver", "direct", "rest", "figures"), action="append")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="dml-", dir="/tmp"))
    maria = database(place)
    server = None
    try:
        home = place / "home"
        subprocess.run([*command("dm-config", "init", home, "-q")], check=True)
        (home / "dmtools.toml").open("a").write(f'[database]\nurl = "{maria.url}"\n')
        settings = load(None, home)
        ledger = open_ledger(settings, check=False)
        schema.upgrade(ledger)
        admin = Direct(ledger, Who("bench", ADMIN), settings)
        admin.do(AddToken(name="bench", role="operator", sha256=tokens.hashed("bench")))
        assert maria.process is not None
        only = options.only or ["driver", "direct", "rest", "figures"]
        ways: dict[str, tuple[Begin, dict[str, int]]] = {}
        if "driver" in only:
            raw = lambda number, most: lta_claims_raw.client(open_ledger(settings).engine, number, most)  # noqa: E731
            ways["driver"] = (raw, {"database": maria.process.pid})
        if "direct" in only:
            direct = lambda: Direct(open_ledger(settings), Who("bench", OPERATOR, LOCAL), settings)  # noqa: E731
            ways["direct"] = (by_books(direct), {"database": maria.process.pid})
        if "rest" in only:
            argv = command("lta-rest-server", "--port", 0, "--home", home)
            server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment(home))
            assert server.stdout is not None
            url = server.stdout.readline().partition("listening on ")[2].strip()
            assert url, "lta-rest-server did not start"

            def rest() -> Books:
                from dmtools.lta import wire
                from dmtools.lta.away import Away

                return Away(wire.Wire(url, "bench"))

            ways["rest"] = (by_books(rest), {"database": maria.process.pid, "server": server.pid})
        print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {options.clients} clients, {options.bundles:,} bundles")
        for most in options.most or (1, 20):
            cost: dict[str, float] = {}
            for name, (begin, pids) in ways.items():
                clear(ledger)
                fill(ledger, options.bundles)
                cost[name] = race(name, begin, most, options, pids)
                if name != "driver" and "driver" in cost:
                    print(f"  {cost[name] / cost['driver']:.2f} times the CPU of the driver alone", flush=True)
        if "figures" in only:
            figures(ledger, home, options)
        print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
        ledger.close()
    finally:
        if server is not None:
            server.terminate()
            server.wait(30)
        maria.stop()
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
