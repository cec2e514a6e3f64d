"""The status page: its figures are dm-monitoring's, its words dm-command's, and it stays up when the database is gone."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event

from dmtools import clock
from dmtools.ledger import open_ledger
from dmtools.migrate.register import PIPELINE
from dmtools.settings import load
from dmtools.web import hours
from tests.support import Server, run, wait_until
from tests.web.conftest import Person, add_user

EVIL = "<script>alert(1)</script>"


def put_files(home: Path, *names: bytes) -> None:
    """Files at the source and a master list of them, cut into one list."""
    for name in names:
        path = Path(str(home / "demo/castor") + name.decode("utf-8", "surrogateescape"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"data")
    (home / "migrate/TODO/ListOfLFNs/list.txt").write_bytes(b"\n".join(names) + b"\n")
    run("migrate-producer", "--lists", 0, home=home).ok()


def test_it_shows_what_dm_monitoring_and_dm_train_ok_tell(anna: Person, home: Path) -> None:
    put_files(home, b"/a/1", b"/a/2")
    wait_until(lambda: "TODO" in anna.get("/fragment").text and ">2<" in anna.get("/fragment").text, 60, "two files in TODO")
    found = anna.get("/api/status.json").json()
    told = run("dm-monitoring", "--json", home=home).ok().json
    assert found["pipelines"].keys() == told["pipelines"].keys()
    assert found["pipelines"]["migrate"]["counts"] == told["pipelines"]["migrate"]["counts"]
    assert (found["schema"], found["problem"]) == (1, None)
    assert found["train_ok"]["state"] in ("OK", "WARNING", "CRITICAL", "UNKNOWN")
    page = anna.get("/").text
    assert page.count("<svg") == 4 * len(told["pipelines"])
    assert 'id="pipeline-migrate"' in page
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page)  # the policy would refuse them


def test_a_halt_holds_the_consumer_and_a_run_frees_it(anna: Person, home: Path) -> None:
    put_files(home, b"/a/1")
    page = anna.order("halt", "migrate", f"disk {EVIL} down", "+2h")
    assert page.status_code == 200
    assert "halt of migrate by web:anna" in page.text
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert run("migrate-consumer", "--json", home=home).ok().json["state"] == "halted"
    (hold,) = run("dm-command", "--json", home=home).ok().json["holds"]
    assert (hold["by"], hold["reason"], hold["kind"]) == ("web:anna", f"disk {EVIL} down", "person")
    assert hold["until"] > hold["since"]
    page = anna.order("run", "migrate")
    assert "ended: halt of migrate by web:anna" in page.text
    assert run("dm-command", "--json", home=home).ok().json["holds"] == []
    assert "ended" not in anna.get("/").text  # told once


def test_wrong_orders_are_refused_in_words(anna: Person, home: Path) -> None:
    for word, scope, until, said in (
        ("hold", "all", "", "there is no control word"),
        ("halt", "migrat", "", "did you mean"),
        ("halt", "migrate/consumr", "", "did you mean"),
        ("halt", "all", "yesterday or so", "is no time"),
        ("halt", "all", "2020-01-01 10:00", "over"),
        ("run", "all", "+1h", "run has none"),
    ):
        answer = anna.order(word, scope, "x", until)
        assert answer.status_code == 400, (word, scope, until)
        assert said in answer.text
        assert "Nothing was changed" in answer.text
    assert anna.post("/control", {"mark": anna.mark(), "word": "halt", "scope": "all", "reason": "x" * 501}).status_code == 400
    assert run("dm-command", "--json", home=home).ok().json["holds"] == []


def test_roles(web: Server, home: Path) -> None:
    add_user(home, "vera", "viewer")
    add_user(home, "otto", "operator")
    vera, otto = Person(web.url), Person(web.url)
    vera.sign_in("vera")
    otto.sign_in("otto")
    assert 'value="halt"' not in vera.get("/").text
    refused = vera.order("halt", "all", "I may not")
    assert refused.status_code == 403
    assert "vera is a viewer" in refused.text
    assert vera.post("/leases", {"mark": vera.mark()}).status_code == 403
    assert run("dm-command", "--json", home=home).ok().json["holds"] == []
    assert otto.order("drain", "migrate/consumer").status_code == 200
    with sqlite3.connect(home / "dmtools.db") as raw:
        old = "2020-01-01 00:00:00.000000"
        raw.execute(
            "INSERT INTO lease (resource, owner, host, machine, pid, started, since, expires) VALUES (?,?,?,?,?,?,?,?)",
            ("list/7", f"h:1:{EVIL}", f"h{EVIL}", "m", 1, 1, old, old),
        )
    wait_until(lambda: "Hand back" in otto.get("/").text, 60, "the lease is shown")
    assert "Hand back" not in vera.get("/").text
    assert EVIL not in otto.get("/").text
    assert "handed back by web:otto: list/7" in otto.post("/leases", {"mark": otto.mark()}).text
    assert run("dm-leases", "--json", home=home).ok().json["leases"] == []
    run("dm-web", "user", "role", "otto", "--role", "viewer", home=home).ok()
    assert otto.order("halt", "all", "no more").status_code == 403


def test_search_and_trace_show_any_name_harmlessly(anna: Person, home: Path) -> None:
    bad = b"/a/\xff<script>.raw"
    put_files(home, b"/a/" + EVIL.replace("/", "|").encode(), bad, b"/a/plain.raw", b"/b/\xe2\x80\xaeevil", b"/a/two words")
    one = anna.get("/search?q=plain")
    assert one.url.endswith("/trace/a/plain.raw")
    assert '<h1 class="subject">/a/plain.raw</h1>' in one.text
    assert "it waits in the list FTSList" in one.text
    many = anna.get("/search?q=/a/")
    links = re.findall(r'<a href="(/trace/[^"]+)">', many.text)
    assert len(links) == 4
    for link in links:
        found = anna.get(link)
        assert found.status_code == 200, link
        assert "<script>" not in found.text
        assert "it waits in the list FTSList" in found.text
    assert "%FF%3Cscript%3E.raw" in many.text  # bytes that are no UTF-8 stay encoded, as dm-trace shows them
    assert anna.get("/search?q=%FF%3Cscript%3E").url.endswith("raw")
    assert anna.get("/search?q=/a/two+words").url.endswith("/trace/a/two%20words")
    nothing = anna.get(f"/search?q={EVIL}zzz")
    assert "No pipeline knows" in nothing.text
    assert EVIL not in nothing.text
    assert anna.get("/trace/no/such").status_code == 404
    listed = re.search(r'<a href="(/trace/FTSList[^"]+)">', one.text)
    assert listed
    assert "list of migrate" in anna.get(listed[1]).text


def test_without_its_database_it_stays_up_and_says_how_old_it_is(anna: Person, home: Path) -> None:
    put_files(home, b"/a/1")
    wait_until(lambda: ">1<" in anna.get("/fragment").text, 60, "the file is counted")
    aside = home / "aside"
    aside.mkdir()
    for path in home.glob("dmtools.db*"):
        shutil.move(path, aside / path.name)
    wait_until(lambda: anna.get("/healthz").text == "degraded\n", 60, "degraded")
    page = anna.get("/")
    assert page.status_code == 200
    assert re.search(r"These data are \d+ s old: the database can&#x27;t be read: .*is not there", page.text)
    assert ">1<" in page.text
    found = anna.get("/api/status.json").json()
    assert found["problem"]
    assert found["train_ok"]["state"] == "UNKNOWN"
    assert "UNKNOWN" in page.text
    for answer in (anna.order("halt", "all", "x"), anna.get("/search?q=x"), Person(anna.url).sign_in("anna")):
        assert answer.status_code == 503
        assert "can&#x27;t be read" in answer.text
    for path in aside.iterdir():
        shutil.move(path, home / path.name)
    wait_until(lambda: anna.get("/healthz").text == "ok\n", 60, "ok again")
    assert "These data are" not in anna.get("/").text
    assert anna.order("halt", "all", "it is back").status_code == 200


def test_it_starts_without_its_database_and_shows_it_once_it_is_there(home: Path, serve: Callable[..., Server]) -> None:
    add_user(home, "anna", "viewer")
    (home / "dmtools.db").rename(home / "aside.db")
    web = serve("dm-web", "--port", 0, home=home)
    wait_until(lambda: "the page is up, and shows figures once it can" in web.said, 60, "it says so at the terminal")
    person = Person(web.url)
    assert person.get("/healthz").text == "degraded\n"
    assert person.sign_in("anna").status_code == 503
    (home / "aside.db").rename(home / "dmtools.db")
    wait_until(lambda: person.get("/healthz").text == "ok\n", 60, "ok")
    assert "migrate" in person.sign_in("anna").text


def test_a_damaged_table_is_told_and_not_shown_as_a_traceback(anna: Person, home: Path) -> None:
    with sqlite3.connect(home / "dmtools.db") as raw:
        raw.execute("ALTER TABLE tally RENAME TO elsewhere")
    wait_until(lambda: anna.get("/healthz").text == "degraded\n", 60, "degraded")
    page = anna.get("/").text
    assert "dm-db upgrade" in page
    assert "Traceback" not in page


def test_the_last_24_hours_are_read_by_an_index_of_that_day_alone(home: Path) -> None:
    ledger = open_ledger(load(home=home))
    statements: list[tuple[str, Any]] = []
    event.listen(ledger.engine, "before_cursor_execute", lambda _c, _k, text, values, _x, _m: statements.append((text, values)))
    with ledger.read() as connection:
        found = hours.of(connection, PIPELINE, clock.now())
    ledger.close()
    assert len(found) == 24
    ((text, values),) = [one for one in statements if one[0].startswith("SELECT")]
    with sqlite3.connect(home / "dmtools.db") as raw:
        plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    assert len(plan) == 1
    assert re.search(r"SEARCH flow USING .*INDEX.*pipeline=\? AND state=\? AND bucket>\?", plan[0]), plan
