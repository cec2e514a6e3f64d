"""daq as people see it: dm-trace, dm-monitoring and dm-train-ok over real passes, a real local batch room, a real simulator."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.control.queries import plans_on_sqlite, queries_of
from tests.daq.archive_steps import Archive
from tests.support import Server

NOTES = "MIG_A/run_notes.txt"
ONE, TWO, GROWING = (f"MIG_A/run_{n}_20261126T101010.dat" for n in ("1", "2 ü", "3"))


class Disks(Archive):
    """A HOME with DAQ disks."""

    def disk(self, number: int) -> Path:
        return self.home / "demo/daq" / f"data{number}"

    def write(self, number: int, *paths: str) -> None:
        for path in paths:
            place = self.disk(number) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(os.urandom(3000))

    def flag(self, *numbers: int) -> None:
        for number in numbers:
            (self.disk(number) / "ReadyToTransfer").touch()

    def transfer(self) -> None:
        self.run("daq-transfer").gave(0, 1)

    def trace(self, name: object) -> dict[str, Any]:
        found: dict[str, Any] = self.run("dm-trace", name, "--json").ok().json
        return found

    def lfn(self, path: str) -> str:
        return f"/2611/261126/{path}"

    def check(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """dm-train-ok's word, and its figures by family; of several the worst."""
        found = self.run("dm-train-ok", "--json").gave(0, 1, 2).json
        rank = ("OK", "WARNING", "UNKNOWN", "CRITICAL")
        figures = sorted(found["figures"], key=lambda one: rank.index(one["state"]))
        return found["state"], {one["family"]: one for one in figures}


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Disks:
    return Disks(home, serve)


def test_the_life_of_a_file_from_its_disk_to_tape_and_off_the_disk(site: Disks) -> None:
    site.only()
    site.write(1, ONE, TWO)
    site.flag(1)
    site.transfer()
    lfn = site.lfn(ONE)
    found = site.trace(lfn)
    assert (found["subject"], found["pipeline"], found["kind"], found["state"]) == (lfn, "daq", "file", "AtSite")
    assert "safety is tape-verified" in found["why"]
    assert "daq-archive" in found["next"]
    assert found["on_disk"] == str(site.disk(1) / ONE)
    assert site.trace(site.disk(1) / TWO)["subject"] == site.lfn(TWO), "a path on a disk is asked for by its place"
    assert site.trace(found["site"])["subject"] == lfn
    assert "2 wait for a zip job" in site.trace(site.disk(1))["why"]

    site.archive()
    zipping = site.trace(lfn)
    assert (zipping["state"], zipping["zip"]) == ("Zipping", f"{lfn}.zip")
    assert zipping["job"] in zipping["why"]
    job = site.trace(zipping["job"])
    assert (job["kind"], job["subject"], job["files"], job["batch"]) == ("zip", f"{lfn}.zip", [lfn], "local")
    assert "2 of at most 150 open" in site.run("dm-monitoring").ok().out
    site.zipped()
    assert "every FTS server is away" in site.trace(f"{lfn}.zip")["why"] or "fts1 is away" in site.trace(f"{lfn}.zip")["why"]

    site.start()
    site.archive()
    site.over()
    going = site.trace(lfn)
    assert (going["state"], re.findall(r"job [0-9a-f-]{36} at fts1", going["why"]) != []) == ("ToTape", True)
    (fts,) = (job for (job,) in site.sql("SELECT job FROM ftsjob"))
    assert (site.trace(fts)["kind"], site.trace(fts)["pipeline"]) == ("job", "daq")
    site.archive()
    assert site.trace(lfn)["state"] == "OnTape"
    site.transfer()
    found = site.trace(lfn)
    assert (found["state"], found["was_on_disk"]) == ("Freed", str(site.disk(1) / ONE))
    assert f"daq-restore {lfn}" in found["next"]
    states = [step["to"] for step in found["history"] if step["to"]]
    assert states == ["Found", "Copied", "AtSite", "Zipping", "Zipped", "ToTape", "OnTape", "Freed"]
    times = [step["at"] for step in found["history"]]
    assert times == sorted(times)
    assert site.trace(found["tape"])["subject"] in (lfn, f"{lfn}.zip")
    assert site.trace(site.disk(1) / ONE)["subject"] == lfn, "also where it was"
    near = site.run("dm-trace", lfn.replace("run_1", "run_11"), "--json").gave(1).json
    assert lfn in near["errors"][0]["why"]


def test_a_held_job_a_lost_job_and_a_tape_that_proves_nothing_are_told_with_their_reasons(site: Disks) -> None:
    site.only()
    site.write(1, ONE, TWO, GROWING)
    site.flag(1)
    site.transfer()
    site.archive()
    site.jobs_over()
    as_daq_archive_writes_it = (
        (ONE, "reason = 'its job is held: no memory', next_try = '2099-01-01'"),
        (TWO.replace(" ü", "%20%C3%BC"), "state = 'Waiting', error_class = 'lost', reason = 'no such job'"),
        (GROWING, "state = 'ToTape', since = '2026-01-01'"),
    )
    with site.database() as db:
        for path, values in as_daq_archive_writes_it:
            db.execute(f"UPDATE daq_zip SET {values} WHERE id IN (SELECT zip_id FROM daq_file f WHERE f.path = ?)", (path,))
    said = site.run("dm-monitoring").ok().out
    assert "1 held (its job is held: no memory)" in said
    assert "1 lost, to be done again" in said
    word, figures = site.check()
    assert word in ("WARNING", "CRITICAL")
    assert {name: figures[name]["state"] for name in ("jobs_held", "jobs_lost", "not_proved")} == dict.fromkeys(
        ("jobs_held", "jobs_lost", "not_proved"), "WARNING"
    )
    assert "no memory" in figures["jobs_held"]["text"]
    assert "no memory" in site.trace(site.lfn(ONE))["why"]
    assert "no such job" in site.trace(site.lfn(TWO))["why"]
    assert figures["duplicates"]["value"] == 0


def test_a_refused_job_is_told_with_the_batch_systems_words_until_it_is_taken(site: Disks) -> None:
    site.write(1, ONE)
    site.flag(1)
    site.transfer()
    refuses = site.home / "refuses"
    refuses.mkdir()
    (refuses / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: Invalid partition name specified' >&2; exit 1\n")
    for name in ("squeue", "sacct", "scontrol"):
        (refuses / name).write_text("#!/bin/sh\n")
    for path in refuses.iterdir():
        path.chmod(0o755)
    site.settings('[daq]\nbatch = "slurm"\n')
    env = {"PATH": f"{refuses}:{os.environ['PATH']}"}
    site.run("daq-archive", env=env)
    _, figures = site.check()
    assert (figures["jobs_refused"]["value"], figures["jobs_refused"]["state"]) == (1, "WARNING")
    assert "Invalid partition name specified" in figures["jobs_refused"]["text"]
    assert "docs/troubles.md, A zip job is refused" in str(figures["jobs_refused"])
    assert "1 refused (sbatch refuses it: " in site.run("dm-monitoring").ok().out
    found = site.trace(f"{site.lfn(ONE)}.zip")
    assert "is not taken: sbatch refuses it: " in found["why"]
    assert "batch_options" in found["next"]
    (refuses / "sbatch").write_text("#!/bin/sh\necho 7\n")
    site.run("daq-archive", env=env)
    assert site.check()[1]["jobs_refused"]["value"] == 0


def test_two_open_jobs_of_one_list_of_zips_are_told(site: Disks) -> None:
    site.start()
    (lfn,) = site.at_site("/2611/261126/MIG_A/x_20261126T101010.dat")
    site.faults('[[fault]]\nmatch = "*.zip"\nop = "stall"\n')
    site.zipped()
    site.archive()
    with site.database() as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(ftsjob)") if row[1] != "id"]
        twin = ", ".join({"attempt": "attempt + 1", "sid": "sid || 2", "job": "job || 2"}.get(name, name) for name in columns)
        db.execute(f"INSERT INTO ftsjob ({', '.join(columns)}) SELECT {twin} FROM ftsjob")
    figure = site.check()[1]["duplicates"]
    assert (figure["value"], figure["state"]) == (1, "WARNING"), lfn


def test_a_tape_that_says_online_only_is_quoted_by_dm_trace(site: Disks) -> None:
    site.only()
    site.settings("[daq]\narchive_timeout = 30\n")
    site.start()
    (lfn,) = site.at_site("/2611/261126/MIG_A/x_20261126T101010.dat")
    site.zipped()
    site.over()
    os.setxattr(site.on_tape(lfn), "user.status", b"ONLINE")
    site.archive()
    found = site.trace(lfn)
    assert found["state"] == "ToTape"
    assert "the tape has not proved that it has it; the tape says ONLINE" in found["why"]
    late = site.run("dm-trace", f"{lfn}.zip", "--json", env={"DMTOOLS_CLOCK_OFFSET": "60"}).ok().json
    assert "ask those who run the tape" in late["next"]
    os.setxattr(site.on_tape(lfn), "user.status", b"NEARLINE")
    site.archive()
    assert (site.trace(lfn)["state"], site.trace(lfn)["reason"]) == ("OnTape", None)


def test_one_free_disk_left_warns_and_none_is_critical_naming_what_waits_for_tape(site: Disks) -> None:
    site.write(1, ONE)
    site.write(2, NOTES)
    site.flag(1, 2)
    site.transfer()
    word, figures = site.check()
    assert figures["free_disks"]["state"] == "OK"
    assert figures["disk_waits"]["state"] == "WARNING", "only a person can empty it"
    assert NOTES in figures["disk_waits"]["text"]
    site.flag(3)
    word, figures = site.check()
    assert (word, figures["free_disks"]["state"]) == ("WARNING", "WARNING")
    site.flag(4)
    word, figures = site.check()
    assert (word, figures["free_disks"]["state"]) == ("CRITICAL", "CRITICAL")
    assert f"{site.disk(1)}: waits for tape: 1 wait for a zip job" in figures["free_disks"]["text"]

    kept = site.trace(site.disk(2) / NOTES)
    assert (kept["state"], str(site.disk(2) / NOTES) in kept["next"]) == ("Skipped", True)
    assert NOTES in site.trace(site.disk(2))["why"]
    told = site.run("dm-monitoring", "--json").ok().json["pipelines"]["daq"]
    assert [(one["name"], one["well"]) for one in told["notes"]][:2] == [(str(site.disk(1)), True), (str(site.disk(2)), False)]
    assert [one["subject"] for one in told["stuck"]] == [str(site.disk(2))]
    site.disk(1).rename(site.disk(1).with_name("away"))
    word, figures = site.check()
    assert (figures["disk_away"]["state"], "No such file" in figures["disk_away"]["text"]) == ("WARNING", True)


def test_a_file_that_is_written_waits_and_says_so(site: Disks) -> None:
    site.write(1, GROWING)
    site.flag(1)
    with (site.disk(1) / GROWING).open("ab"):
        site.transfer()
    found = site.trace(site.lfn(GROWING))
    assert (found["state"], "still growing" in found["why"]) == ("Found", True)
    assert "1 to be copied" in site.run("dm-monitoring", "daq").ok().out


@pytest.mark.parametrize("name", ["dm-train-ok", "dm-monitoring"])
def test_no_query_goes_through_a_whole_table_of_files_or_zips(site: Disks, name: str) -> None:
    site.write(1, *(f"MIG_A/run_{n}_20261126T101010.dat" for n in range(40)), NOTES)
    site.flag(1)
    site.transfer()
    site.archive()
    queries = queries_of(name, site.home)
    assert [text for text, _ in queries if "daq_file" in text]
    with site.database() as db:
        plans = list(plans_on_sqlite(db, queries))
    found = re.compile(r"SCAN (daq_file|daq_zip|journal)\b")
    assert [(text, step) for text, steps in plans for step in steps if found.search(step)] == []


def test_a_home_where_daq_never_ran_is_not_judged_for_it(site: Disks) -> None:
    site.flag(1, 2, 3, 4)
    word, figures = site.check()
    assert word == "OK"
    assert not {"free_disks", "not_on_tape"} & figures.keys()
