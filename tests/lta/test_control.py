"""lta in dm-monitoring, dm-train-ok, dm-trace, dm-leases: the original's lines, probes that fail alone, why a thing waits."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dmtools.lta.api import Conflict, answer
from dmtools.lta.api.bundles import Quarantine
from dmtools.lta.api.directories import (
    AdvanceDirectories,
    ClaimDirectories,
    Directories,
    DirectoryMove,
    Expect,
    Full,
    NewExpected,
    Seen,
)
from dmtools.lta.api.dump import AdvanceDisks, ClaimDisks, Disk, DiskMove, Disks, Inventory, SeenSlot
from dmtools.lta.api.files import AddFiles, NewFile
from dmtools.lta.api.sites import Heartbeat
from dmtools.lta.direct import Direct
from dmtools.names import encode
from tests.lta.bookkeeping import add, direct, move, new, post, take
from tests.support import ROOT, Result, run

UUIDS = ("aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002")
SEED = """\
NERSCStatus=   Run |  | 48420 | 2019-11-21 13:31:03  7
NERSCToken=   NULL at 2019-11-21 13:31:04  7
LocalStatus=   Run |  | 349397 | 2019-11-21 13:10:01  28
BundleStatusCounts=    | Untouched:0 | JsonMade:0 | PushProblem:0 | PushDone:0 | NERSCRunning:0 | NERSCDone:0 | NERSCProblem:0 \
| NERSCClean:5 | LocalDeleted:90 | LocalFilesDeleted:406 | Abort:123 | Retry:0
Duplicate bundle transfers=  33.0
"""


@pytest.fixture
def books(home: Path) -> Iterator[Direct]:
    """The books of a HOME in which the scanner ran once; the remote site has posted."""
    run("lta-bundle-scanner", home=home).ok()
    found = direct(home)
    post(found, 10_000)
    yield found
    found.ledger.close()


def sql(home: Path, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(home / "dmtools.db")) as raw, raw:
        return raw.execute(statement, values).fetchall()


def train(home: Path, code: int) -> dict[str, Any]:
    """Its figures by name."""
    found = run("dm-train-ok", "--json", home=home).gave(code).json
    return {one["name"]: one for one in found["figures"]}


def bad(figures: dict[str, Any]) -> dict[str, str]:
    return {name: one["state"] for name, one in figures.items() if one["state"] != "OK"}


# ---- dm-monitoring


def test_monitoring_has_the_lines_of_the_original_in_its_form_and_order(home: Path, books: Direct) -> None:
    add(books, new("/a.zip"), new("/b.zip"), new("/c.zip"))
    (held,) = take(books, "Untouched", reserve=True, holder="scanner pid 1 on far")
    move(books, held, "JsonMade", keep=True)
    found = run("dm-monitoring", "lta", home=home).ok().out.splitlines()
    lines = [line for line in found if re.match(r"[\w ]+=", line)]
    heads = [line.partition("=")[0] for line in lines]
    seeds = [line.partition("=")[0] for line in SEED.splitlines()]
    assert [head for head in heads if head in seeds] == seeds
    assert {"DiskDumpStatus", "FullDirectories", "DiskStatuses"} == {*heads} - {*seeds}
    told = dict(zip(heads, lines, strict=True))
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  \d+"
    assert re.fullmatch(rf"NERSCStatus=   Run \|  \| 0 \| {stamp}", told["NERSCStatus"])
    assert re.fullmatch(rf"NERSCToken=   NULL at {stamp}", told["NERSCToken"])
    assert re.fullmatch(rf"LocalStatus=   Run \|  \| \d+ \| {stamp}", told["LocalStatus"])
    of_the_seed = re.findall(r"\| (\w+):", SEED)
    assert re.findall(r"\| (\w+):", told["BundleStatusCounts"]) == [*of_the_seed, "Quarantined"]
    assert told["BundleStatusCounts"].startswith("BundleStatusCounts=    | Untouched:2 | JsonMade:1 | PushProblem:0")
    assert told["Duplicate bundle transfers"] == "Duplicate bundle transfers=  0"


def test_a_file_that_goes_to_a_site_twice_is_counted(home: Path, books: Direct) -> None:
    add(books, new("/a.zip", "same"), new("/b.zip", "same"))
    for _ in range(2):
        (held,) = take(books, "Untouched", reserve=True)
        move(books, held, "JsonMade")
    found = run("dm-monitoring", "lta", "--json", home=home).ok().json["pipelines"]["lta"]
    assert sorted(found["duplicates"]) == ["/a.zip", "/b.zip"]
    assert {one["kind"]: one["said"] for one in found["notes"]}["Duplicate bundle transfers="].strip() == "2"
    assert bad(train(home, 1))["lta_duplicates"] == "WARNING"


# ---- dm-train-ok


def test_all_well_is_ok(home: Path, books: Direct) -> None:
    assert bad(train(home, 0)) == {}
    assert train(home, 0)["lta_nersc_site_silent"]["text"].startswith("lta: nersc posted Run ")


def dumped(books: Direct, disk: Disk, why: str | None) -> None:
    """A claimed disk is dumped, or set aside when there is a reason."""
    for before, to in ((disk.state, "Dumping"), ("Dumping", "Error" if why else "Done")):
        one = DiskMove(id=disk.id, fence=disk.fence, before=before, to=to, why=why, keep=to == "Dumping")
        books.do(AdvanceDisks(moves=(one,)))


def troubled(home: Path, books: Direct) -> None:
    """One of each trouble."""
    add(books, new("/q.zip"), new("/p.zip"), new("/large.zip", size=9_999))
    (held,) = take(books, "Untouched", reserve=True)
    answer_of(books, Quarantine(id=held.id, fence=held.fence, why="it smells", error_class="checksum"))
    (held,) = take(books, "Untouched", reserve=True)
    held = move(books, held, "JsonMade", keep=True)
    move(books, held, "PushProblem", why="the network is down", failed=True, error_class="other")
    books.do(Heartbeat(name="nersc", state="Error", error="the tape is not available", free=5, quota=10_000, host="cori"))
    slots = [SeenSlot(path=f"/slot{n}", state="disk", uuid=uuid, at=f"/slot{n}/{uuid}") for n, uuid in enumerate(UUIDS)]
    books.do(Inventory(home="h", slots=(*slots, SeenSlot(path="/slot9", state="bad", reason="no such device"))))
    for disk in answer(books, ClaimDisks(home="h", at_once=5, holder="d"), Disks).disks:
        dumped(books, disk, "Input/output error" if disk.uuid == UUIDS[0] else None)
    books.do(Expect(expected=(NewExpected(ideal="/exp/1206", files=2),)))
    books.do(Full(home="h", seen=(Seen(ideal="/exp/1206", path="/w/exp/1206", files=2, bytes=10),)))
    (one,) = answer(books, ClaimDirectories(states=("unclaimed",), home="h", holder="g"), Directories).directories
    why = "/exp/1206/f1 is not what the catalogue says"
    books.do(AdvanceDirectories(moves=(DirectoryMove(id=one.id, fence=one.fence, before="unclaimed", to="problem", why=why),)))


def answer_of(books: Direct, ask: Any) -> Any:
    return answer(books, ask, ask.ANSWER)


def test_every_trouble_is_told_with_its_reason_and_leads_to_its_page(home: Path, books: Direct) -> None:
    troubled(home, books)
    found = run("dm-train-ok", home=home).gave(2).out
    told = {
        line.partition(" (docs/troubles.md, ")[2].rstrip(")"): line for line in found.splitlines() if "docs/troubles.md" in line
    }
    pages = (ROOT / "docs/troubles.md").read_text("utf-8")
    assert not [title for title in told if f"### {title}\n" not in pages]
    for title, words in {
        "The remote archive is silent or in Error": "CRITICAL: lta: nersc is Error: the tape is not available",
        "A bundle is quarantined": "WARNING: lta: 1 bundles are quarantined, the oldest /q.zip: it smells",
        "A bundle is PushProblem or NERSCProblem": "WARNING: lta: 1 bundles are PushProblem, the oldest /p.zip: ",
        "A buffer of the archive is full": "WARNING: lta: 0.0 GB are free at nersc, and the next bundle has 0.0 GB",
        "No disk is left to dump": "WARNING: lta: no disk is left to dump: LOAD MORE DISKS",
        "A full directory has a problem": "WARNING: lta: 1 directories have a problem, the oldest /exp/1206: /exp/1206/f1 is not",
    }.items():
        assert told[title].startswith(words), (title, told)
    assert f"CRITICAL: lta: the disk {UUIDS[0]} is set aside: Input/output error" in found
    assert "WARNING: lta: the slot /slot9 is bad: no such device" in found
    shown = run("dm-monitoring", "lta", home=home).ok().out
    assert f"lta disk {UUIDS[0]} Error: Input/output error in /slot0\n" in shown
    assert "lta slot /slot9 bad: no such device\n" in shown
    assert re.search(r"^DiskDumpStatus=   Error=>Dump \| never$", shown, re.MULTILINE)
    assert re.search(r"^NERSCStatus=   Error \| the tape is not available \| 0 \| ", shown, re.MULTILINE)
    assert "lta stuck /q.zip, Quarantined for " in shown


BROKEN = {
    "sites": ("UPDATE lta_site SET at = 'soon'", {"sites", "room"}),
    "disks": ("UPDATE lta_disk SET begun = 'soon'", {"disks"}),
    "directories": ("UPDATE lta_directory SET since = 'soon'", {"directories"}),
    "quarantined": ("UPDATE lta_bundle SET ready = 'soon' WHERE state = 'Quarantined'", {"quarantined"}),
    "problems": ("UPDATE lta_bundle SET ready = 'soon' WHERE state = 'PushProblem'", {"problems"}),
}


@pytest.mark.parametrize("probe", BROKEN)
def test_what_broke_9_a_probe_that_fails_is_unknown_for_itself_hides_no_other_and_never_crashes(
    home: Path, books: Direct, probe: str
) -> None:
    troubled(home, books)
    before = train(home, 2)
    statement, broken = BROKEN[probe]
    sql(home, statement)
    found = train(home, 2)
    unknown = {name for name, one in found.items() if one["state"] == "UNKNOWN"}
    assert unknown == {f"lta_{name}_failed" for name in broken}
    still = {name: one for name, one in before.items() if name in found and one["state"] != "OK"}
    assert len(still) >= 5, "the others are still told"
    assert all(found[name]["state"] == one["state"] for name, one in still.items())


def test_what_broke_9_critical_wins_over_unknown_over_warning(home: Path, books: Direct) -> None:
    add(books, new("/q.zip"))
    (held,) = take(books, "Untouched")
    answer_of(books, Quarantine(id=held.id, fence=held.fence, why="it smells"))
    assert set(bad(train(home, 1)).values()) == {"WARNING"}
    sql(home, "UPDATE lta_site SET at = 'soon' WHERE name = 'local'")
    assert set(bad(train(home, 3)).values()) == {"WARNING", "UNKNOWN"}
    sql(home, "UPDATE lta_site SET at = NULL")
    books.do(Inventory(home="h", slots=(SeenSlot(path="/s", state="disk", uuid=UUIDS[0], at="/s/x"),)))
    (disk,) = answer(books, ClaimDisks(home="h", at_once=5, holder="d"), Disks).disks
    dumped(books, disk, "dead")
    sql(home, "UPDATE lta_directory SET since = 'soon'")
    sql(home, "UPDATE lta_site SET free = NULL, at = '2026-01-01 00:00:00.000000', state = 'Run'")
    assert {"WARNING", "UNKNOWN", "CRITICAL"} >= set(bad(train(home, 2)).values()) > {"CRITICAL"}


def test_what_broke_10_what_is_not_known_is_never_ok(home: Path, books: Direct) -> None:
    sql(home, "UPDATE lta_site SET free = NULL, quota = NULL, state = 'Fine' WHERE name = 'nersc'")
    found = bad(train(home, 3))
    assert found == {"lta_nersc_site_free": "UNKNOWN", "lta_nersc_site_error": "UNKNOWN"}
    add(books, new("/a.zip"))
    assert "nersc has not posted its quota, and nothing is sent without" in trace(home, "/a.zip").out
    sql(home, "DELETE FROM lta_site")
    assert bad(train(home, 1)) == {"lta_nersc_site_silent": "WARNING", "lta_local_site_silent": "WARNING"}
    assert "NERSCStatus=   UNKNOWN |  |  | never\n" in run("dm-monitoring", "lta", home=home).ok().out


def test_a_remote_site_that_is_silent_is_told_and_its_bundles_say_so(home: Path, books: Direct) -> None:
    add(books, new("/a.zip"))
    (held,) = take(books, "Untouched", reserve=True)
    held = move(books, held, "JsonMade", keep=True)
    move(books, held, "PushDone")
    sql(home, "UPDATE lta_site SET at = datetime('now', '-3 hours') WHERE name = 'nersc'")
    assert bad(train(home, 1)) == {"lta_nersc_site_silent": "WARNING"}
    said = trace(home, "/a.zip").out
    assert "it is proved in the remote buffer, and waits for a tape job; nersc has been silent for 3 h" in said
    assert "docs/troubles.md, The remote archive is silent or in Error" in said


# ---- dm-trace


def trace(home: Path, *words: str) -> Result:
    return run("dm-trace", *words, home=home).ok()


def test_the_life_of_a_bundle_its_files_its_directory_and_a_disk(home: Path, books: Direct) -> None:
    troubled(home, books)
    (bundle,) = add(books, new(encode("/exp/häß/x%.zip".encode())))
    sums = {"sha512": "a" * 128, "adler32": "b" * 8}
    books.do(AddFiles(id=bundle.id, files=(NewFile(name="/exp/f%20one", size=1, source="/w/exp/f%20one", mtime_ns=1, **sums),)))
    found = trace(home, "/exp/häß/x%.zip", "--json").json
    assert (found["subject"], found["state"], found["pipeline"]) == ("/exp/häß/x%.zip", "Untouched", "lta")
    assert found["history"][0]["to"] == "Untouched"
    of_file = trace(home, "/exp/f one", "--json").json
    assert (of_file["subject"], of_file["kind"]) == ("/exp/f one", "file")
    assert of_file["why"].startswith("it is in the bundle /exp/häß/x%.zip: it waits to be sent to nersc")
    quarantined = trace(home, "q.zip").out
    assert "why: quarantined in Untouched: checksum: it smells\n" in quarantined
    assert "lta-bundle-scanner --reset /q.zip --reason TEXT" in quarantined
    assert "why: Input/output error" in trace(home, UUIDS[0]).out.replace("set aside: ", "")
    assert f"lta-dump-control --again {UUIDS[0]}" in trace(home, UUIDS[0]).out
    directory = trace(home, "/exp/1206").out
    assert "lta directory /exp/1206: problem\nwhy: /exp/1206/f1 is not what the catalogue says\n" in directory
    assert "it may be taken out of its slot" in trace(home, UUIDS[1]).out
    problem = trace(home, "/p.zip").out
    assert "after attempt 1: other: the network is down" in problem
    assert "next try " in problem
    run("dm-command", "halt", "lta", "--reason", "the power goes", home=home).ok()
    assert "lta-bundle-scanner is held: " in trace(home, "/p.zip").out


# ---- dm-leases


def test_claims_are_shown_and_what_a_dead_host_holds_is_handed_back_so_that_it_writes_no_more(home: Path, books: Direct) -> None:
    add(books, new("/a.zip"), new("/b.zip"))
    (mine,) = take(books, "Untouched", reserve=True, holder="lta-bundle-scanner@far pid 7 on far")
    (other,) = take(books, "Untouched", reserve=True, holder="lta-bundle-scanner@near pid 8 on near")
    assert sql(home, "SELECT reserved FROM lta_site WHERE name = 'nersc'") == [(2000,)]
    shown = run("dm-leases", home=home).ok().out
    assert f"lta-bundle/{mine.id} held by lta-bundle-scanner@far pid 7 on far, until " in shown
    dry = run("dm-leases", "--host", "far", "--dry-run", home=home).ok()
    assert f"hand back lta-bundle/{mine.id}" in dry.out + dry.err
    found = run("dm-leases", "--host", "far", "--json", home=home).ok().json
    assert [one["resource"] for one in found["released"]] == [f"lta-bundle/{mine.id}"]
    assert [one["resource"] for one in found["leases"]] == [f"lta-bundle/{other.id}"]
    with pytest.raises(Conflict):
        move(books, mine, "JsonMade")
    assert sql(home, "SELECT reserved FROM lta_site WHERE name = 'nersc'") == [(1000,)], "its room is free again"
    (again,) = take(books, "Untouched", reserve=True)
    assert (again.id, again.fence) == (mine.id, mine.fence + 2)
    with pytest.raises(Conflict):
        move(books, mine, "JsonMade")
    assert "was handed back (unknown)" in trace(home, "/a.zip").out
