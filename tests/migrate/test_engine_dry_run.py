"""--dry-run of the three passes: no row, no file, no heartbeat, no job; the plan says what would be done."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.transfers.conftest import Scripted, scripted, template, warm  # noqa: F401 - fixtures


def everything(home: Path) -> tuple[dict[str, bytes | None], list[str]]:
    """Every file of HOME but the database, and every row of that."""
    files = {
        str(path.relative_to(home)): path.read_bytes() if path.is_file() else None
        for path in sorted(home.rglob("*"))
        if not path.name.startswith("dmtools.db")
    }
    with sqlite3.connect(home / "dmtools.db") as db:
        return files, list(db.iterdump())


def test_nothing_is_changed_and_the_plan_is_told(scripted: Scripted) -> None:  # noqa: F811
    scripted.master(scripted.files("/a/1", "/a/2", "/a/3"))
    before = everything(scripted.home)
    said = scripted.run("migrate-producer", "--lists", 0, "--lfns", 2, "--dry-run").ok()
    assert said.out.count("LFNs of all.txt") == 2
    assert everything(scripted.home) == before
    scripted.produce(lfns=2)
    by_hand = scripted.home / "migrate/TODO/by-hand.txt"
    by_hand.write_text(f"file://{scripted.source('/a/9')}  file://{scripted.target('/a/9')}\nno pair\n")
    (scripted.home / "migrate/TODO/directory").mkdir()
    (scripted.home / "migrate/TODO/two words").write_text("x")
    before = everything(scripted.home)
    said = scripted.run("migrate-consumer", "--lists", 0, "--dry-run").ok()
    assert "would submit by-hand.txt: 1 files, 1 bad lines" in said.out
    assert said.out.count("would submit FTSList-") == 2
    assert "would set directory aside" in said.out
    assert everything(scripted.home) == before
    assert scripted.fts.requests == []
    by_hand.unlink()
    scripted.run("migrate-consumer", "--lists", 0).gave(1)
    for job in scripted.fts.jobs.values():
        job.finish()
    scripted.master(["/a/4"], "new.txt")
    stray = scripted.home / "migrate/DOING/stray.txt"
    stray.write_text(f"file://{scripted.source('/a/8')}  file://{scripted.target('/a/8')}\n")
    before = everything(scripted.home)
    requests = len(scripted.fts.requests)
    said = scripted.run("migrate-monitor", "--dry-run").ok()
    assert said.out.count("would ask for the job of") == 3
    assert "would poll the open jobs at fake" in said.out
    assert everything(scripted.home) == before
    assert all(method == "GET" for method, _ in scripted.fts.requests[requests:])
