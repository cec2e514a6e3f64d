"""dm-trace: the life of a thing, where it is, why it doesn't move, what to do; over real passes and a real simulator."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import Result, Server, run, wait_until

NAMES = [*(f"/a/f {n}" for n in range(30)), "/a/\u00fc", "/a/100%", "/b/gone"]


@pytest.fixture
def filled(home: Path) -> Path:
    """A HOME with a source tree and its master list; /b/gone is not there."""
    for name in NAMES[:-1]:
        path = home / "demo" / "castor" / name[1:]
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    (home / "migrate" / "TODO" / "ListOfLFNs" / "m.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return home


def trace(home: Path, name: object, *words: object) -> dict[str, Any]:
    found: dict[str, Any] = run("dm-trace", name, "--json", *words, home=home).ok().json
    return found


def finish(home: Path) -> None:
    def done() -> bool:
        run("migrate-monitor", home=home).ok()
        counts = run("dm-monitoring", "--json", home=home).ok().json["pipelines"]["migrate"]["counts"]
        return bool(counts["DOING"] == 0)

    wait_until(done, 60, "the jobs end")


def test_the_life_of_a_file_from_the_master_list_to_the_destination(filled: Path, sim: Callable[..., Server]) -> None:
    name = "/a/f 3"
    found = trace(filled, name)
    assert (found["subject"], found["pipeline"], found["state"]) == (name, "migrate", "Listed")
    assert "no pass has read" in found["why"]
    run("migrate-producer", "--lists", 1, home=filled).ok()
    found = trace(filled, name)
    assert (found["state"], found["list"][:8]) == ("TODO", "FTSList-")
    assert "migrate-consumer" in found["next"]
    assert "m.txt" in trace(filled, "/b/gone")["why"]
    assert trace(filled, "/b/gone")["state"] == "Listed"
    run("migrate-producer", "--lists", 0, home=filled).ok()

    run("migrate-consumer", home=filled).gave(75)
    assert "away" in trace(filled, name)["why"]
    sim(filled)
    run("migrate-consumer", home=filled).gave(0, 1)
    found = trace(filled, name)
    assert found["state"] == "DOING"
    assert found["server"] in found["why"]
    job, listed = found["job"], found["list"]
    finish(filled)

    found = trace(filled, name)
    assert (found["subject"], found["state"]) == (name, "Okay")
    steps = [(step["from"], step["to"], step["by"]) for step in found["history"]]
    assert steps == [
        ("Listed", "TODO", "migrate-producer"),
        ("TODO", "DOING", "migrate-consumer"),
        ("DOING", "Okay", "migrate-monitor"),
    ]
    times = [step["at"] for step in found["history"]]
    assert times == sorted(times)
    assert trace(filled, "/b/gone")["state"] == "Missing"
    gone = trace(filled, "/b/gone")
    assert "the source is not there" in gone["why"]
    again = gone["next"].partition("then: ")[2].split()
    run(*again, home=filled).ok()
    assert trace(filled, "/b/gone")["state"] == "TODO", "what it says to do can be done"

    for also in (found["source"], found["destination"], filled / "demo" / "echo" / "a" / "f 3"):
        assert trace(filled, also)["history"] == found["history"]
    for which in (listed, filled / "migrate" / "DONE" / "Okay" / listed):
        whole = trace(filled, which)
        assert (whole["kind"], whole["state"], whole["places"]) == ("list", "done", ["DONE/Okay"])
        assert whole["job"] == job
    ended = trace(filled, job)
    assert (ended["kind"], ended["subject"], ended["list"]) == ("job", job, listed)
    assert "FINISHED" in ended["why"]
    assert trace(filled, "m.txt")["kind"] == "master list"


def test_an_exact_name_goes_before_a_part(filled: Path, sim: Callable[..., Server]) -> None:
    sim(filled)
    run("migrate-producer", "--lists", 0, home=filled).ok()
    run("migrate-consumer", home=filled).gave(0, 1)
    assert trace(filled, "/a/f 1")["subject"] == "/a/f 1"
    assert trace(filled, "/a/f 1")["matches"] == []
    part = trace(filled, "f 1")
    assert {match["subject"] for match in part["matches"]} == {"/a/f 1", *(f"/a/f 1{n}" for n in range(10))}
    assert part["more"] is False
    assert trace(filled, "f 29")["subject"] == "/a/f 29"
    assert trace(filled, "\u00fc")["subject"] == "/a/\u00fc"
    assert trace(filled, "100%")["subject"] == "/a/100%"
    assert trace(filled, "%C3%BC")["subject"] == "/a/\u00fc"
    few = trace(filled, "/a/f", "--limit", 5)
    assert (len(few["matches"]), few["more"]) == (5, True)
    shown = run("dm-trace", "/a/f", "--limit", 5, home=filled).ok().out
    assert "there are more than 5" in shown
    assert trace(filled, "/A/F 1".lower())["subject"] == "/a/f 1"
    assert run("dm-trace", "/A/F 1", home=filled).gave(1)


@pytest.mark.parametrize("part", ["_", "%", "'", "\\", "[a-z]", "*"])
def test_a_part_is_no_pattern(filled: Path, sim: Callable[..., Server], part: str) -> None:
    run("migrate-producer", "--lists", 0, home=filled).ok()
    found = run("dm-trace", part, "--json", home=filled)
    if part == "%":
        assert found.ok().json["subject"] == "/a/100%"
    elif part == "_":
        assert found.code == 1
    else:
        assert "no pipeline knows" in found.gave(1).err


def test_what_is_not_there_is_1_with_near_names(filled: Path) -> None:
    found = run("dm-trace", "/nowhere", home=filled).gave(1)
    assert "no pipeline knows" in found.err
    assert run("dm-trace", "", home=filled).gave(2)


def test_near_names_come_from_the_same_directory(filled: Path, sim: Callable[..., Server]) -> None:
    sim(filled)
    run("migrate-producer", "--lists", 0, home=filled).ok()
    run("migrate-consumer", home=filled).gave(0, 1)
    assert "near: " in run("dm-trace", "/a/f 311", home=filled).gave(1).err


def test_why_it_waits_a_hold_comes_first(filled: Path) -> None:
    run("migrate-producer", "--lists", 0, home=filled).ok()
    run("dm-command", "halt", "migrate/consumer", "--reason", "flood", home=filled).ok()
    found = trace(filled, "/a/f 3")
    assert found["why"].startswith("migrate-consumer is held: halt of migrate/consumer by ")
    assert "flood" in found["why"]
    assert found["next"] == "dm-command run migrate/consumer"


def test_why_it_waits_the_server_is_away(filled: Path, sim: Callable[..., Server]) -> None:
    both = sim(filled)
    run("migrate-producer", "--lists", 0, home=filled).ok()
    run("migrate-consumer", home=filled).gave(0, 1)
    both.stop()
    run("migrate-monitor", home=filled).gave(75)
    found = trace(filled, "/a/f 3")
    assert found["state"] == "DOING"
    assert f"{found['server']} is away since " in found["why"]
    assert f"migrate-cancel --abandon {found['server']}" in found["next"]


def test_a_packed_master_list_and_lines_without_an_end(home: Path) -> None:
    place = home / "migrate" / "TODO" / "ListOfLFNs"
    (place / "packed.gz").write_bytes(gzip.compress(b"/p/1\n/p/2\n" + b"/x\n" * 600_000 + b"/p/last"))
    for name in ("/p/1", "/p/2", "/p/last"):
        found = trace(home, name)
        assert (found["subject"], found["state"], found["master"]) == (name, "Listed", "packed.gz")
    run("dm-trace", "/p/las", home=home).ok()
    run("dm-trace", "/p/lastt", home=home).gave(1)


def test_a_list_that_a_person_has_put_into_todo(home: Path) -> None:
    castor, echo = home / "demo" / "castor", home / "demo" / "echo"
    (home / "migrate" / "TODO" / "mine.txt").write_text(f"file://{castor}/x%20y  file://{echo}/x%20y\n")
    found = trace(home, "/x y")
    assert (found["subject"], found["state"], found["list"]) == ("/x y", "TODO", "mine.txt")


def test_a_name_that_is_not_utf8(home: Path) -> None:
    (home / "migrate" / "TODO" / "ListOfLFNs" / "m").write_bytes(b"/caf\xe9\n")
    assert trace(home, "/caf\udce9")["subject"] == "/caf%E9"
    assert trace(home, "/caf%E9")["state"] == "Listed"


def test_a_third_partys_thing(tiny: Callable[..., Result]) -> None:
    assert tiny("pebble", "--json", name="dm-trace").ok().json["pipeline"] == "tiny"
    assert "tiny thing pebble: Raw" in tiny("pebb", name="dm-trace").ok().out
