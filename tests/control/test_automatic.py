"""Automatic holds: the error limit and full disks. They are told with their why, and end with their cause."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Result, run

Run = Callable[..., Result]
HOST = socket.gethostname()


def limit(home: Path, text: str) -> None:
    """More lines of [control]."""
    path = home / "dmtools.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("control.")]
    head = [f"control.{line}" for line in text.splitlines()]
    path.write_text("\n".join([*head, *lines]) + "\n")


def held(home: Path, **later: Any) -> list[dict[str, Any]]:
    """The holds that dm-command tells."""
    found = run("dm-command", "--json", home=home, **later).ok().json["holds"]
    assert isinstance(found, list)
    return found


def later(seconds: float) -> dict[str, str]:
    return {"DMTOOLS_CLOCK_OFFSET": str(seconds)}


def sql(home: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with sqlite3.connect(home / "dmtools.db") as raw:
        return raw.execute(statement, values).fetchall()


# ---- the error limit -----------------------------------------------------------------------------------------------------


def test_what_could_not_run_is_drained_at_the_limit_tried_by_each_pass_and_free_when_it_works(tiny: Run, home: Path) -> None:
    limit(home, "error_limit = 3")
    for _ in range(2):
        tiny("--fail", "unavailable").gave(75)
    assert held(home) == []
    tiny("--fail", "unavailable").gave(75)
    (hold,) = held(home)
    assert (hold["kind"], hold["scope"], hold["state"], hold["by"]) == ("automatic", "tiny/work", "drain", "error limit")
    assert "could not run 3 times in a row" in hold["reason"]
    assert "no server: all: none answers" in hold["reason"]
    assert "start one" in hold["reason"], "what to do"
    assert hold["until"] is None
    tiny("--fail", "unavailable").gave(75)  # asked again at each pass, and told as before
    (again,) = held(home)
    assert again["since"] == hold["since"]
    assert "4 times in a row" in again["reason"]
    assert tiny("--json").ok().json["counts"] == {"Raw>Ready": 1}
    assert held(home) == []
    assert sql(home, "SELECT kind, cleared_by FROM hold") == [("automatic", "tiny-work")]


def test_what_fails_by_itself_is_halted_and_tried_again_after_a_wait_that_doubles(tiny: Run, home: Path) -> None:
    limit(home, "error_limit = 2")
    for _ in range(2):
        tiny("--fail", "bug").gave(1)
    (hold,) = held(home)
    assert (hold["kind"], hold["state"], hold["scope"]) == ("automatic", "halt", "tiny/work")
    assert "failed 2 times in a row" in hold["reason"]
    assert "ZeroDivisionError" in hold["reason"]
    found = tiny("--fail", "bug", "--json").ok()
    assert (found.json["state"], found.err) == ("halted", ""), "it fails no more: cron's mail stops"
    tiny("--fail", "bug", env=later(70)).gave(1)
    assert tiny("--json", env=later(130)).ok().json["state"] == "halted", "two minutes now"
    assert tiny("--json", env=later(200)).ok().json["state"] == "done"
    assert held(home, env=later(200)) == []
    assert len(sql(home, "SELECT id FROM hold")) == 1, "a hold that goes on is one hold"


def test_the_wait_is_an_hour_at_most(tiny: Run, home: Path) -> None:
    limit(home, "error_limit = 1")
    tiny("--fail", "bug").gave(1)
    sql(home, "UPDATE component SET errors_in_row = 5000")
    tiny("--fail", "bug", env=later(100)).gave(1)
    assert tiny("--json", env=later(3600)).ok().json["state"] == "halted"
    assert tiny("--json", env=later(3750)).ok().json["state"] == "done"


def test_items_that_fail_are_no_failure_of_the_pass(tiny: Run, home: Path) -> None:
    limit(home, "error_limit = 1")
    tiny("--fail", "item").gave(1)
    tiny("--fail", "told").ok()
    assert held(home) == []


def test_run_ends_it_and_it_comes_back_with_the_next_failure(tiny: Run, home: Path) -> None:
    limit(home, "error_limit = 2")
    for _ in range(2):
        tiny("--fail", "bug").gave(1)
    said = tiny("run", "tiny/work", name="dm-command").ok()
    assert "ended: automatic halt of tiny/work by error limit" in said.out
    assert "comes back if its cause is still there" in said.out
    tiny("--fail", "bug").gave(1)
    assert [hold["kind"] for hold in held(home)] == ["automatic"]
    tiny("run", name="dm-command").ok()
    assert tiny("--json").ok().json["state"] == "done"
    assert held(home) == []


@pytest.mark.parametrize(("word", "state"), [("halt", "halted"), ("drain", "draining")])
def test_a_persons_word_stays_when_the_cause_of_the_automatic_one_is_gone(tiny: Run, home: Path, word: str, state: str) -> None:
    limit(home, "error_limit = 1")
    tiny("--fail", "unavailable").gave(75)
    tiny(word, "tiny/work", "--reason", "mine", name="dm-command").ok()
    assert sorted(hold["kind"] for hold in held(home)) == ["automatic", "person"]
    assert tiny("--json").ok().json["state"] == state
    kinds = {hold["kind"] for hold in held(home)}
    assert "person" in kinds
    assert ("automatic" in kinds) is (word == "halt"), "a halted pass has proved nothing"
    assert tiny("--json", env=later(86400 * 365)).ok().json["state"] == state


def test_a_halted_and_a_killed_pass_neither_place_nor_end_it(tiny: Run, home: Path) -> None:
    limit(home, "error_limit = 1")
    tiny("halt", "tiny", name="dm-command").ok()
    tiny("--fail", "bug").ok()
    assert [hold["kind"] for hold in held(home)] == ["person"]
    tiny("run", name="dm-command").ok()
    tiny("--fail", "bug").gave(1)
    sql(home, "UPDATE component SET state = 'running'")  # as a killed pass leaves it
    assert [hold["kind"] for hold in held(home)] == ["automatic"]


def test_it_is_told_by_every_command_that_tells_of_holds(tiny: Run, home: Path) -> None:
    limit(home, "error_limit = 2")
    for _ in range(2):
        tiny("--fail", "unavailable").gave(75)
    shown = tiny(name="dm-command").ok().out
    assert "tiny/work: drain\n" in shown
    assert "automatic drain of tiny/work by error limit since " in shown
    assert "hold automatic drain of tiny/work by error limit since " in tiny(name="dm-monitoring").ok().out
    told = tiny("--json", name="dm-monitoring").ok().json["pipelines"]["tiny"]
    assert [(hold["kind"], hold["scope"]) for hold in told["control"]["holds"]] == [("automatic", "tiny/work")]
    assert (told["control"]["state"], told["components"]["work"]["control"]) == ("run", "drain")
    checked = tiny("--json", name="dm-train-ok").gave(2).json
    states = {one["name"]: (one["state"], one["text"]) for one in checked["figures"]}
    assert states["tiny/work_hold_age"][0] == "WARNING"
    assert "none answers" in states["tiny/work_hold_age"][1]
    assert states["tiny_work_errors_in_row"][0] == "CRITICAL"
    tiny().ok()
    assert tiny("--json", name="dm-train-ok").ok().json["state"] == "OK"


def test_dm_trace_says_why_and_what_ends_it(home: Path) -> None:
    (home / "migrate/TODO/ListOfLFNs/all.txt").write_text("/a/1\n")
    run("migrate-producer", home=home).ok()
    (listed,) = (home / "migrate/TODO").glob("FTSList-*")

    def why() -> dict[str, Any]:
        found = run("dm-trace", listed.name, "--json", home=home).ok().json
        assert isinstance(found, dict)
        return found

    limit(home, "error_limit = 1")
    run("migrate-consumer", home=home).gave(75)
    assert [hold["by"] for hold in held(home)] == ["error limit"]
    assert "held" not in why()["why"], "each pass tries: the servers that are away are the reason"
    assert "is away since" in why()["why"]
    limit(home, "error_limit = 100\nfull_percent = 100")
    run("migrate-producer", home=home).ok()
    assert "migrate-consumer is held: automatic drain of all by free space" in why()["why"]
    assert "make room" in why()["next"]


def test_a_peoples_command_is_never_held(home: Path) -> None:
    """migrate-cancel works under a halt; an error of it must not place one either."""
    limit(home, "error_limit = 1")
    run("migrate-cancel", "--abandon", "nobody", "--yes", home=home).gave(1, 2, 75)
    assert held(home) == []


# ---- full disks ------------------------------------------------------------------------------------------------------------


def test_a_full_disk_of_home_drains_all_and_lets_go_by_itself(tiny: Run, home: Path) -> None:
    limit(home, "full_percent = 100")
    assert tiny("--json").ok().json["state"] == "draining"
    (hold,) = held(home)
    assert (hold["kind"], hold["scope"], hold["state"], hold["by"]) == ("automatic", "all", "drain", f"free space@{HOST}")
    assert str(home) in hold["reason"]
    assert "make room" in hold["reason"]
    assert tiny("--json", name="dm-train-ok").gave(1).json["text"].startswith("automatic drain of all by free space")
    tiny("run", name="dm-command").ok()
    assert tiny("--json").ok().json["counts"] == {}, "it came back: the disk is as full as before"
    assert len(held(home)) == 1
    limit(home, "full_percent = 0")
    assert tiny("--json").ok().json["counts"] == {"Raw>Ready": 1}
    assert held(home) == []


def test_a_dry_run_writes_no_hold(tiny: Run, home: Path) -> None:
    limit(home, "full_percent = 100")
    tiny("--dry-run").ok()
    assert held(home) == []


def test_the_full_disk_of_another_host_binds_nobody_here_and_stays_told(tiny: Run, home: Path) -> None:
    tiny("drain", "all", name="dm-command").ok()
    sql(home, "UPDATE hold SET kind = 'automatic', \"by\" = 'free space@farm07'")
    assert tiny("--json").ok().json["state"] == "done"
    assert [hold["by"] for hold in held(home)] == ["free space@farm07"]


def test_a_full_disk_does_not_end_a_persons_drain(tiny: Run, home: Path) -> None:
    tiny("drain", "all", name="dm-command").ok()
    limit(home, "full_percent = 100")
    tiny().ok()
    assert sorted(hold["kind"] for hold in held(home)) == ["automatic", "person"]
    limit(home, "full_percent = 0")
    assert tiny("--json").ok().json["state"] == "draining"
    assert [hold["kind"] for hold in held(home)] == ["person"]


@pytest.fixture
def disk(short_tmp: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    place = short_tmp / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0755", "dm-small", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, percent: float) -> None:
    """So much of it stays free."""
    found = os.statvfs(disk)
    with (disk / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, int(found.f_blocks * found.f_frsize * (100 - percent) / 100)))


@pytest.mark.needs("root")
def test_a_full_destination_drains_the_consumer_alone_and_has_room_again(home: Path, disk: Path) -> None:
    rule = f'{{match = "/", source = "file://{home}/demo/castor", destination = "file://{disk}/echo"}}'
    (disk / "echo").mkdir()
    path = home / "dmtools.toml"
    path.write_text(f"migrate.rules = [{rule}]\ncontrol.full_percent = 20\n{path.read_text()}")
    (home / "migrate/TODO/ListOfLFNs/all.txt").write_text("/a/1\n/a/2\n")
    fill(disk, 10)
    assert run("migrate-producer", "--json", home=home).ok().json["counts"] == {"Listed>TODO": 1 * 2}
    run("migrate-consumer", home=home).gave(75)  # no server runs; the gate comes behind that question
    (hold,) = held(home)
    assert (hold["scope"], hold["kind"], hold["state"]) == ("migrate/consumer", "automatic", "drain")
    assert f"{disk}/echo has" in hold["reason"]
    assert run("migrate-monitor", "--json", home=home).ok().json["state"] == "idle"
    (disk / "ballast").unlink()
    fill(disk, 22)
    run("migrate-consumer", home=home).gave(75)
    assert len(held(home)) == 1, "a little room is not enough: it would come and go"
    (disk / "ballast").unlink()
    run("migrate-consumer", home=home).gave(75)
    assert held(home) == []


def test_one_of_several_destinations_holds_up_no_other(home: Path, short_tmp: Path) -> None:
    rules = ", ".join(
        f'{{match = "/{n}", source = "file://{home}/demo/castor", destination = "{url}"}}'
        for n, url in (("a", f"file://{short_tmp}"), ("b", "root://host//b"))
    )
    path = home / "dmtools.toml"
    path.write_text(f"migrate.rules = [{rules}]\n{path.read_text()}")
    code = "from dmtools.migrate.buffers import destinations; from dmtools.settings import load; print(destinations(load()))"
    python = short_tmp / "ask.py"
    python.write_text(f"#!/usr/bin/env python3\n{code}\n")
    env = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    assert run(str(python), home=home, env=env).ok().out == "[]\n"
