"""How fast dqm-server is: .venv/bin/python bench/dqm_serve.py [--seconds N] [--clients N] [--jobs N] [--samples FILE]

A fresh HOME with pages of 300 jobs as dqm-parser writes them, a page that changes each second, dqm-server as it stands, and 50
clients in one process without threads: sockets that stay open, epoll, the next request when the whole answer is there. So the
client costs little; its share of the CPU is told, for on two cores it is taken from the server.

page      the whole page of a site, 50 clients at once: requests a second, median, 99th of 100, slowest
fragment  what a browser asks for when there is news, packed, as browsers ask
health    the API's answer on how all sites stand
listeners the page again, while 200 others listen to events
beside    the same bytes of the page as a file, by python3 -m http.server and, where it is installed, by nginx

Raw samples (seconds) go to --samples FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dmtools import clock  # noqa: E402
from tests.dqm import public  # noqa: E402
from tests.dqm.pages import Source, some_jobs  # noqa: E402

HEAD = "GET {path} HTTP/1.1\r\nHost: mirror\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,*/*\r\n{more}\r\n"
PACKED = "Accept-Encoding: gzip, deflate\r\n"


class Client:
    """One connection: what it sent, when, and how much of the answer has come."""

    def __init__(self, place: tuple[str, int], request: bytes) -> None:
        self.place, self.request = place, request
        self.wire = self.connect()

    def connect(self) -> socket.socket:
        wire = socket.create_connection(self.place, 30)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.setblocking(False)
        return wire

    def send(self) -> None:
        self.sent, self.got, self.whole, self.closes = time.perf_counter(), 0, 0, False
        self.wire.send(self.request)

    def receive(self) -> bool:
        """Is the answer whole?"""
        data = self.wire.recv(1 << 20)
        assert data, "the server closed in the middle of an answer"
        if not self.whole:
            head = data.index(b"\r\n\r\n") + 4
            lines = data[:head].lower()
            assert lines.startswith((b"http/1.1 200", b"http/1.0 200")), data[:100]
            self.whole = head + int(lines.partition(b"content-length: ")[2].partition(b"\r")[0])
            self.closes = lines.startswith(b"http/1.0")
        self.got += len(data)
        return self.got >= self.whole


def load(url: str, path: str, clients: int, seconds: float, more: str = "") -> list[float]:
    """All samples: seconds from a request to its whole answer."""
    place = urlsplit(url)
    request = HEAD.format(path=path, more=more).encode()
    poll, known, found = select.epoll(), {}, []
    for _ in range(clients):
        one = Client((str(place.hostname), int(place.port or 80)), request)
        known[one.wire.fileno()] = one
        poll.register(one.wire, select.EPOLLIN)
    for one in known.values():
        one.send()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for handle, _ in poll.poll(1):
            one = known[handle]
            if not one.receive():
                continue
            found.append(time.perf_counter() - one.sent)
            if one.closes:  # as http.server does after each answer
                poll.unregister(one.wire)
                del known[handle]
                one.wire.close()
                one.wire = one.connect()
                known[one.wire.fileno()] = one
                poll.register(one.wire, select.EPOLLIN)
            one.send()
    for one in known.values():
        one.wire.close()
    return found


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) << 10


@contextmanager
def running(argv: list[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def changing(home: Path, jobs: int) -> Iterator[None]:
    """Each second there is a new page, from a process of its own."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from bench.dqm_serve import change; change({str(home)!r}, {jobs})"
    with running([sys.executable, "-c", script]):
        yield


def change(home: str, jobs: int) -> None:
    while True:
        began = time.monotonic()
        public.publish(Path(home), Source(some_jobs(jobs), at=clock.now()))
        public.says(Path(home))
        time.sleep(max(0.0, 1 - (time.monotonic() - began)))


def told(name: str, samples: list[float], seconds: float, spent: float, mine: float) -> None:
    times = sorted(samples)
    at = {share: times[min(len(times) - 1, int(len(times) * share))] * 1000 for share in (0.5, 0.9, 0.99)}
    print(f"{name}: {len(times):,} requests, {len(times) / seconds:,.0f} a second; median {at[0.5]:.1f} ms", end="")
    print(f", 90th of 100 {at[0.9]:.1f} ms, 99th {at[0.99]:.1f} ms, slowest {times[-1] * 1000:.0f} ms", end="")
    print(f"; CPU of the server {spent / seconds * 100:.0f} %, of the clients {mine / seconds * 100:.0f} %", flush=True)


def measured(name: str, pid: int, url: str, path: str, given: argparse.Namespace, more: str = "") -> list[float]:
    before, mine = cpu(pid), time.process_time()
    samples = load(url, path, given.clients, given.seconds, more)
    told(name, samples, given.seconds, cpu(pid) - before, time.process_time() - mine)
    return samples


def crowd(url: str, count: int) -> list[socket.socket]:
    """Listeners; what they are told is read by a thread, so that none is let go."""
    place, found = urlsplit(url), []
    for _ in range(count):
        wire = socket.create_connection((str(place.hostname), int(place.port or 80)), 30)
        wire.sendall(b"GET /events HTTP/1.1\r\nHost: mirror\r\n\r\n")
        found.append(wire)

    def read() -> None:
        poll, known = select.poll(), {wire.fileno(): wire for wire in found}
        for handle in known:
            poll.register(handle, select.POLLIN)
        with suppress(OSError):
            while any(known[handle].recv(65536) for handle, _ in poll.poll(5000)):
                pass

    threading.Thread(target=read, daemon=True).start()
    return found


def beside(body: bytes, given: argparse.Namespace, found: dict[str, list[float]]) -> None:
    """Those who serve files, with the same bytes."""
    with tempfile.TemporaryDirectory(prefix="dm-beside-") as place:
        (Path(place) / "page.html").write_bytes(body)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", place]
        sides = {"python3 -m http.server": argv}
        if shutil.which("nginx"):
            text = f"daemon off; master_process off; pid {place}/pid; error_log stderr; events {{}}\n"
            text += (
                f"http {{ access_log off; keepalive_requests 1000000; server {{ listen 127.0.0.1:{port}; root {place}; }} }}\n"
            )
            (Path(place) / "nginx.conf").write_text(text)
            sides["nginx, one worker"] = ["nginx", "-p", place, "-c", f"{place}/nginx.conf"]
        for name, words in sides.items():
            with running(words) as process:
                for _ in range(100):
                    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                        break
                    time.sleep(0.05)
                found[name] = measured(f"beside: {name}", process.pid, f"http://127.0.0.1:{port}", "/page.html", given)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seconds", type=float, default=10)
    words.add_argument("--clients", type=int, default=50)
    words.add_argument("--jobs", type=int, default=300)
    words.add_argument("--samples", type=Path)
    given = words.parse_args()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="dm-bench-") as temporary:
        home = Path(temporary) / "home"
        subprocess.run([sys.executable, str(ROOT / "bin/dm-config"), "init", str(home)], stdout=subprocess.DEVNULL, check=True)
        public.tree(home, given.jobs, old_runs=15)
        argv = [sys.executable, str(ROOT / "bin/dqm-server"), "--port", "0", "--home", str(home)]
        with running(argv) as server:
            assert server.stdout is not None
            url = server.stdout.readline().partition("listening on ")[2].strip()
            print(f"{given.jobs} jobs a page, {given.clients} clients, load average {os.getloadavg()[0]:.1f}", end="; ")
            import urllib.request

            with urllib.request.urlopen(f"{url}/sites/production", timeout=30) as answer:
                body = answer.read()
            print(f"a page has {len(body):,} bytes")
            with changing(home, given.jobs):
                one = "/sites/production"
                found["page"] = measured("page", server.pid, url, one, given)
                found["fragment"] = measured("fragment, packed", server.pid, url, f"{one}/fragment", given, PACKED)
                found["health"] = measured("health", server.pid, url, "/api/v1/health", given)
                listeners = crowd(url, 200)
                found["listeners"] = measured("page, and 200 listen", server.pid, url, one, given)
                for wire in listeners:
                    wire.close()
            print(f"memory of the server: {memory(server.pid) / 1e6:.0f} MB")
        beside(body, given, found)
    if given.samples:
        given.samples.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
