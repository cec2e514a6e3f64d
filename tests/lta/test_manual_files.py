"""lta-manual-files: what a manifest lists leaves the warehouse, unchanged and guarded; all else stays; and the trash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.command import Refused
from dmtools.lta.api.bundles import Quarantine
from dmtools.lta.api.directories import SetDirectory
from dmtools.lta.deleting.guards import Guards, is_below
from dmtools.settings import Lta
from tests.lta.archive_steps import TREE, Archive, bundle_of, said, tree, whats
from tests.support import Result, Server

IDEAL = "/exp/2016/0b51.zip"
DELETED = ("LocalDeleted", "LocalFilesDeleted")
CLOCK = {"DMTOOLS_CLOCK_OFFSET": str(timedelta(days=20).total_seconds())}


@pytest.fixture
def archive(home: Path, serve: Callable[..., Server]) -> Archive:
    return Archive(home, serve)


def files(archive: Archive, *args: object, codes: tuple[int, ...] = (0,), **how: object) -> Result:
    return archive.run("lta-manual-files", *args, "--json", **how).gave(*codes)


def left(archive: Archive) -> dict[bytes, bytes]:
    """What is in the warehouse, but for the trash."""
    return {name: data for name, data in tree(archive.warehouse).items() if not name.startswith(b"/.dm-trash/")}


def laid(archive: Archive, ideal: str = IDEAL, some: dict[bytes, bytes] | None = None, **how: object) -> dict[bytes, bytes]:
    """These files, and their bundle in LocalDeleted."""
    some = TREE if some is None else some
    archive.lay(some)
    archive.bundle(ideal, bundle_of(some), some, **how)  # type: ignore[arg-type]
    return some


def test_the_plan_changes_nothing_and_yes_deletes_what_the_manifest_lists_and_puts_it_into_the_trash(archive: Archive) -> None:
    laid(archive)
    late = {b"/exp/2016/late.dat": b"came after the bundle", b"/exp/2016/deep/late": b""}
    archive.lay(late)
    for args in ((IDEAL,), ("--yes", "--dry-run")):
        plan = archive.run("lta-manual-files", *args).ok()
        assert f"would delete {IDEAL}: {len(TREE)} files" in plan.out
        assert "nothing was changed" in plan.out
        assert left(archive) == TREE | late
    done = files(archive, "--yes")
    assert done.json["counts"] == {"LocalDeleted>LocalFilesDeleted": 1}
    assert left(archive) == late
    assert set(archive.states().values()) == {"LocalFilesDeleted"}
    (day,) = (archive.warehouse / ".dm-trash").iterdir()
    assert tree(day / "bundle-1") == TREE
    assert archive.run("lta-manual-files", "--yes").ok().out == "no bundle of this HOME is LocalDeleted\n"
    plan = archive.run("lta-manual-files", "--untrash", IDEAL).ok()
    assert left(archive) == late
    assert "would put back" in plan.out
    files(archive, "--untrash", IDEAL, "--yes")
    assert left(archive) == TREE | late
    assert "the trash has no file of it" in said(files(archive, "--untrash", IDEAL, "--yes", codes=(1,)))


def test_the_trash_is_emptied_after_its_days_and_large_files_never_go_there(archive: Archive) -> None:
    archive.set(trash_bytes=3000, trash_days=14)
    laid(archive)
    files(archive, "--yes")
    kept = tree(archive.warehouse)
    assert len(kept) == sum(len(data) <= 3000 for data in TREE.values())
    assert all(len(data) <= 3000 for data in kept.values())
    aside = archive.warehouse / ".dm-trash/1st"  # no day
    aside.mkdir()
    (aside / "mine").write_text("a person's")
    archive.run("lta-manual-files").ok()
    assert "would empty the trash" in archive.run("lta-manual-files", env=CLOCK).ok().out
    assert len(tree(archive.warehouse)) == len(kept) + 1
    files(archive, "--yes", env=CLOCK)
    assert tree(archive.warehouse) == {b"/.dm-trash/1st/mine": b"a person's"}


def test_what_broke_5_a_late_extra_file_stays_and_a_changed_file_stays_with_its_bundle(archive: Archive) -> None:
    some = laid(archive, some={b"/exp/%s" % name: name * 100 for name in (b"same", b"touched", b"grown", b"other", b"gone")})
    archive.lay({b"/exp/late": b"late"})
    os.utime(archive.warehouse / "exp/touched")  # another time, the same bytes
    time = (archive.warehouse / "exp/grown").stat().st_mtime_ns
    with (archive.warehouse / "exp/grown").open("ab") as file:
        file.write(b"more")
    os.utime(archive.warehouse / "exp/grown", ns=(time, time))  # as a tool that keeps times does
    (archive.warehouse / "exp/other").write_bytes(b"OTHER" * 100)
    (archive.warehouse / "exp/gone").unlink()
    told = files(archive, "--yes", codes=(1,))
    assert whats(told) == ["file kept"] * 3
    assert left(archive).keys() == {b"/exp/grown", b"/exp/other", b"/exp/late"}
    assert set(archive.states().values()) == {"LocalDeleted"}
    archive.lay({b"/exp/grown": some[b"/exp/grown"], b"/exp/other": some[b"/exp/other"]})
    files(archive, "--yes", codes=(1,))  # that which nobody knows to be deleted is still not there
    assert left(archive).keys() == {b"/exp/late"}
    assert "add --gone" in said(files(archive, "--yes", codes=(1,)))
    files(archive, "--yes", "--gone")
    assert set(archive.states().values()) == {"LocalFilesDeleted"}


def test_what_broke_5_a_link_out_of_the_root_is_not_followed(archive: Archive, short_tmp: Path) -> None:
    """A directory that was replaced by a link to elsewhere, and a file that was."""
    some = laid(archive, some={b"/exp/in/a": b"a", b"/exp/b": b"b", b"/exp/c": b"c"})
    outside = short_tmp / "outside"
    (archive.warehouse / "exp/in").rename(outside)
    (archive.warehouse / "exp/in").symlink_to(outside)
    (archive.warehouse / "exp/b").rename(short_tmp / "b")
    (archive.warehouse / "exp/b").symlink_to(short_tmp / "b")
    told = files(archive, "--yes", codes=(1,))
    assert "below none of [lta] delete_roots" in said(told)
    assert "a link stands there" in said(told)
    assert (outside / "a").read_bytes() == some[b"/exp/in/a"]
    assert (short_tmp / "b").read_bytes() == b"b"
    assert set(left(archive)) == {b"/exp/in", b"/exp/b"}


@pytest.mark.parametrize("root", ["/", "//", "/.", "/tmp/..", "warehouse", "/link"])
def test_what_broke_5_the_root_of_the_machine_is_refused(archive: Archive, root: str, short_tmp: Path) -> None:
    if root == "/link":
        root = str(short_tmp / "link")
        Path(root).symlink_to("/")
    with pytest.raises(Refused, match="delete_roots"):
        Guards.of(Lta(delete_roots=(root,)))
    if root == "/":
        laid(archive)
        archive.set(delete_roots=["/"])
        assert "all of the machine" in said(files(archive, "--yes", codes=(2,)))
        assert left(archive) == TREE


def test_a_root_is_a_whole_directory_name_so_110_is_not_1109_and_keep_is_one_too(archive: Archive) -> None:
    some = laid(archive, some={b"/exp/110/a": b"a", b"/exp/1109/a": b"b", b"/exp/110.b/a": b"c", b"/exp/110/keep/a": b"d"})
    archive.set(delete_roots=[str(archive.warehouse / "exp/110/")], keep=[str(archive.warehouse / "exp/110/keep")])
    told = files(archive, "--yes", codes=(1,))
    assert whats(told) == ["file kept"] * 3
    assert set(left(archive)) - {b"/exp/110/.dm-trash"} >= some.keys() - {b"/exp/110/a"}
    assert b"/exp/110/a" not in left(archive)
    archive.set(delete_roots=[str(archive.warehouse)], keep=["/exp/110/keep"])  # an LFN names it as well
    told = files(archive, "--yes")
    assert "[lta] keep names" in said(told)
    assert {name for name in left(archive) if b".dm-trash" not in name} == {b"/exp/110/keep/a"}
    assert set(archive.states().values()) == {"LocalDeleted"}


def test_what_broke_5_zero_bundles_and_bundles_that_are_not_proved_delete_nothing(archive: Archive) -> None:
    """Too few copies, files that the tables don't have, another state, a directory whose files are to stay."""
    empty = archive.directory("/none", 1)
    some = {b"/exp/a": b"a"}
    archive.lay(some)
    archive.bundle("/clean.zip", bundle_of(some), some, state="NERSCClean")
    archive.bundle("/unknown.zip", b"unknown")
    archive.bundle("/lost.zip", bundle_of({b"/x": b""}), {})
    bad = archive.bundle("/bad.zip", bundle_of({**some, b"/y": b""}), some)
    stays = archive.directory("/exp", 1)
    archive.bundle("/kept.zip", bundle_of({**some, b"/z": b""}), some, directory_id=stays.id)
    with archive.books() as books:
        books.do(Quarantine(id=bad.id, why="looks odd"))
        books.do(SetDirectory(id=stays.id, to="neverdelete", why="wanted for the museum"))
    told = said(
        files(archive, "--yes", "/clean.zip", "/unknown.zip", "/lost.zip", "/bad.zip", "/kept.zip", "/no.zip", codes=(1,))
    )
    for word in ("it is NERSCClean", "the tables have 0 of the", "it is Quarantined", "is neverdelete", "no bundle of this HOME"):
        assert word in told
    archive.set(copies=2)
    laid(archive, "/one.zip", {b"/exp/a": b"a"})
    assert "1 copies are proved on tape, and [lta] copies asks for 2" in said(files(archive, "--yes", codes=(1,)))
    assert left(archive) == some
    assert archive.sql(f"SELECT state FROM lta_directory WHERE id = {empty.id}") == [("LTArequest",)]


def test_with_two_copies_the_files_go_once_and_both_bundles_say_so(archive: Archive) -> None:
    archive.set(copies=2)
    laid(archive)
    archive.bundle(IDEAL, bundle_of(TREE), TREE, destination="desy")
    with archive.database() as db:  # the same zip at both sites
        first = "(SELECT {0} FROM lta_bundle ORDER BY id LIMIT 1)"
        db.execute(f"UPDATE lta_bundle SET sha512 = {first.format('sha512')}, size = {first.format('size')}")
    files(archive, "--yes")
    assert left(archive) == {}
    assert archive.sql("SELECT state FROM lta_bundle") == [("LocalFilesDeleted",)] * 2


def test_a_directory_is_filesdeleted_with_the_last_of_its_bundles(archive: Archive) -> None:
    made = archive.directory("/exp", 2)
    one, other = {b"/exp/a": b"a"}, {b"/exp/b": b"b"}
    laid(archive, "/exp/1.zip", one, directory_id=made.id)
    laid(archive, "/exp/2.zip", other, directory_id=made.id, state="NERSCClean")
    state = f"SELECT state FROM lta_directory WHERE id = {made.id}"
    files(archive, "--yes")
    assert archive.sql(state) == [("LTArequest",)]
    with archive.database() as db:
        db.execute("UPDATE lta_bundle SET state = 'LocalDeleted' WHERE state = 'NERSCClean'")
    files(archive, "--yes")
    assert archive.sql(state) == [("filesdeleted",)]
    assert left(archive) == {}


@pytest.mark.parametrize("trash", [10**6, 0])
def test_a_run_that_is_killed_between_any_two_steps_is_ended_by_the_next(archive: Archive, trash: int) -> None:
    made = archive.directory("/exp", 3)
    archive.set(trash_bytes=trash)
    some = laid(archive, some={b"/exp/%d" % n: b"%d" % n * 50 for n in range(5)}, directory_id=made.id)
    third = archive.warehouse / "exp/2"
    first: list[tuple[str, Path | None]] = [("rename", None), ("mkdir" if trash else "renameat2", None)]
    last = ("rename", archive.home / "lta/deleting/bundle-1.ndjson")
    for call, path in (*first, ("renameat2", third) if trash else ("unlink", aside(third)), last):
        killed = archive.run("lta-manual-files", "--yes", prefix=kill(call, path))
        assert killed.code == -9, killed
        there = {name.rpartition(b"/")[2] for name in tree(archive.warehouse)}
        assert {name for name in there if not name.startswith(b".dm-del-")} <= {b"%d" % n for n in range(5)}
    with archive.database() as db:  # the claim of the killed one is over
        db.execute("UPDATE lta_bundle SET ready = since")
        db.execute("UPDATE lta_directory SET ready = since")
    files(archive, "--yes")
    assert left(archive) == {}
    assert len(tree(archive.warehouse)) == (len(some) if trash else 0)
    assert archive.states() == {IDEAL: "LocalFilesDeleted"}
    assert archive.sql("SELECT state FROM lta_directory") == [("filesdeleted",)]
    assert not any((archive.home / "lta/deleting").iterdir())
    assert archive.journal("lta-bundle").count(DELETED) == 1


def test_several_runs_at_once_delete_each_file_once_and_book_it_once(archive: Archive) -> None:
    made = archive.directory("/exp", 3)
    for n in range(3):
        laid(archive, f"/exp/{n}.zip", {b"/exp/%d/%d" % (n, m): b"%d" % m for m in range(4)}, directory_id=made.id)
    for one in archive.at_once(3, "lta-manual-files", "--yes"):
        one.gave(0, 1)
    files(archive, "--yes")
    assert left(archive) == {}
    assert len(tree(archive.warehouse)) == 12
    assert set(archive.states().values()) == {"LocalFilesDeleted"}
    assert archive.journal("lta-bundle").count(DELETED) == 3
    assert archive.sql("SELECT state FROM lta_directory") == [("filesdeleted",)]


def kill(call: str, path: Path | None) -> tuple[object, ...]:
    """Killed at the first such call, or the first that is about this path."""
    only = ("-P", path) if path else ()
    return ("strace", "-f", "-qq", "-o", "/dev/null", *only, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL")


def aside(path: Path) -> Path:
    """Where a delete lays a file before it is unlinked."""
    number = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:7])
    return path.with_name(f".dm-del-{number}")


# ---- path guards: any path

PART = st.text(st.sampled_from("ab.%_ +\n1"), min_size=1, max_size=3)
PATH = st.lists(PART, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(PATH, PATH)
def test_below_is_by_whole_names_as_the_parts_of_paths_say(path: str, other: str) -> None:
    parts, tree_parts = path.strip("/").split("/"), other.strip("/").split("/") if other != "/" else []
    assert is_below(path.encode(), other.encode()) == (parts[: len(tree_parts)] == tree_parts or not tree_parts)


@given(st.text(max_size=20))
def test_a_root_or_keep_of_any_text_is_a_real_place_or_refused(text: str) -> None:
    for lta in (Lta(delete_roots=(text,)), Lta(delete_roots=("/warehouse",), keep=(text,))):
        try:
            guards = Guards.of(lta)
        except (Refused, ValueError):
            continue
        assert all(os.path.isabs(root) and root != b"/" for root in guards.roots)
