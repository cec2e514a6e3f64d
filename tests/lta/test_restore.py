"""lta-restore: bundles and files back, from a zip that is here or from the remote tape, proved, and nothing replaced."""

from __future__ import annotations

import os
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dmtools import names
from dmtools.ledger import open_ledger
from dmtools.lta.glue.manifest import BadManifest, Record
from dmtools.lta.restoring import recalls
from dmtools.lta.restoring.bundlezip import BadBundle, is_below, judged, match
from dmtools.settings import load
from tests.lta.archive_steps import TREE, Archive, bundle_of, ours, said, sums, theirs, tree, whats, zipped
from tests.support import Server

IDEAL = "/exp/2016/0b51.zip"


@pytest.fixture
def archive(home: Path, serve: Callable[..., Server]) -> Archive:
    return Archive(home, serve)


@pytest.fixture
def back(short_tmp: Path) -> Path:
    return short_tmp / "back"


def test_a_bundle_and_one_file_of_another_come_back_from_tape_over_several_runs_each_saying_what_it_waits_for(
    archive: Archive, back: Path
) -> None:
    one, other = {b"/exp/one/a": b"a" * 5000, b"/exp/one/b": b""}, {b"/exp/two/a": b"c", b"/exp/two/b": b"d" * 999}
    archive.bundle("/exp/one.zip", bundle_of(one), one)
    archive.bundle("/exp/two.zip", bundle_of(other), other)
    wanted: tuple[object, ...] = ("/exp/one.zip", "/exp/two/b", "--to", back, "--json")
    first = archive.run("lta-restore", *wanted).gave(75)
    assert whats(first) == ["waits", "waits"]
    assert "the remote site is asked for it" in said(first)
    assert archive.remote() == 2
    archive.killed_between()
    archive.start()
    done = archive.restore(*wanted)
    assert (done.code, done.json["counts"]["LocalDeleted>Restored"]) == (0, 3)
    assert tree(back) == one | {b"/exp/two/b": b"d" * 999}
    assert [one.state for one in archive.errands()] == ["DownloadDone"] * 2
    assert archive.remote() == 2
    assert not any((archive.outbound / ".dm-back").iterdir())
    left = archive.outbound / ".dm-back" / f"errand-{archive.errands()[0].id}.zip"
    left.write_bytes(bundle_of(one))  # as a run leaves it that was killed behind its last file
    archive.run("lta-restore", *wanted).ok()  # all is there: nothing is asked for again
    assert len(archive.errands()) == 2
    assert not left.exists()


def test_a_zip_that_is_still_here_is_taken_when_it_is_right_and_the_tape_is_asked_when_it_is_not(
    archive: Archive, back: Path
) -> None:
    data = bundle_of(TREE)
    archive.bundle(IDEAL, data, TREE, state="NERSCClean")
    here = archive.outbound / IDEAL[1:]
    here.parent.mkdir(parents=True)
    here.write_bytes(data)
    archive.run("lta-restore", IDEAL, "--to", back).ok()
    assert tree(back) == TREE
    raw = [name.decode("utf-8", "surrogateescape") for name in TREE]
    archive.run("lta-restore", "--to", back / "files", "--", *raw).ok()
    assert tree(back / "files") == TREE
    assert archive.errands() == []
    flipped = bytearray(data)
    flipped[-1] ^= 1
    here.write_bytes(flipped)
    told = archive.run("lta-restore", IDEAL, "--to", back / "new", "--json").gave(75)
    assert whats(told) == ["not the bundle", "waits"]
    assert f"{IDEAL} at {here}" in said(told)
    assert [one.state for one in archive.errands()] == ["RetrieveRequest"]
    assert here.read_bytes() == flipped


@pytest.mark.parametrize("harm", ["flipped bit", "same adler32"])
def test_a_bundle_that_comes_back_otherwise_is_refused_by_name_and_nothing_of_it_appears(
    archive: Archive, back: Path, harm: str
) -> None:
    """The export directory goes bad after the site proved it: FTS sees a flipped bit, only sha512 what has the same adler32."""
    files = {b"/exp/one/a": b"a" * 5000}
    data = bundle_of(files)
    archive.set(max_attempts=2)
    archive.bundle(IDEAL, data, files)
    archive.run("lta-restore", IDEAL, "--to", back).gave(75)
    archive.remote()
    (place,) = (archive.demo / "remote/export").iterdir()
    harmed, at = bytearray(data), data.index(b"aaaaaaaa")
    harmed[at : at + 3] = b"`aa" if harm == "flipped bit" else b"b_b"
    place.write_bytes(harmed)
    archive.start()
    told = []
    while not told or archive.errands()[0].state != "RetrieveProblem":
        told.append(archive.run("lta-restore", IDEAL, "--to", back, "--json").gave(1, 75))
        archive.over()
        archive.due_errands()
        assert len(told) < 12
    assert tree(back) == {}
    assert IDEAL in said(told[-1])
    assert ("attempt 2 of 2" if harm == "flipped bit" else "its sha512 is") in said(told[-1])
    stays = archive.run("lta-restore", IDEAL, "--to", back, "--json").gave(1)
    assert "--again" in said(stays)
    place.unlink()
    archive.run("lta-restore", IDEAL, "--to", back, "--again").gave(75)
    assert archive.restore(IDEAL, "--to", back).code == 0
    assert tree(back) == files


def test_the_round_trip_of_a_bundle_that_lta_glue_made_gives_every_file_back_with_its_time(archive: Archive, back: Path) -> None:
    archive.lay(TREE)
    counts = archive.home / "counts"
    counts.write_text(f"/exp/2016 {len(TREE)}\n")
    archive.run("lta-glue", "--expect", counts).ok()
    archive.run("lta-glue").ok()
    (ideal,) = archive.bundles()
    archive.run("lta-restore", ideal, "--to", back).ok()
    assert tree(back) == TREE
    times = {name: os.stat(bytes(place) + name).st_mtime_ns for place in (archive.warehouse, back) for name in TREE}
    assert times == {name: os.stat(bytes(archive.warehouse) + name).st_mtime_ns for name in TREE}


def test_what_is_there_is_never_replaced_equal_content_is_done_and_a_link_is_not_followed(archive: Archive, back: Path) -> None:
    files = {b"/exp/one/a": b"a" * 500, b"/exp/one/b": b"b", b"/exp/two/c": b"c", b"/exp/d": b"d"}
    self_made(archive, bundle_of(files), files)
    archive.lay({b"/exp/one/a": b"a" * 500, b"/exp/one/b": b"other"}, back)
    (back / "exp/two").symlink_to(archive.warehouse)
    (back / "exp/d").symlink_to("/dev/null")
    inode = (back / "exp/one/a").stat().st_ino
    told = archive.run("lta-restore", IDEAL, "--to", back, "--json").gave(1)
    assert whats(told) == ["not restored"] * 3
    assert (back / "exp/one/a").stat().st_ino == inode
    assert tree(back) == {b"/exp/one/a": b"a" * 500, b"/exp/one/b": b"other", b"/exp/two": b"-> " + bytes(archive.warehouse),
                          b"/exp/d": b"-> /dev/null"}  # fmt: skip
    assert tree(archive.warehouse) == {}


def self_made(archive: Archive, data: bytes, files: dict[bytes, bytes] | None = None) -> None:
    """A bundle whose zip is here."""
    archive.bundle(IDEAL, data, files, state="NERSCClean")
    here = archive.outbound / IDEAL[1:]
    here.parent.mkdir(parents=True, exist_ok=True)
    here.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "word"),
    [("../evil", "lead out"), ("/etc/evil", "lead out"), ("a/../../evil", "lead out")],
)
def test_a_zip_slip_name_is_refused_and_nothing_of_the_bundle_is_unpacked(
    archive: Archive, back: Path, name: str, word: str
) -> None:
    files = {b"/exp/good": b"good"}
    self_made(archive, zipped(ours(files), {b"exp/good": b"good", name: b"evil"}))
    told = archive.run("lta-restore", IDEAL, "--to", back, "--json").gave(1)
    assert word in said(told)
    assert IDEAL in said(told)
    assert tree(back.parent) | {} == tree(back.parent)
    assert tree(back) == {}


def test_a_link_in_a_zip_is_refused(archive: Archive, back: Path, short_tmp: Path) -> None:
    made = short_tmp / "made.zip"
    made.write_bytes(zipped(ours({b"/exp/good": b"good"}), {b"exp/good": b"good"}))
    with zipfile.ZipFile(made, "a") as content:
        link = zipfile.ZipInfo("exp/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        content.writestr(link, "/etc/passwd")
    self_made(archive, made.read_bytes())
    told = archive.run("lta-restore", IDEAL, "--to", back, "--json").gave(1)
    assert "link or a device" in said(told)
    assert tree(back) == {}
    archive.run("lta-restore", IDEAL, "--zip", "--to", back).ok()
    assert tree(back) == {IDEAL.encode(): made.read_bytes()}


@pytest.mark.parametrize("version", [2, 3])
def test_restore_of_nested_members_and_duplicate_base_names_by_the_manifests_of_the_successor(
    archive: Archive, back: Path, version: int
) -> None:
    """Members lie below the request's path; every name but the last part may be the same."""
    files = {b"/data/exp/IceCube/2016/" + end: end * 100 for end in (b"a/x.dat", b"b/x.dat", b"x.dat", b"b/c/y.dat")}
    members = {name.removeprefix(b"/data/exp/IceCube/2016/"): data for name, data in files.items()}
    tail = ".metadata.json" if version == 2 else ".metadata.ndjson"
    self_made(archive, zipped(theirs(files, version), members, tail=tail))
    archive.run("lta-restore", IDEAL, "--to", back).ok()
    assert tree(back) == files
    one = "/data/exp/IceCube/2016/b/x.dat"
    archive.run("lta-restore", "--in", IDEAL, one, "--to", back / "one").ok()
    assert tree(back / "one") == {one.encode(): b"b/x.dat" * 100}


def test_what_broke_13_duplicate_base_names_without_their_directories_are_refused_not_guessed(
    archive: Archive, back: Path
) -> None:
    files = {b"/data/a/x.dat": b"1", b"/data/b/x.dat": b"2"}
    self_made(archive, zipped(theirs(files), {b"x.dat": b"1"}))
    told = archive.run("lta-restore", IDEAL, "--to", back, "--json").gave(1)
    assert "it can't be told which member" in said(told)
    assert tree(back) == {}


def test_a_file_whose_bytes_are_not_those_of_the_manifest_is_not_published_and_the_others_are(
    archive: Archive, back: Path
) -> None:
    """The bundle is what was archived, yet its manifest says otherwise of one file."""
    files = {b"/exp/a": b"right", b"/exp/b": b"right"}
    self_made(archive, zipped(ours(files), {b"exp/a": b"wrong", b"exp/b": b"right"}))
    told = archive.run("lta-restore", IDEAL, "--to", back, "--json").gave(1)
    assert "/exp/a has other bytes" in said(told)
    assert tree(back) == {b"/exp/b": b"right"}


def test_a_zip_without_a_manifest_comes_back_as_the_zip_that_it_is(archive: Archive, back: Path) -> None:
    data = zipped(None, {b"exp/a": b"a"})
    self_made(archive, data)
    told = archive.run("lta-restore", IDEAL, "--to", back, "--json").gave(1)
    assert "no manifest" in said(told)
    assert "--zip" in said(told)
    archive.run("lta-restore", IDEAL, "--zip", "--to", back).ok()
    assert tree(back) == {IDEAL.encode(): data}


def test_names_that_are_none_are_refused_and_unknown_ones_are_told(archive: Archive, back: Path, short_tmp: Path) -> None:
    for name in ("relative", "/a/../b", "/a//b", "/"):
        assert "is no name of a bundle or a file" in archive.run("lta-restore", name, "--to", back).gave(2).err
    wanted = short_tmp / "list"
    wanted.write_bytes(b"# those\n/exp/50%_off\n/exp/not%20there\n")
    told = archive.run("lta-restore", "--list", wanted, "--to", back, "--json").gave(1)
    assert whats(told) == ["unknown name"] * 2
    archive.run("lta-restore", "--to", back).gave(2)
    assert "no directory" in archive.run("lta-restore", "/a", "--to", wanted).gave(2).err
    archive.bundle(IDEAL, b"zip", state="PushDone")
    assert "it is PushDone" in said(archive.run("lta-restore", IDEAL, "--to", back, "--json").gave(1))
    plan = archive.run("lta-restore", IDEAL, "--to", back / "no", "--dry-run").ok()
    assert "would restore all of" in plan.out
    assert not (back / "no").exists()


def test_a_run_that_is_killed_while_it_publishes_leaves_whole_files_only_and_the_next_ends_it(
    archive: Archive, back: Path
) -> None:
    files = {b"/exp/%d" % n: os.urandom(50) for n in range(6)}
    self_made(archive, bundle_of(files), files)
    for call in ("fsync", "renameat2"):
        killed = archive.run("lta-restore", IDEAL, "--to", back, prefix=kill(call, random.Random(call).randint(2, 5)))
        assert killed.code == -9, killed
        found = {name: data for name, data in tree(back).items() if not name.rpartition(b"/")[2].startswith(b".")}
        assert found.items() <= files.items()
    archive.run("lta-restore", IDEAL, "--to", back).ok()
    assert tree(back) == files


def test_several_runs_at_once_ask_once_and_publish_each_file_once(archive: Archive, back: Path) -> None:
    files = {b"/exp/%d" % n: os.urandom(50) for n in range(9)}
    archive.bundle(IDEAL, bundle_of(files), files)
    archive.start()
    for _ in range(8):
        ran = archive.at_once(3, "lta-restore", IDEAL, "--to", back)
        codes = {one.code for one in ran}
        assert codes <= {0, 75}, [one.err for one in ran]
        archive.over()
        archive.due_errands()
        archive.remote()
        if codes == {0}:
            break
    assert tree(back) == files
    assert [one.state for one in archive.errands()] == ["RemoteCleaned"]


def test_what_another_run_has_booked_and_taken_meanwhile_is_no_failure(archive: Archive, back: Path) -> None:
    files = {b"/exp/1": b"one"}
    archive.bundle(IDEAL, bundle_of(files), files)
    archive.start()
    archive.run("lta-restore", IDEAL, "--to", back).gave(75)
    archive.remote()
    archive.restore(IDEAL, "--to", back)
    (done,) = archive.errands()
    seen = replace(done, state="Downloading")  # as a slower run read it before
    settings = load(home=archive.home)
    ledger = open_ledger(settings)
    try:
        late = SimpleNamespace(settings=settings, ledger=ledger, by="lta-restore")
        with archive.books() as books:
            assert recalls.arrived(late, books, seen) == (None, "")  # type: ignore[arg-type]
    finally:
        ledger.close()
    assert archive.errands() == [done]


def kill(call: str, number: int) -> tuple[str, ...]:
    return ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")


# ---- reading manifests: anything may stand there

OTHER = st.characters(max_codepoint=255, exclude_characters="/\0")
PARTS = (
    st.text(OTHER, min_size=1, max_size=12).filter(lambda part: part not in (".", "..")).map(lambda part: part.encode("latin-1"))
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: b"/" + b"/".join(parts))


@given(st.dictionaries(NAMES, st.binary(max_size=20), max_size=5))
def test_a_manifest_of_any_names_is_read_as_it_was_written(files: dict[bytes, bytes]) -> None:
    found = judged(ours(files))
    assert {names.decode(one.name): (one.size, one.sha512) for one in found} == {
        name: (len(data), sums(data)["sha512"]) for name, data in files.items()
    }
    assert match([name[1:] for name in files], found) == {names.encode(name): name[1:] for name in files}


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)), st.binary(max_size=50))
def test_what_is_no_manifest_is_refused_in_words_whatever_it_is(head: bytes, rest: bytes) -> None:
    for data in (head, head + b"\n" + rest, ours({b"/a": b"a"}) + head):
        try:
            found = judged(data)
        except BadManifest:
            continue
        else:
            assert all(is_below(names.decode(one.name)) for one in found)


@given(st.binary(max_size=40))
def test_only_a_path_that_stays_below_its_directory_is_a_name(name: bytes) -> None:
    if is_below(name):
        assert os.path.normpath(b"/base" + name).startswith(b"/base/")
        assert os.path.normpath(b"/base" + name) == b"/base" + name


@given(st.sets(NAMES, min_size=1, max_size=6), NAMES)
def test_members_below_any_common_directory_find_their_files(found: set[bytes], base: bytes) -> None:
    lfns = {base + name: name[1:] for name in found}
    records = [Record(names.encode(lfn), 0, "0" * 128) for lfn in lfns]
    try:
        chosen = match(list(lfns.values()), records)
    except BadBundle:
        pytest.fail("one of them was not found")
    assert {names.decode(lfn): member for lfn, member in chosen.items()} == lfns
