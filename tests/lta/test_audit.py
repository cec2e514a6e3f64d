"""lta-audit: what is asked for, what came back, what differs and is told until a person has seen to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.lta.api.bundles import Reset
from tests.lta.archive_steps import Archive, bundle_of, said, whats
from tests.support import Result, Server

NAMES = [f"/exp/{n:02}.zip" for n in range(10)]


@pytest.fixture
def archive(home: Path, serve: Callable[..., Server]) -> Archive:
    return Archive(home, serve)


def audit(archive: Archive, *args: object, codes: tuple[int, ...] = (0,), **how: object) -> Result:
    return archive.run("lta-audit", *args, "--json", **how).gave(*codes)


def asked(archive: Archive) -> list[str]:
    return [one.bundle.ideal for one in archive.errands("fixity") if one.state == "FixityRequest"]


def prove(archive: Archive) -> None:
    """Ten bundles, the last one proved first; and one that is not on tape."""
    for n, name in enumerate(NAMES):
        archive.bundle(name, name.encode())
        with archive.database() as db:
            db.execute("UPDATE lta_bundle SET proved = ? WHERE ideal = ?", (f"2026-01-{20 - n:02} 00:00:00.000000", name))
    archive.bundle("/exp/young.zip", b"young")
    archive.bundle("/exp/under-way.zip", b"way", state="PushDone")


def test_a_share_is_asked_for_those_first_that_were_proved_or_read_longest_ago_and_once(archive: Archive) -> None:
    prove(archive)
    plan = archive.run("lta-audit", "--percent", 15, "--dry-run").ok()
    assert plan.out.count("would have") == 2
    assert asked(archive) == []
    assert audit(archive, "--percent", 15).json["counts"] == {"on tape>FixityRequest": 2}
    assert asked(archive) == ["/exp/09.zip", "/exp/08.zip"]
    audit(archive, "--percent", 15)  # that many are asked for already
    assert asked(archive) == ["/exp/09.zip", "/exp/08.zip"]
    audit(archive, "--percent", 30)
    assert sorted(asked(archive)) == ["/exp/06.zip", "/exp/07.zip", "/exp/08.zip", "/exp/09.zip"]
    archive.reads_again()
    audit(archive, "--percent", 100)  # those that were read are not due, and the young one is not either
    assert sorted(asked(archive)) == NAMES[:6]
    archive.reads_again()
    assert audit(archive, "--percent", 100).json["state"] == "idle"
    audit(archive, "--all")
    assert sorted(asked(archive)) == [*NAMES, "/exp/young.zip"]


def test_what_differs_is_quarantined_and_told_loudly_every_night_until_a_person_has_seen_to_it(archive: Archive) -> None:
    prove(archive)
    audit(archive, "/exp/03.zip", "/exp/05.zip")
    assert sorted(asked(archive)) == ["/exp/03.zip", "/exp/05.zip"]
    archive.reads_again(differs="/exp/03.zip")
    assert archive.states()["/exp/03.zip"] == "Quarantined"
    assert archive.sql("SELECT ideal FROM lta_bundle WHERE audited IS NOT NULL") == [("/exp/05.zip",)]
    for _ in range(2):
        told = audit(archive, "--percent", 0, codes=(1,))
        assert whats(told) == ["TAPE COPY DIFFERS"]
        assert "/exp/03.zip at nersc" in said(told)
        assert "the tape has another sha512" in said(told)
    with archive.books() as books:
        (bad,) = [one for one in archive.errands("fixity") if one.state == "FixityProblem"]
        books.do(Reset(id=bad.bundle.id, why="the tape was mended"))
    assert "lta-audit /exp/03.zip" in said(audit(archive, "--percent", 0, codes=(1,)))
    audit(archive, "/exp/03.zip", codes=(1,))  # begins it anew
    archive.reads_again()
    audit(archive, "--percent", 0)


def test_a_file_names_its_bundle_and_what_is_not_on_tape_or_unknown_is_told(archive: Archive) -> None:
    prove(archive)
    some = {b"/exp/a%b_c": b"a"}
    archive.bundle("/exp/made.zip", bundle_of(some), some)
    told = audit(archive, "/exp/a%b_c", "/exp/under-way.zip", "/exp/none.zip", codes=(1,))
    assert asked(archive) == ["/exp/made.zip"]
    assert sorted(whats(told)) == ["not asked for", "unknown name"]
    for args in (("--all", "--percent", 1), ("/exp/made.zip", "--days", 1), ("--percent", 101), ("relative",)):
        archive.run("lta-audit", *args).gave(2)


def test_the_trash_of_deleted_files_is_emptied_by_night_after_its_days(archive: Archive) -> None:
    old = archive.warehouse / ".dm-trash/2026-01-01/bundle-7/exp/a"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"a")
    assert "would empty the trash" in archive.run("lta-audit", "--dry-run").ok().out
    assert old.exists()
    audit(archive)
    assert list((archive.warehouse / ".dm-trash").iterdir()) == []


def test_errands_that_the_site_never_does_are_told(archive: Archive) -> None:
    prove(archive)
    audit(archive, "/exp/03.zip")
    assert whats(audit(archive, "--percent", 0)) == []
    assert whats(audit(archive, "--percent", 0, env={"DMTOOLS_CLOCK_OFFSET": str(8 * 86400)})) == ["audit is late"]
