"""dqm-server: what it serves and what never, what stays when a generation is bad, how old data are told."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import requests

from dmtools import clock
from dmtools.dqm import generations, record
from dmtools.dqm.record import Graph, Page
from dmtools.dqm.record import Job as Told
from tests.dqm import mirror as mirrors
from tests.dqm import public
from tests.dqm.mirror import crawl
from tests.dqm.pages import png, some_jobs
from tests.support import Server, run, wait_until

HEADERS = ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy")
EVIL = "<script>alert(1)</script>\"'&</td>"
CANARY = "canary-7f3a9"
PATHS = (
    *("/", "/help", "/healthz", "/static/mirror.css", "/static/live.js", "/static/icon.svg", "/sites/production"),
    *("/sites/production/fragment", "/sites/production/runs", "/sites/production/runs?bad=1", "/sites/playback"),
    *("/sites/production/compare?a=380000&b=379999", "/api/v1/health", "/api/v1/sites", "/api/v1/sites/production"),
    *("/api/v1/sites/production/jobs.csv", "/api/v1/sites/production/runs", "/api/v1/sites/production/runs/380000"),
    "/api/v1/sites/production/runs/380000/jobs.csv",
)


def live(home: Path) -> Path:
    return home / "dqm/public/production/live"


def publish(home: Path, word: str, place: Path | None = None, **more: Any) -> None:
    """A live page whose every part has the word: tag, log, the comment of its PNG."""
    at = clock.now()
    keys = [f"{n:016x}" for n in range(5)]
    jobs = tuple(Told(key=one, host="fu-...-01", state="running", at=at, tag=word, log=f"log-{one}.txt") for one in keys)
    told = {"site": "production", "live": True, "run": 380001, "grabbed": at, "data": at, "jobs": jobs}
    page = Page(**{**told, "graphs": (Graph(name="g", file="graph-1.png"),), **more})
    files = {f"log-{one}.txt": f"log of {word}\n".encode() for one in keys}
    files |= {"graph-1.png": png(8) + word.encode(), "page.json": msgspec.json.encode(page)}
    generations.publish(place or live(home), files)


def brought(home: Path, word: str, harm: Callable[[Path], object]) -> Path:
    """A generation that comes as rsync may bring it: harmed before anybody sees it. Gives where it lies."""
    publish(home, word, place=home / "elsewhere")
    made = next(iter(generations.every(home / "elsewhere")))
    harm(made.path)
    there = live(home) / f"g{max(generations.numbers(live(home))) + 1:010}"
    made.path.rename(there)
    return there


def exchange(url: str, sent: bytes) -> bytes:
    """What the server answers to these very bytes, until it closes."""
    place, answer = urlsplit(url), b""
    with socket.create_connection((place.hostname, place.port), 30) as wire:
        wire.sendall(sent)
        while part := wire.recv(65536):
            answer += part
    return answer


def diary(home: Path) -> str:
    return "".join(path.read_text() for path in (home / "log").glob("dqm-server-*.log"))


# ---- how good the data are ---------------------------------------------------------------------------------------------


def test_line_2_a_killed_source_a_dead_robber_and_a_dead_parser_are_told_with_the_age(
    home: Path, serve: Callable[..., Server]
) -> None:
    mirror = mirrors.start(home, serve)
    now = clock.now()
    assert mirror.health()["state"] == "Fresh"
    assert mirror.get("/healthz").text == "ok\n"
    assert 'class="shown"' in mirror.get("/sites/production").text
    ago = timedelta(minutes=3)
    for state, why, changes in (
        ("Stale", "has lost the link", {"link": record.CLOSED, "data": now - ago}),
        ("Stale", "have told nothing", {"data": now - ago}),
        ("Down", "the robber has said nothing", {"heard": now - ago, "confirmed": now - ago}),
        ("Down", "the parser has said nothing", {"at": now - ago, "heard": now - ago, "confirmed": now - ago}),
        ("Down", "could not be got for", {"confirmed": now - ago, "trouble": record.AWAY}),
        ("Broken", "not what this program understands", {"broken_since": now}),
    ):
        public.says(home, **changes)
        wait_until(lambda why=why: why in mirror.health()["why"], 30, why)
        assert mirror.health()["state"] == state
        assert mirror.get("/api/v1/health").json()["alert"] == (1 if state == "Stale" else 2)
        assert mirror.get("/healthz").text == "degraded\n"
        page = mirror.get("/sites/production").text
        assert 'id="banner" role="alert"' in page
        assert 'class="shown old"' in page
        if "confirmed" in changes or "data" in changes:
            assert mirror.health()["age_seconds"] >= 180
            assert re.search(r"These data are 3 minutes old: .*What stands below is as it was at", mirror.text())
    public.says(home)
    wait_until(lambda: mirror.health()["state"] == "Fresh", 30, "it comes back by itself")


def test_line_2_a_page_of_which_nobody_writes_any_more_grows_old_by_itself_within_its_time(
    home: Path, serve: Callable[..., Server]
) -> None:
    mirror = mirrors.start(home, serve, stale_seconds=1, down_seconds=2)
    fresh = public.says(home)
    wait_until(lambda: mirror.health()["state"] == "Down", 30, "it is Down without a word of anybody")
    told = mirror.get("/api/v1/health").json()
    assert clock.parse(told["at"]) - fresh.at > timedelta(seconds=2)
    assert "These data are" in mirror.text()


# ---- what is served ----------------------------------------------------------------------------------------------------


def test_line_8_nothing_but_what_a_page_names_is_ever_served(home: Path, serve: Callable[..., Server]) -> None:
    mirror = mirrors.start(home, serve)
    newest = generations.newest(live(home))
    assert newest
    secret = home / "dqm/raw/production/live/g0000000001"
    secret.mkdir(parents=True)
    for place in (secret, home / "log", home / "secrets", home / "dqm/public", live(home), newest.path):
        for name in (f"{CANARY}.txt", "page2.json", ".hidden", "log-extra.txt", "graph-extra.png", "index.html"):
            (place / name).write_text(CANARY)
    (home / "dqm/public/other/live").mkdir(parents=True)
    (home / "dqm/public/other/site.json").write_text(CANARY)
    (live(home) / ".new-1-aa").mkdir()
    (live(home) / ".new-1-aa/page.json").write_text(CANARY)
    publish(home, "clean")
    number = generations.numbers(live(home))
    newer = live(home) / f"g{max(number):010}"
    (newer / "log-extra.txt").write_text(CANARY)  # not of its manifest
    wait_until(lambda: "clean" in mirror.text(), 30, "the new page")
    answers = crawl(mirror, PATHS)
    kinds = set()
    for address, answer in answers.items():
        assert answer.status_code == (400 if address.endswith("/compare") else 200), address  # a form, sent empty
        assert CANARY.encode() not in answer.content, address
        assert CANARY not in str(answer.headers), address
        assert str(home) not in answer.text, address
        assert all(name in answer.headers for name in HEADERS), address
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(
            r"<script>|<style|\son[a-z]+=|style=", answer.text if "html" in answer.headers["Content-Type"] else ""
        )
        kinds.add(answer.headers["Content-Type"].partition(";")[0])
    assert kinds == {
        *("text/html", "text/plain", "image/png", "image/svg+xml", "text/css", "text/javascript"),
        *("application/json", "text/csv"),
    }
    assert any("/files/" in address and address.endswith(".png") for address in answers)


def test_line_8_no_address_leads_out_of_the_public_area(home: Path, serve: Callable[..., Server]) -> None:
    mirror = mirrors.start(home, serve)
    for place in (home / "dmtools.toml", home / "dqm/raw/x.txt"):
        with place.open("a") as file:
            file.write(f"# {CANARY}\n")
    newest = generations.newest(live(home))
    assert newest
    name, listed = next((name, one) for name, one in newest.manifest.files.items() if name.startswith("log-"))
    good = f"/sites/production/files/{listed.sha256[:16]}/{name}"
    assert mirror.get(good).status_code == 200
    (newest.path / name).unlink()
    (newest.path / name).symlink_to(home / "dmtools.toml")
    base = f"/sites/production/files/{listed.sha256[:16]}"
    own = {name: one.sha256[:16] for name, one in newest.manifest.files.items()}
    asked = [
        *(f"{base}/{up}dmtools.toml" for up in ("../" * 6, "%2e%2e/" * 6, "..%2f" * 6, "%252e%252e%252f" * 6, "..%5c" * 6)),
        *(
            f"{base}/{one}"
            for one in ("page.json", "manifest.json", "page.html", ".hidden", "%00", f"{name}%00", f"{name}/x", "")
        ),
        *(f"/sites/production/{how}/{own[one]}/{one}" for how in ("files", "log") for one in ("page.json", "page.html")),
        *("/../dmtools.toml", "//etc/passwd", "/static/../templates/body.html", "/static/%2e%2e/running.py", "/static/.."),
        *(str(home / "dmtools.toml"), "/sites/../../raw/x.txt", "/sites/%2e%2e", "/dqm/raw/x.txt", "/tmp/x", "/log/x", "/raw"),
        *("/sites/production/live", "/sites/production/live/g0000000001/page.json", "/sites/none", "/sites/production/runs/1"),
        *("/sites/production/runs/0", "/sites/production/runs/380000/..", "/sites/Production", "/api/v1/sites/none", "/api/../x"),
        *("/sites/production/compare?a=../../x&b=1", "/sites/production/compare", "/sites/production?" + "x" * 3000),
    ]
    for path in asked:
        sent = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        head, _, body = exchange(mirror.url, sent.encode()).partition(b"\r\n\r\n")
        assert head.split()[1] in (b"400", b"404"), (path, head)
        assert CANARY.encode() not in body
        assert b"Traceback" not in body
        assert b"X-Content-Type-Options: nosniff" in head
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        answer = requests.request(method, mirror.url + "/sites/production", timeout=30)
        assert answer.status_code == 405
        assert all(name in answer.headers for name in HEADERS)
    assert requests.head(mirror.url + "/sites/production", timeout=30).status_code == 200


def test_line_9_texts_are_escaped_logs_are_plain_text_and_what_is_no_picture_is_none(
    home: Path, serve: Callable[..., Server]
) -> None:
    mirror = mirrors.start(home, serve)
    publish(home, EVIL, links=(record.Link(name=EVIL, state="open", said=EVIL),))
    wait_until(lambda: "alert(1)" in mirror.get("/sites/production").text, 30, "the page")
    page = mirror.get("/sites/production").text
    assert EVIL not in page
    assert page.count("<script") == 1
    for path in re.findall(r'href="(/sites/production/(?:log|files)/[^"]*)"|src="(/[^"]*png)"', page):
        answer = mirror.get(path[0] or path[1])
        raw = (path[0] or path[1]).replace("/log/", "/files/")
        assert answer.ok
        assert EVIL not in answer.text or answer.headers["Content-Type"] in ("text/plain; charset=utf-8", "image/png")
        assert mirror.get(raw).headers["Content-Type"] in ("text/plain; charset=utf-8", "image/png")
        assert mirror.get(raw).headers["X-Content-Type-Options"] == "nosniff"
        searched = mirror.get(path[0], params={"q": EVIL, "only": "1"}).text if "/log/" in path[0] else ""
        assert EVIL not in searched
        assert not searched or "<mark>&lt;script&gt;" in searched
    assert EVIL not in mirror.get("/sites/production/compare", params={"a": EVIL, "b": EVIL}).text
    publish(home, "later")
    wait_until(lambda: "later" in mirror.text(), 30, "the next page")
    at = clock.now()
    bad = Page(site="production", live=True, run=1, grabbed=at, graphs=(Graph(name="g", file="graph-1.png"),))
    generations.publish(live(home), {"page.json": msgspec.json.encode(bad), "graph-1.png": b"<html>no picture"})
    wait_until(lambda: "is no PNG" in diary(home), 30, "the server has looked at it")
    assert "later" in mirror.text()
    assert mirror.health()["run"] == 380001


def test_a_half_brought_a_damaged_and_a_strange_generation_leave_the_one_before(home: Path, serve: Callable[..., Server]) -> None:
    mirror = mirrors.start(home, serve)
    publish(home, "first")
    public.says(home)
    wait_until(lambda: "first" in mirror.text(), 30, "the first page")
    number = max(generations.numbers(live(home)))
    whole = brought(home, "half", lambda path: (path / "page.json").rename(home / "aside.json"))
    brought(home, "damaged", lambda path: (path / "page.json").write_bytes(b"x" * (path / "page.json").stat().st_size))
    generations.publish(live(home), {"page.json": b'{"schema": 2}'})
    wait_until(lambda: "is not what its manifest says" in diary(home), 30, "it has looked at the damaged one")
    wait_until(lambda: "is no record of a page" in diary(home), 30, "it has looked at the strange one")
    assert "first" in mirror.text()
    assert mirror.health()["mark"].startswith(f"g{number:010}@")
    (home / "aside.json").rename(whole / "page.json")
    wait_until(lambda: "half" in mirror.text(), 30, "the half one is whole, though newer ones are bad")
    publish(home, "last")
    wait_until(lambda: "last" in mirror.text(), 30, "the newest")
    for generation in list(generations.every(live(home))):
        generations.remove(generation)
    publish(home, "anew")
    wait_until(lambda: "anew" in mirror.text(), 30, "somebody emptied the place, and the numbers began anew")


def test_a_page_that_did_not_come_here_whole_is_not_called_fresh(home: Path, serve: Callable[..., Server]) -> None:
    mirror = mirrors.start(home, serve, stale_seconds=5, down_seconds=600)
    publish(home, "news")
    wait_until(lambda: "news" in mirror.text(), 30, "the page")
    whole = brought(home, "unseen", lambda path: (path / "page.json").rename(home / "aside.json"))

    def stale() -> bool:
        now = clock.now()  # robber and parser go on, and speak of the page that has not come
        public.says(home, live=f"{whole.name}@x", confirmed=now, data=now)
        return bool(mirror.health()["state"] == "Stale")

    wait_until(stale, 30, "what is shown is older than what the parser speaks of")
    assert "news" in mirror.text()
    (home / "aside.json").rename(whole / "page.json")
    wait_until(lambda: "unseen" in mirror.text(), 30, "it has come")


def test_a_reader_while_pages_change_never_gets_an_empty_a_cut_or_a_mixed_one(home: Path, serve: Callable[..., Server]) -> None:
    mirror = mirrors.start(home, serve)
    publish(home, "word-0")
    wait_until(lambda: "word-0" in mirror.text(), 30, "the first page")
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            publish(home, f"word-{number}")
            while len(generations.numbers(live(home))) > 6:
                generations.remove(list(generations.every(live(home)))[-1])

    writer = threading.Thread(target=write)
    writer.start()
    seen, reader = set(), requests.Session()
    try:
        end = time.monotonic() + 60
        while len(seen) < 25 and time.monotonic() < end:
            page = reader.get(f"{mirror.url}/sites/production", timeout=30).text
            words = set(re.findall(r"word-[0-9]+", page))
            assert len(words) == 1
            assert page.count("<tr") == 6
            assert page.rstrip().endswith("</html>")
            address = re.findall(r'href="(/sites/production/log/[^"]*)"', page)[0].replace("/log/", "/files/")
            log = reader.get(mirror.url + address, timeout=30)
            assert log.status_code == 404 or log.text == f"log of {next(iter(words))}\n"
            told = reader.get(f"{mirror.url}/api/v1/sites/production", timeout=30).json()
            assert {job["tag"] for job in told["page"]["jobs"]} == set(re.findall(r"word-[0-9]+", json.dumps(told)))
            assert len(told["page"]["jobs"]) == 5
            seen |= words
    finally:
        stop.set()
        writer.join()
    assert len(seen) >= 25


# ---- events, API, options ----------------------------------------------------------------------------------------------


def listen(url: str) -> Iterator[dict[str, Any]]:
    with requests.get(f"{url}/events", stream=True, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])["sites"]


def test_events_tell_at_once_hold_no_thread_and_those_who_go_are_forgotten(home: Path, serve: Callable[..., Server]) -> None:
    mirror = mirrors.start(home, serve)
    place = urlsplit(mirror.url)
    crowd = [socket.create_connection((place.hostname, place.port), 30) for _ in range(40)]
    for one in crowd:
        one.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert one.recv(12) == b"HTTP/1.1 200"
    assert mirror.get("/healthz").text == "ok\n"  # two threads, forty listeners
    heard = listen(mirror.url)
    first = next(heard)["production"]
    publish(home, "news")
    began = time.monotonic()
    while next(heard)["production"][0] == first[0]:
        assert time.monotonic() - began < 30
    public.says(home, link=record.CLOSED)
    while next(heard)["production"][1] != "Stale":
        assert time.monotonic() - began < 60
    pid = mirror.server.process.pid
    before = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    for one in crowd:
        one.close()
    wait_until(lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) <= before - 40, 30, "their sockets are given back")
    assert mirror.server.stop() == 143
    assert list(heard) is not None  # ends with the server


def test_clients_that_say_nothing_or_read_nothing_hold_up_nobody(home: Path, serve: Callable[..., Server]) -> None:
    mirror = mirrors.start(home, serve, jobs=300)
    assert mirror.get("/sites/production").ok  # it knows now how long its pages are
    place = urlsplit(mirror.url)
    silent = [socket.create_connection((place.hostname, place.port), 30) for _ in range(30)]
    slow = [socket.socket() for _ in range(30)]
    for one in slow:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect((place.hostname, place.port))
        one.sendall(b"GET /sites/production HTTP/1.1\r\nHost: x\r\n\r\n")
    assert mirror.get("/healthz").text == "ok\n"  # ten seconds each they would hold a thread
    assert mirror.get("/sites/production").ok
    for one in (*silent, *slow):
        one.close()


def test_the_api_and_the_csv_tell_what_the_page_shows(home: Path, serve: Callable[..., Server]) -> None:
    mirror = mirrors.start(home, serve, jobs=some_jobs(8))
    told = mirror.get("/api/v1/sites/production").json()
    assert told["state"] == "Fresh"
    assert told["jobs"] == {"running": 6, "stopped": 1, "crashed": 1, "unknown": 0}
    lines = mirror.get("/api/v1/sites/production/jobs.csv").text.splitlines()
    assert lines[0].startswith("key,time_utc,host,state,exit_code,tag")
    assert len(lines) == 9
    assert {job["key"] for job in told["page"]["jobs"]} == {line.partition(",")[0] for line in lines[1:]}
    log = next(job["log"] for job in told["page"]["jobs"] if job["state"] == "crashed")
    assert "end of job 3" in mirror.get(log).text
    assert mirror.get("/api/v1/sites/production/runs").json()["runs"][0]["run"] == 380000
    assert "1 of 4 jobs" not in mirror.text("/sites/production/compare?a=380000&b=379999")
    assert "No job differs in state." in mirror.text("/sites/production/compare?a=380000&b=379999")
    rows = re.findall(r'<tr class="(\w+)" data-key', mirror.get("/sites/production?sort=state").text)
    assert rows == ["crashed", *["running"] * 6, "stopped"]
    text = mirror.text("/sites/playback")
    assert "replay of run 379866" in text
    assert mirror.get("/api/v1/sites/production/runs/5").json()["why"] == "run 5 is not among the old runs that are kept"


def test_a_running_job_without_news_is_marked(home: Path, serve: Callable[..., Server]) -> None:
    jobs = some_jobs(2)
    jobs[0].seconds = 1000
    mirror = mirrors.start(home, serve, jobs=jobs)
    page = mirror.get("/sites/production").text
    assert page.count("no news") == 1
    assert re.search(r'>16 min</time> <span class="badge stuck">', page)


def test_a_prefix_a_proxy_may_keep_it_or_take_it_away(home: Path, serve: Callable[..., Server]) -> None:
    mirror = mirrors.start(home, serve, prefix="/dqm")
    assert mirror.url.endswith("/dqm")
    for start in ("", "/dqm"):
        page = mirror.get(f"{start}/sites/production").text
        named = re.findall(r'(?:href|src)="([^"#?]*)', page)
        assert {one for one in named if one and not one.startswith("/dqm/")} == set()
        assert all(mirror.get(one).status_code == 200 for one in set(named) - {""})
    assert mirror.get("/dqmx/sites/production").status_code == 404


def test_where_it_may_listen_and_how_it_ends(home: Path, serve: Callable[..., Server]) -> None:
    assert "would serve" in run("dqm-server", "--dry-run", home=home).ok().out
    refused = run("dqm-server", "--host", "0.0.0.0", "--port", 0, home=home).gave(2)
    assert "others could change what is shown" in refused.err
    server = serve("dqm-server", "--port", 0, home=home)  # before anything was ever published
    page = requests.get(server.url, timeout=30)
    assert "There are no data: nothing is known of this page yet" in page.text
    assert requests.get(server.url + "/healthz", timeout=30).text == "degraded\n"
    taken = run("dqm-server", "--port", server.url.rpartition(":")[2].strip("/"), "--json", home=home).gave(75)
    assert "another program listens there" in taken.json["errors"][0]["why"]
    assert server.stop(signal.SIGINT) == 130
    assert server.said.splitlines() == [f"listening on {server.url}"]


@pytest.mark.parametrize("sent", [b"no http at all\r\n\r\n", b"GET /%s HTTP/1.1\r\n\r\n" % (b"a" * 40000)])
def test_what_is_no_http_gets_the_headers_too(home: Path, serve: Callable[..., Server], sent: bytes) -> None:
    answer = exchange(serve("dqm-server", "--port", 0, home=home).url, sent)
    assert b"Content-Security-Policy: default-src 'none'" in answer
