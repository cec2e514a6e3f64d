"""dm-sim dqm without a browser: its protocol by a real websocket, its runs, who may, faults of requests, wrong use."""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket
from hypothesis import given
from hypothesis import strategies as st

from dmtools.simulators.dqm import sync
from dmtools.simulators.dqm.store import Store
from tests.simulators.dqm_page import Dqm, files, hear, job, tell
from tests.simulators.fts_client import make_home
from tests.support import Server, run, wait_until

QUICK = ("--run-seconds", 3600, "--lumi-seconds", 0.2, "--every", 0.1, "--seed", 1)


@pytest.fixture(scope="module")
def still() -> Iterator[Dqm]:
    """One server for all tests here that put their own documents in, each under runs of its own."""
    place = Path(tempfile.mkdtemp(prefix="dmd-", dir="/tmp"))
    server = Dqm(make_home(place / "home")).start("--still")
    yield server
    server.stop()
    shutil.rmtree(place)


@pytest.fixture(autouse=True)
def no_faults(still: Dqm) -> Iterator[None]:
    yield
    still.faults()


# ---- the protocol ------------------------------------------------------------------------------------------------------


def test_a_socket_is_told_headers_and_gets_the_documents_it_asks_for(still: Dqm) -> None:
    last = still.upload(job(1), files(1))
    socket = still.socket()
    tell(socket, event="sync_request", known_rev=None)
    told = hear(socket, "update_headers")
    assert told["rev"][1] == told["sync_to_rev"] == last
    mine = [header for header in told["headers"] if header["run"] == 1]
    assert [set(header) for header in mine] == [{"_id", "_rev", "timestamp", "type", "hostname", "tag", "run"}] * 2
    tell(socket, event="request_documents", ids=["job-1-beam-100", "nobody", "job-1-beam-100"])
    (document,) = hear(socket, "update_documents")["documents"]
    assert document == job(1) | {"_rev": last - 1, "timestamp": document["timestamp"]}
    socket.send("no message")
    still.upload(job(1, events_total=2001))  # it is told without asking
    told = hear(socket, "update_headers")
    assert [(header["_id"], header["_rev"]) for header in told["headers"]] == [("job-1-beam-100", last + 1)]
    socket.close()


def test_who_knows_a_revision_is_told_what_came_later_and_one_header_at_least(still: Dqm) -> None:
    first = still.upload(job(2))
    still.upload(job(2, pid=101), job(2, pid=102))
    asked = {"event": "sync_request", "known_rev": first}
    assert [header["_rev"] for header in still.proxy(asked)[0]["headers"]] == [first, first + 1, first + 2]
    assert len(still.proxy(asked | {"known_rev": first + 2})[0]["headers"]) == 1
    # A server that was started anew counts from nothing: who knows more than there is gets all.
    assert still.proxy(asked | {"known_rev": first + 1000})[0]["rev"][0] < first


def test_many_headers_come_in_chunks_of_a_thousand(still: Dqm) -> None:
    still.upload(*[job(3, pid=pid) for pid in range(2100)], hosts="playback_local")
    answers = still.proxy({"event": "sync_request", "known_rev": None}, hosts="playback_local")
    assert [len(answer["headers"]) for answer in answers] == [1000, 1000, 100]
    assert [answer["total_sent"] for answer in answers] == [1000, 2000, 2100]
    assert {(answer["total_avail"], answer["sync_to_rev"]) for answer in answers} == {(2100, answers[-1]["rev"][1])}
    socket = still.socket("playback_local")
    tell(socket, event="sync_request")
    assert [hear(socket, "update_headers") for _ in answers] == answers
    socket.close()
    assert still.ask("GET", "/info?hosts=playback_local").json()["db_size"] == 2100


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), max_size=6), st.none() | st.integers(-3, 30) | st.text(max_size=2)
)
def test_whatever_is_uploaded_who_asks_later_has_the_newest_of_each(rounds: list[list[str]], known: Any) -> None:
    store = Store()
    newest = {}
    for ids in rounds:
        for one in ids:
            newest[one] = store.upload([{"_id": one}])
    told = list(sync.told(store.headers(sync.first_rev(store, known))))
    revs = [header["_rev"] for message in told for header in message["headers"]]
    assert revs == sorted(revs)
    if isinstance(known, int) and known <= store.rev:
        assert revs == sorted(rev for rev in newest.values() if rev >= known)
    else:
        assert revs == sorted(newest.values())


@given(st.text() | st.sampled_from(["[]", "null", "{", '{"event": 1}', '{"event": "request_documents", "ids": 7}', "1e999"]))
def test_any_text_is_a_message_or_a_value_error(text: str) -> None:
    try:
        assert isinstance(sync.by_proxy(Store(), [text], lambda documents: documents), list)
    except ValueError:
        pass


# ---- who may -----------------------------------------------------------------------------------------------------------


def test_everything_asks_for_the_token(still: Dqm) -> None:
    paths = ["GET /", "GET /static/index.html", "GET /static/app.js", "GET /sync", "GET /info", "GET /utils/show_log/x"]
    paths += ["POST /sync_proxy", "POST /_upload/", "POST /sim/next-run", "GET /no/such/page"]
    for path in paths:
        method, _, place = path.partition(" ")
        for wrong in ({}, {"X-Dm-Token": "x"}, {"Cookie": "dm-sim=ü"}, {"Cookie": f"other={still.address['token']}"}):
            headers = {name: value.encode() for name, value in wrong.items()}
            answer = requests.request(method, still.url + place, headers=headers, timeout=30)
            assert (path, answer.status_code) == (path, 401)
            assert "run/sim/dqm.json" in answer.text
    with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
        still.socket(cookie="dm-sim=x")
    person = requests.Session()
    assert person.get(f"{still.url}/?token={still.address['token']}", timeout=30).status_code == 200  # and to the page
    assert person.get(f"{still.url}/static/index.html", timeout=30).status_code == 200  # by the cookie
    assert "HttpOnly" in still.ask("GET", f"/info?token={still.address['token']}").headers["Set-Cookie"]
    assert stat.S_IMODE((still.home / "run/sim/dqm.json").stat().st_mode) == 0o600


def test_wrong_requests_are_answered_with_a_sentence_and_nothing_is_taken_in(still: Dqm) -> None:
    before = still.ask("GET", "/info").json()["rev"]
    for body in (
        b"{",
        b"[]",
        b'{"docs": 7}',
        b'{"docs": [{"_id": "a"}, {}]}',
        b'{"docs": [{"_id": "a", "run": NaN}]}',
        b"\xff",
        b"[" * 99999,
    ):
        answer = still.ask("POST", "/_upload/", data=body)
        assert (answer.status_code, answer.text[:5]) == (400, "400: "), body
    assert "document 2 of 2 has no _id" in still.ask("POST", "/_upload/", json={"docs": [job(4), {}]}).text
    for told in ({}, {"messages": 7}, {"messages": ["{"]}, {"messages": [7]}):
        assert still.ask("POST", "/sync_proxy", json=told).status_code == 400
    assert "there are: production_local, playback_local" in still.ask("GET", "/info?hosts=x").text
    still.upload({"_id": "odd/1", "stdlog_gzip": "no zip"})
    assert still.ask("GET", "/utils/show_log/odd%2F1").status_code == 404
    assert still.ask("GET", "/info").json()["rev"] == before + 1


# ---- faults ------------------------------------------------------------------------------------------------------------


def test_faults_of_requests_do_what_they_do_elsewhere(still: Dqm) -> None:
    still.faults("op = 'http500'\nmatch = 'GET /info'\ntimes = 1\nreason = 'the \"db\" is gone'")
    assert still.ask("GET", "/info").json() == {"status": "500 Internal Server Error", "message": "the  db  is gone"}
    assert still.ask("GET", "/info").status_code == 200
    before = still.ask("GET", "/info").json()["rev"]
    still.faults("op = 'lose-answer'\nmatch = 'POST /_upload/'\ntimes = 1")
    with pytest.raises(requests.ConnectionError):
        still.upload(job(5))
    assert still.ask("GET", "/info").json()["rev"] == before + 1
    still.faults("op = 'silent'\nmatch = 'GET /info?hosts=playback_local'")
    with pytest.raises(requests.ReadTimeout):
        still.ask("GET", "/info?hosts=playback_local", timeout=2)
    assert still.ask("GET", "/info").status_code == 200
    still.faults("op = 'slow'\nmatch = 'GET /info'\nseconds = 0.3", "op = 'silent'\nmatch = 'sync_proxy'\nseconds = 0.1")
    assert still.ask("GET", "/info").elapsed.total_seconds() >= 0.3
    with pytest.raises(requests.ConnectionError):
        still.proxy()


def test_cut_closes_the_websocket_and_refuses_the_next(still: Dqm) -> None:
    socket = still.socket()
    still.faults("op = 'cut'\nmatch = 'GET /sync?hosts=production_local'")
    assert socket.recv() == ""
    assert not socket.connected
    with pytest.raises(websocket.WebSocketBadStatusException, match="503"):
        still.socket()
    still.socket("playback_local").close()


def test_deaf_keeps_the_websocket_open_and_tells_all_when_it_is_over(still: Dqm) -> None:
    still.upload(job(6))
    socket = still.socket()
    tell(socket, event="sync_request")
    hear(socket, "update_headers")
    still.faults("op = 'deaf'\nmatch = 'GET /sync?hosts=production_local'")
    last = still.upload(job(6, pid=2), job(6, pid=3))
    tell(socket, event="request_documents", ids=["job-6-beam-2"])
    socket.settimeout(1)
    with pytest.raises(websocket.WebSocketTimeoutException):
        socket.recv()
    assert [one["_rev"] for one in still.proxy({"event": "sync_request", "known_rev": last})[0]["headers"]] == [last]
    still.faults()
    socket.settimeout(30)
    assert hear(socket, "update_headers")["rev"] == [last - 1, last]
    socket.close()


def test_half_gives_always_the_same_half_of_the_documents(still: Dqm) -> None:
    ids = [f"job-7-beam-{pid}" for pid in range(40)]
    still.upload(*[job(7, pid=pid) for pid in range(40)])
    still.faults("op = 'half'\nmatch = 'sync_proxy'")
    asked = {"event": "request_documents", "ids": ids}
    answers = [{one["_id"] for one in still.proxy(asked)[0]["documents"]} for _ in range(2)]
    assert answers[0] == answers[1]
    assert 8 < len(answers[0]) < 32
    still.faults()
    assert len(still.proxy(asked)[0]["documents"]) == 40


# ---- what moves by itself ----------------------------------------------------------------------------------------------


def told_of(server: Dqm, hosts: str, *kinds: str) -> list[dict[str, Any]]:
    """All documents of these types, without times."""
    headers = [header for answer in server.proxy({"event": "sync_request"}, hosts=hosts) for header in answer["headers"]]
    ids = sorted(header["_id"] for header in headers if header["type"] in kinds)
    (answer,) = server.proxy({"event": "request_documents", "ids": ids}, hosts=hosts)
    return list(answer["documents"])


def test_runs_jobs_and_logs_move_by_themselves_and_the_next_run_begins(home: Path) -> None:
    server = Dqm(home).start(*QUICK, "--jobs", 5, "--runs", 17)
    jobs = told_of(server, "production_local", "dqm-source-state")
    assert sorted({one["run"] for one in jobs}) == list(range(380001, 380019))
    assert all(one["exit_code"] is not None for one in jobs if one["run"] < 380018)
    assert {one["exit_code"] for one in jobs if "exit_code" in one} > {0}  # some crashed
    now = [one for one in jobs if one["run"] == 380018]
    assert len(now) == 5
    assert "exit_code" not in now[0]
    assert "/nfshome0/dqmpro" in "\n".join(now[0]["extra"]["stdlog_start"])
    assert any(word.startswith("/opt/cmssw/") for word in now[0]["cmdline"])

    def moved() -> bool:
        after = {one["_id"]: one for one in told_of(server, "production_local", "dqm-source-state")}
        return all(
            after[one["_id"]]["events_total"] > one["events_total"]
            and after[one["_id"]]["cmssw_lumi"] > one["cmssw_lumi"]
            and after[one["_id"]]["extra"]["stdlog_end"] != one["extra"]["stdlog_end"]
            for one in now
        )

    wait_until(moved, what="events, lumi sections and logs go on")
    (playback,) = [one for one in told_of(server, "playback_local", "dqm-playback") if one["state"] == "playing"]
    assert "/run379866/" in playback["extra"]["ls_map"]["1"]
    assert server.ask("POST", "/sim/next-run").json() == {"run": 380019}
    jobs = told_of(server, "production_local", "dqm-source-state")
    assert sorted({one["run"] for one in jobs}) == list(range(380002, 380020))  # 17 old ones are kept
    assert {one["exit_code"] is not None for one in jobs if one["run"] == 380018} == {True}
    text = server.ask("GET", f"/utils/show_log/{jobs[0]['_id']}").text
    assert text.startswith("[dqmpro@")
    assert server.stop() == 143
    assert not (home / "run/sim/dqm.json").exists()


def test_the_same_seed_gives_the_same_old_runs_and_still_gives_none(home: Path, sim: Callable[..., Server]) -> None:
    told = []
    for seed in (1, 1, 2):
        server = Dqm(home).start("--seed", seed, "--jobs", 3, "--runs", 2, "--run-seconds", 3600, "--every", 3600)
        found = told_of(server, "production_local", "dqm-source-state")
        assert server.stop() == 143
        for one in found:
            for name in ("timestamp", "_rev", "stdlog_gzip"):
                del one[name]
            del one["extra"]["mem_info"]
        told.append(json.dumps(found))
    assert told[0] == told[1] != told[2]
    sim(home, "dqm", "--still")
    assert Dqm(home).proxy({"event": "sync_request"}) == []


# ---- the command -------------------------------------------------------------------------------------------------------


def test_wrong_use(still: Dqm, home: Path) -> None:
    refused = run("dm-sim", "dqm", "--port", 0, home=still.home).gave(75)
    assert f"dqm runs already (pid {still.address['pid']}, {still.url})" in refused.err
    port = still.url.rpartition(":")[2]
    assert f"port {port} of 127.0.0.1 is taken by another program" in run("dm-sim", "dqm", "--port", port, home=home).gave(75).err
    assert not (home / "run/sim/dqm.json").exists()
    assert "would serve the page at 127.0.0.1" in run("dm-sim", "dqm", "--dry-run", home=home).ok().out
    run("dm-sim", "dqm", "--jobs", 0, home=home).gave(2)
    assert "dm-sim dqm --run-seconds 60 --seed 1" in run("dm-sim", "dqm", "--help", home=home).ok().out
