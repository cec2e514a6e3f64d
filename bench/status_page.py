"""How fast the status page is: .venv/bin/python bench/status_page.py [--seconds N] [--clients N] [--rows N]

A fresh HOME with a million finished files and five million journal rows behind it (--rows N: another number of them), dm-web as
it stands, and clients in processes of their own, each with one connection that stays open:

flood   50 clients, each sends its next request when it has the answer: requests a second, and the slowest
steady  50 clients, 300 requests a second in all, sent by the clock whatever the answers: the 99th of 100

An answer counts from the moment at which its request was due; how late a busy machine woke the client for it is told beside.
Raw samples go to --samples FILE.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "for the bench alone"
Sample = tuple[float, float, float]  # when it was due, how late the machine let us send it, seconds to the whole answer
PROCESSES = 2  # that share the clients
RATE = 300


def dm(name: str, *words: object, home: Path, stdin: str = "") -> None:
    argv = [sys.executable, str(ROOT / "bin" / name), *map(str, words)]
    subprocess.run(
        argv, env=os.environ | {"DMTOOLS_HOME": str(home)}, input=stdin.encode(), stdout=subprocess.DEVNULL, check=True
    )


def history(home: Path, rows: int) -> None:
    """A journal of so many rows, and the tables as a fifth of so many finished files leave them."""
    import sqlite3

    with sqlite3.connect(home / "dmtools.db") as raw:
        raw.execute(
            "INSERT INTO journal (at, pipeline, kind, item, from_state, to_state, by) "
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "SELECT datetime('now', '-' || (? - i) || ' seconds') || '.000000', 'migrate', 'file', i / 5, 'DOING', 'Okay', 'x' "
            "FROM n",
            (rows, rows),
        )
        raw.execute(
            "INSERT INTO flow (pipeline, state, bucket, n, bytes) "
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 105120) "
            "SELECT 'migrate', s, datetime(strftime('%s', 'now') / 300 * 300 - 300 * i, 'unixepoch') || '.000000', 100, 100000000"
            " FROM n, (SELECT 'Okay' AS s UNION SELECT 'TODO' UNION SELECT 'DOING')"
        )
        raw.execute("INSERT INTO tally VALUES ('migrate', 'Okay', 0, ?, ?)", (rows // 5, rows * 10**6))


def sign_in(url: str) -> str:
    """The cookie of a session."""
    place = urlsplit(url).netloc
    client = http.client.HTTPConnection(place)
    client.request("GET", "/sign-in")
    answer = client.getresponse()
    page, cookie = answer.read().decode(), answer.headers["Set-Cookie"].partition(";")[0]
    mark = page.partition('name="mark" value="')[2].partition('"')[0]
    body = urlencode({"mark": mark, "name": "bench", "password": PASSWORD, "next": "/"})
    client.request("POST", "/sign-in", body, {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"})
    answer = client.getresponse()
    answer.read()
    assert answer.status == 303, answer.status
    return str(answer.headers["Set-Cookie"].partition(";")[0])


def one_client(place: str, cookie: str, dues: list[float] | None, end: float, found: list[Sample]) -> None:
    """Sends a request whenever one is due, or at once, until the end; keeps the samples."""
    client = http.client.HTTPConnection(place, timeout=30)
    number = 0
    while (due := dues[number] if dues is not None and number < len(dues) else time.monotonic()) < end:
        if dues is not None:
            if number >= len(dues):
                break
            time.sleep(max(0.0, due - time.monotonic()))
        late = time.monotonic() - due
        client.request("GET", "/", headers={"Cookie": cookie})
        answer = client.getresponse()
        body = answer.read()
        assert answer.status == 200, answer.status
        assert len(body) > 5000
        found.append((due, late, time.monotonic() - due))
        number += 1


def some_clients(
    place: str, cookie: str, numbers: range, clients: int, steady: bool, begin: float, seconds: float
) -> list[Sample]:
    """One process's share: a thread a client."""
    found: list[Sample] = []
    gap = clients / RATE
    threads = []
    for number in numbers:
        dues = [begin + gap * (number / clients + turn) for turn in range(int(seconds / gap))] if steady else None
        threads.append(threading.Thread(target=one_client, args=(place, cookie, dues, begin + seconds, found)))
    time.sleep(max(0.0, begin - time.monotonic()))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def load(url: str, cookie: str, clients: int, seconds: float, *, steady: bool) -> list[Sample]:
    """All samples of all clients."""
    place, begin = urlsplit(url).netloc, time.monotonic() + 1
    shares = [range(start, clients, PROCESSES) for start in range(PROCESSES)]
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        jobs = [(place, cookie, share, clients, steady, begin, seconds) for share in shares]
        return [sample for found in pool.starmap(some_clients, jobs) for sample in found]


def told(name: str, samples: list[Sample], seconds: float) -> None:
    times, late = sorted(taken for _, _, taken in samples), sorted(late for _, late, _ in samples)
    at = {share: times[min(len(times) - 1, int(len(times) * share))] * 1000 for share in (0.5, 0.9, 0.99)}
    print(f"{name}: {len(times):,} requests, {len(times) / seconds:,.0f} a second; median {at[0.5]:.1f} ms", end="")
    print(f", 90th of 100 {at[0.9]:.1f} ms, 99th {at[0.99]:.1f} ms, slowest {times[-1] * 1000:.0f} ms", end="")
    print(f"; the machine woke the clients late by {late[int(len(late) * 0.99)] * 1000:.1f} ms (99th)")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seconds", type=float, default=15)
    words.add_argument("--clients", type=int, default=50)
    words.add_argument("--rows", type=int, default=5_000_000)
    words.add_argument("--samples", type=Path)
    given = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="dm-bench-") as temporary:
        home = Path(temporary) / "home"
        dm("dm-config", "init", home, home=home)
        dm("dm-web", "user", "add", "bench", "--role", "shifter", home=home, stdin=PASSWORD + "\n")
        history(home, given.rows)
        server = subprocess.Popen(
            [sys.executable, str(ROOT / "bin/dm-web"), "--port", "0", "--home", str(home)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            url = server.stdout.readline().partition("listening on ")[2].strip()
            cookie = sign_in(url)
            print(f"{given.rows:,} journal rows, {given.clients} clients on loopback, load average {os.getloadavg()[0]:.1f}")
            found = {}
            for name, steady in (("flood", False), ("steady", True)):
                found[name] = load(url, cookie, given.clients, given.seconds, steady=steady)
                told(name, found[name], given.seconds)
            if given.samples:
                given.samples.write_text(json.dumps(found))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
