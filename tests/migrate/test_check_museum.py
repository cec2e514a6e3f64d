"""A museum of damaged homes: each damage by name, what dm-check says of it, what --repair makes of it, and then all agrees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.migrate.steps import Site
from tests.support import Server

SLOW = '[[fault]]\nmatch = "*/slow*"\nop = "stall"\nseconds = 600\n'
LOST = '[[fault]]\nmatch = "*/bad*"\nop = "fail"\nreason = "SOURCE [2] No such file or directory"\n'


@dataclass(frozen=True)
class Piece:
    """One damaged home. `stage`: cut (three lists in TODO), doing (two jobs under way), done (all in DONE, one file Bad).

    `rules`: what dm-check names; `after`: (state -> files) once it is mended; None: no rule mends it.
    """

    stage: str
    damage: Callable[[Site], object]
    rules: tuple[str, ...]
    after: dict[str, int] | None


def queue(site: Site, folder: str, number: int = 0) -> Path:
    """A list in a folder."""
    return site.home / "migrate" / folder / site.names(folder)[number]


def sql(site: Site, text: str) -> None:
    with site.database() as db:
        assert db.execute(text).rowcount, text


def dead_pid() -> int:
    """The pid of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def leave_hidden(site: Site, folder: str) -> None:
    (site.home / folder / f".FTSList-x.txt.{dead_pid()}.tmp").write_text("half")


def lose_lease(site: Site) -> None:
    name = os.uname().nodename
    words = f"'list/1', 'x', '{name}', 'elsewhere', 1, 1, '2020-01-01', '2020-01-02'"
    sql(site, f"INSERT INTO lease (resource, owner, host, machine, pid, started, since, expires) VALUES ({words})")


def move_all(site: Site, source: str, target: str) -> None:
    for name in site.names(source):
        site.move(source, target, name)


def hand_list_gone(site: Site) -> None:
    site.files("/h/1")
    site.put("TODO", "hand.txt", "/h/1")
    site.run("migrate-monitor").ok()
    (site.home / "migrate/TODO/hand.txt").unlink()


FIRST = "(SELECT MIN(id) FROM filelist)"


def arrive(site: Site) -> None:
    """Both copies are whole, their outcome is booked, the directories have not followed."""
    for lfn in ("/s/slow1", "/s/slow2"):
        site.servers["fts1"].stop()
        site.target(lfn).write_bytes(site.source(lfn).read_bytes())
    sql(site, "UPDATE filelist SET state = 'settling'")
    sql(site, "UPDATE ftsjob SET state = 'closed'")
    sql(site, "UPDATE transfer SET state = 'Okay'")


def forget_attempt(site: Site) -> None:
    """As tables restored from before the submission would have it."""
    sql(site, f"DELETE FROM ftsjob WHERE list_id = {FIRST}")
    sql(site, f"DELETE FROM transfer WHERE list_id = {FIRST}")
    sql(site, f"DELETE FROM filelist WHERE id = {FIRST}")
    sql(site, "UPDATE tally SET n = n - 1 WHERE rowid IN (SELECT rowid FROM tally WHERE state = 'DOING' LIMIT 1)")


CUT: dict[str, Piece] = {
    "a list gone from TODO": Piece("cut", lambda s: queue(s, "TODO").unlink(), ("in-no-directory",), {"TODO": 6}),
    "a list in TODO moved to DOING": Piece(
        "cut", lambda s: s.move("TODO", "DOING", s.names("TODO")[0]), ("no-attempt-in-doing",), {"TODO": 6}
    ),
    "a list in both": Piece(
        "cut",
        lambda s: (s.home / "migrate/DOING" / s.names("TODO")[0]).write_bytes(queue(s, "TODO").read_bytes()),
        ("two-directories",),
        {"TODO": 6},
    ),
    "lists cut, not proved to be there": Piece(
        "cut", lambda s: sql(s, "UPDATE filelist SET state = 'cut'"), ("half-done",), {"TODO": 6}
    ),
    "a list of zeros in TODO": Piece(
        "cut", lambda s: (s.home / "migrate/TODO/zeros.txt").write_bytes(bytes(5000)), ("no-list",), {"TODO": 6}
    ),
    "a directory in TODO": Piece("cut", lambda s: (s.home / "migrate/TODO/sub").mkdir(), ("no-list",), {"TODO": 6}),
    "a directory in DOING": Piece("cut", lambda s: (s.home / "migrate/DOING/sub").mkdir(), ("no-list",), {"TODO": 6}),
    "a name that no list may have": Piece(
        "cut", lambda s: (s.home / "migrate/TODO/a b.txt").write_bytes(queue(s, "TODO").read_bytes()), ("no-list",), {"TODO": 6}
    ),
    "a hand's list taken away again": Piece("cut", hand_list_gone, ("gone-unread",), {"TODO": 6}),
    "counts that are wrong": Piece(
        "cut", lambda s: sql(s, "UPDATE tally SET n = n + 3 WHERE state = 'TODO'"), ("counts",), {"TODO": 6}
    ),
    "counts that are gone": Piece("cut", lambda s: sql(s, "DELETE FROM tally"), ("counts",), {"TODO": 6}),
    "a file in the making": Piece("cut", lambda s: leave_hidden(s, "migrate/TODO"), ("leftover",), {"TODO": 6}),
    "a secret in the making": Piece("cut", lambda s: leave_hidden(s, "run"), ("leftover",), {"TODO": 6}),
    "a lease of the dead": Piece("cut", lose_lease, ("dead-lease",), {"TODO": 6}),
    "no home-id": Piece("cut", lambda s: (s.home / "run/home-id").unlink(), ("no-home-id",), {"TODO": 6}),
    "a directory of the queue gone": Piece(
        "cut", lambda s: (s.home / "migrate/DONE/Bad").rmdir(), ("no-directory",), {"TODO": 6}
    ),
    "a master list changed": Piece(
        "cut",
        lambda s: (s.master(["/other"], "all.txt"), s.run("migrate-producer").gave(1)),
        ("master-refused",),
        None,
    ),
}
DOING: dict[str, Piece] = {
    "an open attempt moved to TODO": Piece(
        "doing", lambda s: move_all(s, "DOING", "TODO"), ("open-attempt-in-todo",), {"DOING": 2}
    ),
    "a list gone from DOING": Piece("doing", lambda s: queue(s, "DOING").unlink(), ("in-no-directory",), {"DOING": 2}),
    "a list in DOING cut short": Piece(
        "doing", lambda s: queue(s, "DOING").write_text("#dm list=x\n"), ("other-lines",), {"DOING": 2}
    ),
    "attempts that the tables forgot": Piece("doing", forget_attempt, ("unknown-attempt", "counts"), {"DOING": 2}),
    "an attempt without a list": Piece(
        "doing",
        lambda s: sql(s, f"DELETE FROM filelist WHERE id = {FIRST}"),
        ("attempt-without-list", "files-without-list"),
        {"DOING": 2},
    ),
    "all lists lost from the tables": Piece("doing", lambda s: sql(s, "DELETE FROM filelist"), ("tables-lost",), {"DOING": 2}),
    "files under way without an attempt": Piece(
        "doing", lambda s: sql(s, "UPDATE ftsjob SET state = 'closed'"), ("doing-without-attempt",), {"TODO": 2}
    ),
    "a list done with an open attempt": Piece(
        "doing",
        lambda s: sql(s, "UPDATE filelist SET state = 'done'"),
        ("attempt-without-list", "done-with-open-files"),
        {"DOING": 2},
    ),
    "an outcome booked, files not moved": Piece("doing", arrive, ("half-done", "counts"), {"Okay": 2}),
}
DONE: dict[str, Piece] = {
    "DONE/Okay gone": Piece("done", lambda s: queue(s, "DONE/Okay").unlink(), ("done-gone",), {"Okay": 2, "Bad": 1}),
    "DONE/Bad without its reason": Piece(
        "done",
        lambda s: queue(s, "DONE/Bad").write_text("\n".join(queue(s, "DONE/Bad").read_text().splitlines()[2:]) + "\n"),
        ("done-differs",),
        {"Okay": 2, "Bad": 1},
    ),
    "DONE/Okay with a line too much": Piece(
        "done",
        lambda s: queue(s, "DONE/Okay").write_text(queue(s, "DONE/Okay").read_text() + "file:///x  file:///y\n"),
        ("done-differs",),
        {"Okay": 2, "Bad": 1},
    ),
    "a Missing list that the tables don't say": Piece(
        "done",
        lambda s: (s.home / "migrate/DONE/Missing" / s.names("DONE/Bad")[0]).write_bytes(queue(s, "DONE/Bad").read_bytes()),
        ("done-too-much",),
        {"Okay": 2, "Bad": 1},
    ),
    "a done list that the tables forgot": Piece(
        "done",
        lambda s: (
            sql(s, "DELETE FROM transfer WHERE state = 'Okay'"),
            sql(s, "DELETE FROM filelist WHERE name IN (SELECT name FROM filelist ORDER BY id LIMIT 1)"),
        ),
        ("unknown-list", "counts"),
        {"Okay": 2, "Bad": 1},
    ),
    "a copy gone": Piece("done", lambda s: s.target("/d/1").unlink(), ("okay-gone",), {"Okay": 1, "Bad": 2}),
    "a copy that is another": Piece("done", lambda s: s.target("/d/1").write_bytes(b"other"), ("okay-different",), None),
    "a done list with a file to move": Piece(
        "done",
        lambda s: sql(s, "UPDATE transfer SET state = 'TODO' WHERE state = 'Bad'"),
        ("done-with-open-files", "counts", "done-too-much"),
        {"Okay": 2, "TODO": 1},
    ),
}
MUSEUM = {**CUT, **DOING, **DONE}


@pytest.fixture
def build(home: Path, serve: Callable[..., Server]) -> Callable[[str], Site]:
    """Makes a sound home of a stage."""

    def make(stage: str) -> Site:
        site = Site(home, serve)
        site.only()
        if stage == "cut":
            site.master(site.files(*[f"/c/{n}" for n in range(6)]))
            site.produce(lfns=2)
            return site
        site.start()
        site.faults(SLOW + LOST)
        site.master(site.files("/s/slow1", "/s/slow2") if stage == "doing" else site.files("/d/1", "/d/2", "/d/bad"))
        site.produce(lfns=1 if stage == "doing" else 2)
        site.consume()
        if stage == "done":
            site.over()
            site.monitor()
        return site

    return make


@pytest.mark.parametrize("name", MUSEUM)
def test_museum(build: Callable[[str], Site], name: str) -> None:
    piece = MUSEUM[name]
    site = build(piece.stage)
    piece.damage(site)
    tables = site.sql("SELECT * FROM filelist"), site.sql("SELECT * FROM transfer"), site.sql("SELECT * FROM tally")
    found = site.run("dm-check", "--storage", "all", "--json").gave(0, 1)
    assert {one["rule"] for one in found.json["findings"]} == set(piece.rules), found
    assert found.code == (0 if all(one["note"] for one in found.json["findings"]) else 1)
    now = site.sql("SELECT * FROM filelist"), site.sql("SELECT * FROM transfer"), site.sql("SELECT * FROM tally")
    assert now == tables, "a look writes nothing"
    mended = site.run("dm-check", "--repair", "--storage", "all", "--json").gave(0 if piece.after is not None else 1).json
    assert mended["agrees"] is (piece.after is not None), mended
    if piece.after is None:
        return
    assert site.tally() == piece.after
    again = site.run("dm-check", "--storage", "all", "--json").ok().json
    assert again["findings"] == []


def test_a_sound_home_of_each_stage_agrees(build: Callable[[str], Site]) -> None:
    site = build("done")
    site.agrees()
    site.master(site.files("/x/slow1", "/x/2", "/x/3"), "more.txt")
    site.produce(lfns=1)
    site.agrees()
    site.consume()
    site.agrees()
    assert "directories and tables agree" in site.run("dm-check").ok().out


def test_a_hand_in_todo_is_told_and_is_no_disagreement(build: Callable[[str], Site]) -> None:
    site = build("done")
    site.move("DONE/Bad", "TODO", site.names("DONE/Bad")[0])
    site.put("TODO", "hand.txt", "/h/1")
    found = site.run("dm-check", "--json").ok().json
    told = sorted((one["rule"], one["note"]) for one in found["findings"])
    assert told == [("put-by-hand", True), ("requeued-by-hand", True)]
    assert found["agrees"] is True


def test_dry_run_repairs_nothing(build: Callable[[str], Site]) -> None:
    site = build("cut")
    queue(site, "TODO").unlink()
    found = site.run("dm-check", "--repair", "--dry-run").gave(1)
    assert "in-no-directory" in found.out
    assert len(site.names("TODO")) == 2
