"""daq-archive --adopt: what a HOME that is gone had under way is taken over by another, and nothing goes to tape twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.daq.archive_steps import DAY, Archive
from tests.daq.test_archive_jobs import WAITS, zip_command
from tests.support import Server, wait_until

A, B = (f"{DAY}{name}_20250131T010101.dat" for name in "ab")


def dies(site: Archive) -> str:
    """HOME is gone; what is here now is another one on the same tables. The id of the first."""
    path = site.home / "run/home-id"
    old = path.read_text().strip()
    path.unlink()
    for place in ("daq/jobs", "daq/TODO", "daq/DOING", "run/batch"):
        shutil.move(site.home / place, site.home / f"gone-{place.replace('/', '-')}")
    return old


def test_zip_jobs_and_lists_of_a_home_that_is_gone_are_taken_over(home: Path, serve: Callable[..., Server]) -> None:
    site = Archive(home, serve)
    site.only()
    site.start()
    site.faults('[[fault]]\nmatch = "*.zip"\nop = "stall"\n')
    site.at_site(A)
    site.zipped()
    site.archive()
    assert site.sql("SELECT state FROM ftsjob") == [("submitted",)]
    zip_command(site, WAITS)
    site.at_site(B)
    site.archive()
    lost = site.zip_row(B)
    old = dies(site)
    site.archive()
    assert site.files() == {"ToTape": 1, "Zipping": 1}, "nobody follows them"
    assert f"the HOME {old} asked for its jobs" in site.run("daq-archive", "--adopt", old).gave(2).err
    with site.database() as db:
        db.execute("UPDATE daq_zip SET polled = '2025-01-01'")
        db.execute("UPDATE ftsjob SET polled = '2025-01-01'")
    figures = {one["family"]: one for one in site.run("dm-train-ok", "--json").gave(0, 1, 2).json["figures"]}
    assert figures["jobs_unfollowed"]["value"] == 1
    assert f"daq-archive --adopt {old}" in figures["jobs_unfollowed"]["text"]
    assert f"those that have: {old}" in site.run("daq-archive", "--adopt", "nonsense").gave(2).err
    assert "1 zip jobs and 1 lists" in site.run("daq-archive", "--adopt", old, "--dry-run").ok().out
    assert "--yes" in site.run("daq-archive", "--adopt", old).gave(2).err
    site.run("daq-archive", "--adopt", old, "--yes").ok()
    row = site.zip_row(B)
    assert (row["state"], row["error_class"], row["failures"]) == ("Waiting", "lost", 0)
    site.faults("")
    site.servers["fts1"].stop()
    site.start()
    (home / "gate").touch()
    site.due()
    wait_until(lambda: site.settle(1) or site.files() == {"OnTape": 2}, 60, "both are on tape")
    assert site.zip_row(B)["job_key"] != lost["job_key"]
    assert site.sql("SELECT COUNT(*) FROM ftsjob") == [(2,)], "the job of the first list went on"
    assert site.run("daq-archive", "--adopt", old).gave(2).err
    assert [site.unzipped(lfn) == site.copy(lfn).read_bytes() for lfn in (A, B)] == [True, True]
