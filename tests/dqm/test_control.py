"""dqm among the pipelines: what the dm-* commands say of it by its files, at the moment when one asks."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from dmtools import clock
from dmtools.command.report import Report
from dmtools.control.passes import Pass
from dmtools.dqm import freshness, generations, pages, record
from dmtools.dqm.freshness import Verdict
from dmtools.dqm.record import Job, Page, RobberSays, SiteSays
from dmtools.ledger import open_ledger
from dmtools.settings import load
from tests.support import Result, run

KEY, CRASHED = "3f0c5d1e9a7b2c64", "aa0c5d1e9a7b2c65"
SITES = {"production": 380001, "playback": 380002}


def page(site: str, run_number: int, at: datetime, *, live: bool = True) -> Page:
    jobs = (
        Job(key=KEY, host="fu-...-01", state="running", at=at, age=1.0, tag="beam", log=f"log-{KEY}.txt"),
        Job(key=CRASHED, host="fu-...-02", state="crashed", at=at, exit_code=139, tag="ecal"),
    )
    return Page(site=site, live=live, run=run_number, grabbed=at, data=at, jobs=jobs if site == "production" else jobs[:1])


def says(home: Path, site: str, at: datetime, **changes: Any) -> None:
    """site.json, all well at `at` but for the changes."""
    whole: dict[str, Any] = {"heard": at, "confirmed": at, "data": at, "link": "open", "running": 1, "old_runs": (379000,)}
    record.write(home / "dqm/public" / site / "site.json", SiteSays(site=site, title="", at=at, **{**whole, **changes}))


def mirror(home: Path, at: datetime | None = None) -> None:
    """Grabs and pages of both sites with one old run each, as robber and parser leave them."""
    at = at or clock.now()
    for site, number in SITES.items():
        raw, public = home / "dqm/raw" / site, home / "dqm/public" / site
        for tree, files in ((raw, {"page.html": b"<html>"}), (public, {"page.html": b"<article>"})):
            for place, what in (
                (tree / "live", page(site, number, at)),
                (tree / "runs/379000", page(site, 379000, at, live=False)),
            ):
                own = {"page.json": msgspec.json.encode(what)} if tree == public else {}
                generations.publish(place, {**files, **own})
        record.write(raw / "robber.json", RobberSays(site=site, at=at, confirmed=at, browser="chromium"))
        says(home, site, at)


def later(seconds: float) -> dict[str, str]:
    return {"DMTOOLS_CLOCK_OFFSET": str(seconds)}


def train(home: Path, code: int, seconds: float = 0) -> Any:
    return run("dm-train-ok", "--json", home=home, env=later(seconds)).gave(code).json


def ages(told: Any) -> dict[str, tuple[str, str]]:
    """(verdict, sentence) of each page's figure."""
    return {f["labels"]["site"]: (f["state"], f["text"]) for f in told["figures"] if f["family"] == "page_age"}


def counts(home: Path, seconds: float = 0) -> Any:
    told = run("dm-monitoring", "dqm", "--json", home=home, env=later(seconds)).ok().json["pipelines"]["dqm"]
    assert told["troubles"] == []
    return told["counts"]


# ---- line 2 of what broke there: stale shown as live --------------------------------------------------------------------


def test_broke_2_with_robber_and_parser_dead_monitoring_and_train_ok_say_so_by_themselves(home: Path) -> None:
    mirror(home)
    assert counts(home) == {"Fresh": 2, "Stale": 0, "Down": 0, "Broken": 0}
    assert {verdict for verdict, _ in ages(train(home, 0)).values()} == {"OK"}
    assert counts(home, 60) == {"Fresh": 0, "Stale": 2, "Down": 0, "Broken": 0}
    stale = ages(train(home, 1, 60))["production"]
    assert stale[0] == "WARNING"
    assert "start dqm-parser --loop, or what brings HOME/dqm/public here" in stale[1]
    told = run("dm-monitoring", "dqm", "--json", home=home, env=later(600)).ok().json["pipelines"]["dqm"]
    assert told["counts"]["Down"] == 2
    assert [one["subject"] for one in told["stuck"]] == list(SITES)
    assert all(one["next"] for one in told["stuck"])
    down = ages(train(home, 2, 600))["playback"]
    assert down[0] == "CRITICAL"
    assert "the parser has said nothing for 10 min" in down[1]
    shown = run("dm-monitoring", "dqm", home=home, env=later(600)).ok().out
    assert "dqm page production Down: run 380001, 1 running, 1 crashed; true 10 min ago; the parser has said nothing" in shown


def test_broke_2_a_cut_link_old_data_a_silent_robber_a_page_away_and_one_that_changed_are_told_apart(home: Path) -> None:
    mirror(home)
    at = clock.now() + timedelta(seconds=300)
    wanted: dict[str, tuple[str, str, str, str, dict[str, Any]]] = {
        "closed": ("Stale", "WARNING", "lost the link to its data", "tell those who run it", {"link": "closed"}),
        "old": (
            "Stale",
            "WARNING",
            "its running jobs have told nothing",
            "look at the page inside",
            {"data": at - timedelta(60)},
        ),
        "silent": ("Down", "CRITICAL", "the robber has said nothing", "start dqm-robber --loop", {"heard": at - timedelta(1)}),
        "away": (
            *("Down", "CRITICAL", "could not be got for 5 min: no browser", "run dqm-cfg on its machine"),
            {"confirmed": at - timedelta(seconds=300), "trouble": record.NO_BROWSER},
        ),
        "broken": ("Broken", "CRITICAL", "not what this program understands", "raw/broken/broken.json", {"broken_since": at}),
        "well": ("Fresh", "OK", "true ", "", {"running": 0, "data": at - timedelta(60)}),
    }
    shutil.rmtree(home / "dqm/raw")
    sites = ", ".join(f'{{name = "{name}", url = "sim:dqm/production"}}' for name in wanted)
    run("dqm-cfg", "--set", f"sites=[{sites}]", home=home).ok()
    for name, (*_, changes) in wanted.items():
        (home / "dqm/public" / name).mkdir()
        says(home, name, at, **changes)
    found = ages(train(home, 2, 300))
    for name, (state, verdict, why, todo, _) in wanted.items():
        assert found[name][0] == verdict, found[name]
        assert f"{name} is {state}" in found[name][1]
        assert why in found[name][1]
        assert todo in found[name][1]
    assert counts(home, 300) == {"Fresh": 1, "Stale": 2, "Down": 2, "Broken": 1}
    told = run("dm-monitoring", "dqm", "--json", home=home, env=later(300)).ok().json["pipelines"]["dqm"]
    steps = {one["subject"]: one["next"] for one in told["stuck"]}
    assert all(wanted[name][3] in steps[name] for name in ("silent", "away", "broken"))
    life = run("dm-trace", "broken", "--json", home=home, env=later(300)).ok().json
    assert (life["kind"], life["state"]) == ("page", "Broken")
    assert life["see"] == "docs/troubles.md, A mirrored page is not understood"


def test_broke_2_what_a_person_halted_is_no_alarm_and_is_told(home: Path) -> None:
    mirror(home)
    run("dm-command", "halt", "dqm", "--reason", "work at the pit", home=home).ok()
    verdict, said = ages(train(home, 1, 600))["production"]
    assert verdict == "WARNING"
    assert "work at the pit" in said
    assert "work at the pit" in run("dm-trace", "production", home=home, env=later(600)).ok().out


# ---- machines -----------------------------------------------------------------------------------------------------------


def test_a_machine_is_judged_by_what_it_has(home: Path) -> None:
    assert ages(train(home, 0)) == {}  # nothing of dqm is here
    assert sum(counts(home).values()) == 0
    mirror(home)
    for tree, also in (("raw", "public"), ("public", "raw")):
        (home / f"dqm/{also}").rename(home / "aside")
        (home / f"dqm/{also}").mkdir()
        assert {verdict for verdict, _ in ages(train(home, 0)).values()} == {"OK"}, tree
        found = ages(train(home, 2, 600))["production"]
        assert ("the robber has said nothing" if tree == "raw" else "the parser has said nothing") in found[1]
        (home / f"dqm/{also}").rmdir()
        (home / "aside").rename(home / f"dqm/{also}")
    shutil.rmtree(home / "dqm/public/playback")  # the parser of this machine has never seen it
    assert "nothing is known of this page yet" in ages(train(home, 2))["playback"][1]


def test_it_needs_no_manifest_that_can_be_read_and_hidden_trees_harm_nobody(home: Path) -> None:
    mirror(home)
    for site in SITES:
        for name in ("site.json", "live/g0000000001/manifest.json"):
            (home / "dqm/public" / site / name).write_bytes(b"{half")
    assert counts(home)["Down"] == 2
    assert "never got" in run("dm-monitoring", "dqm", home=home).ok().out
    run("dm-trace", "production", home=home).ok()


# ---- the books ----------------------------------------------------------------------------------------------------------


class Frame:
    """As much of a command's context as a pass needs."""

    def __init__(self, home: Path) -> None:
        self.settings, self.home, self.dry_run = load(home=home), home, False
        self.report = Report("dqm", "parser", "1")
        self.ledger = open_ledger(self.settings)

    def log(self, text: str) -> None:
        """Nobody reads it."""


def test_the_parser_books_a_change_once_and_its_history_is_told(home: Path) -> None:
    mirror(home)
    frame = Frame(home)
    with closing(frame.ledger):
        this = Pass(frame)  # type: ignore[arg-type]
        for state, why in ((freshness.FRESH, ""), (freshness.FRESH, ""), (freshness.BROKEN, "odd"), (freshness.FRESH, "")):
            pages.book(this, "production", Verdict(state, None, None, why))
        assert not pages.book(this, "production", Verdict(freshness.FRESH, None, None, ""))
    assert frame.report.counts == {">Fresh": 1, "Fresh>Broken": 1, "Broken>Fresh": 1}
    history = run("dm-trace", "production", "--json", home=home).ok().json["history"]
    assert [(one["from"], one["to"], one["why"]) for one in history] == [
        (None, "Fresh", None),
        ("Fresh", "Broken", "odd"),
        ("Broken", "Fresh", None),
    ]
    assert counts(home)["Fresh"] == 2
    run("dm-check", home=home).ok()
    run("dqm-cfg", "--set", "sites.production=", home=home).ok()
    assert "the settings name no such page" in run("dm-check", home=home).gave(1).out
    run("dm-check", "--repair", home=home).ok()
    told = run("dm-check", "--json", home=home).ok().json  # its files stay, and are told
    assert {(one["rule"], one["note"]) for one in told["findings"]} == {("stranger", True)}


# ---- dm-trace -----------------------------------------------------------------------------------------------------------


def test_a_page_a_run_and_a_job_are_found_by_name_number_and_key_or_a_part(home: Path) -> None:
    mirror(home)

    def life(*words: str, seconds: float = 0) -> Any:
        return run("dm-trace", *words, "--json", home=home, env=later(seconds)).ok().json

    live = life("production")
    assert (live["kind"], live["state"], live["link"]) == ("page", "Fresh", "open")
    assert live["grabbed"].startswith("g0000000001 of ")
    run_now, old = life("380001"), life("playback/379000")
    assert (run_now["subject"], run_now["state"]) == ("production/380001", "live")
    assert (old["subject"], old["state"], old["jobs"]) == ("playback/379000", "published", {"running": 1})
    assert [one["by"] for one in old["history"]] == ["dqm-robber", "dqm-parser"]
    assert life("379000")["also"] == ["run playback/379000"]
    job = life(CRASHED)
    assert (job["kind"], job["state"], job["exit_code"], job["run"]) == ("job", "crashed", 139, 380001)
    assert "with exit code 139" in job["why"]
    stuck = life(KEY, seconds=1000)
    assert "it tells nothing any more" in stuck["why"]
    assert life("aa0c5d1e")["subject"] == CRASHED
    shutil.rmtree(home / "dqm/public/playback/runs")
    assert life("playback/379000")["state"] == "grabbed"
    assert "production" in run("dm-trace", "prodction", home=home).gave(1).err


# ---- dm-check -----------------------------------------------------------------------------------------------------------


def findings(told: Result) -> set[tuple[str, str]]:
    return {(one["rule"], one["subject"]) for one in told.json["findings"]}


def test_what_killed_writers_left_and_what_is_torn_goes_and_what_is_in_force_stays(home: Path) -> None:
    mirror(home)
    public, raw = home / "dqm/public/production/live", home / "dqm/raw/production/live"
    (raw / ".new-1-abc").mkdir()
    (raw / ".new-1-abc/page.html").write_text("half")
    (home / "dqm/raw/production/.robber.json.4194303.tmp").write_text("half")
    shutil.copytree(public / "g0000000001", public / "g0000000002")  # newer, and half
    (public / "g0000000002/page.html").write_bytes(b"")
    (home / "dqm/raw/playback/live/g0000000001/page.html").write_bytes(b"<other")  # the same size, other bytes
    room = home / "run/dqm/production"
    room.mkdir(parents=True)
    assert "half" not in {
        rule for rule, _ in findings(run("dm-check", "--json", home=home).gave(0))
    }  # perhaps it is being brought
    old = later(3600)
    wanted = {
        ("leftover", "dqm/raw/production/live/.new-1-abc"),
        ("leftover", "dqm/raw/production/.robber.json.4194303.tmp"),
        ("half", "dqm/public/production/live/g0000000002"),
        ("room", "run/dqm/production"),
    }
    assert findings(run("dm-check", "--json", home=home, env=old).gave(1)) == wanted
    damaged = ("damaged", "dqm/raw/playback/live/g0000000001")
    assert findings(run("dm-check", "--storage", "sample", "--json", home=home, env=old).gave(1)) == wanted | {damaged}
    run("dm-check", "--repair", "--storage", "all", home=home, env=old).ok()
    assert findings(run("dm-check", "--storage", "all", "--json", home=home, env=old).ok()) == set()
    assert sorted(os.listdir(public)) == ["g0000000001"]
    assert sorted(os.listdir(raw)) == ["g0000000001"]
    assert os.listdir(home / "dqm/raw/playback/live") == []
    assert not room.exists()
    assert counts(home)["Fresh"] == 2


# ---- dm-command, dm-crontab ---------------------------------------------------------------------------------------------


def test_the_word_is_for_robber_old_runs_and_parser(home: Path) -> None:
    for part in ("robber", "robber-oldruns", "parser"):
        run("dm-command", "halt", f"dqm/{part}", home=home).ok()
    assert "has no component 'parsr'; did you mean 'parser'?" in run("dm-command", "halt", "dqm/parsr", home=home).gave(2).err
    told = run("dm-monitoring", "dqm", "--json", home=home).ok().json["pipelines"]["dqm"]
    assert {name: one["control"] for name, one in told["components"].items()} == dict.fromkeys(
        ("robber", "robber-oldruns", "parser"), "halt"
    )
    shown = run("dm-crontab", "show", "dqm", "--every", "30m", home=home).ok().out
    lines = [line for line in shown.splitlines() if line.startswith("* * * * *")]
    assert [line.rpartition("/")[2] for line in lines] == [
        "dqm-robber --loop",
        "dqm-robber --old-runs --loop",
        "dqm-parser --loop",
    ]
    assert len({line.partition("run/")[2].partition(" ")[0] for line in lines}) == 3


def test_under_a_halt_no_loop_begins(home: Path) -> None:
    """How it ends one that runs is in the journey."""
    run("dm-command", "halt", "dqm/parser", home=home).ok()
    assert run("dqm-parser", "--loop", "--json", home=home).ok().json["state"] == "halted"
