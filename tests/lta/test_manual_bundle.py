"""lta-manual-bundle, and free_local: zips leave outbound only when they are proved on tape and still what was archived."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools import names
from dmtools.storage.asides import aside_of
from tests.lta.scanner_steps import Outbound, strace, told
from tests.support import Result, Server

DATA = b"the bytes of a bundle" * 20


@pytest.fixture
def source(home: Path, serve: Callable[..., Server]) -> Outbound:
    """Bundles are added to the books and brought to tape there; their zips lie in outbound."""
    made = Outbound(home, serve)
    made.run("dm-command", "drain", "lta").ok()
    made.scan()
    return made


def on_tape(source: Outbound, name: str, data: bytes = DATA, *, destination: str = "nersc", state: str = "NERSCClean") -> Path:
    """A bundle that is proved on tape, with its zip."""
    from dmtools.lta.api import answer
    from dmtools.lta.api.bundles import Advance, BundleMove, Bundles, Claim

    ideal = names.encode(f"/{name}".encode())
    one = source.add(ideal, data, destination=destination)
    if destination != "nersc":
        source.posts(destination, quota=10**6)
    proof = {"size": one.size, "adler32": one.adler32}
    with source.books() as books:
        claim = Claim(states=("Untouched",), destination=destination, holder="test", ids=(one.id,))
        (held,) = answer(books, claim, Bundles).bundles
        for before, to, more in (("Untouched", "JsonMade", {}), ("JsonMade", "PushDone", proof)):
            move = BundleMove(id=one.id, fence=held.fence, before=before, to=to, keep=to != "PushDone", **more)  # type: ignore[arg-type]
            answer(books, Advance(moves=(move,)), Bundles)
    if state == "NERSCClean":
        source.to_tape(ideal, destination=destination)
    return source.zip(name, data)


def delete(source: Outbound, *args: object, codes: tuple[int, ...] = (0,), **how: object) -> Result:
    return source.run("lta-manual-bundle", "--json", *args, **how).gave(*codes)


def test_without_yes_nothing_is_deleted_and_with_it_what_is_proved_is(source: Outbound) -> None:
    zips = [on_tape(source, name) for name in ("a b.zip", "2016/it's %.zip")]
    said = source.run("lta-manual-bundle").ok().out
    assert "would delete /a b.zip (420 B), proved on tape at nersc" in said
    assert "2 zips, 840 B: nothing was deleted; --yes deletes them" in said
    assert source.run("lta-manual-bundle", "--yes", "--dry-run").ok().out.count("would delete") == 2
    assert all(path.exists() for path in zips)
    assert set(source.states().values()) == {"NERSCClean"}
    assert delete(source, "--yes").json["counts"] == {"NERSCClean>LocalDeleted": 2}
    assert not any(path.exists() for path in zips)
    assert set(source.states().values()) == {"LocalDeleted"}
    notes = source.sql("SELECT why FROM journal WHERE kind = 'lta-zip'")
    assert len(notes) == 2
    assert all("its zip is removed: 420 bytes" in why for (why,) in notes), "the intent stands before the act"


def test_only_the_named_ones_and_only_what_may_go(source: Outbound) -> None:
    on_tape(source, "a.zip")
    on_tape(source, "a.zip.zip")
    on_tape(source, "pushed.zip", state="PushDone")
    found = delete(source, "--yes", "a.zip", "/pushed.zip", codes=(1,))
    assert told(found) == ["not deleted"]
    assert "it is PushDone" in found.json["errors"][0]["why"]
    assert source.states() == {"/a.zip": "LocalDeleted", "/a.zip.zip": "NERSCClean", "/pushed.zip": "PushDone"}
    assert (source.outbound / "a.zip.zip").exists()
    assert delete(source, "--yes", "none.zip", codes=(2,)).json["errors"][0]["what"] == "refused"
    assert source.run("lta-manual-bundle", "--gone", "a.zip").gave(2).err


def test_only_what_is_proved_on_tape_is_deleted_in_no_other_state(source: Outbound) -> None:
    paths = {
        state: on_tape(source, f"{state}.zip") for state in ("Quarantined", "NERSCDone", "NERSCProblem", "Retry", "JsonMade")
    }
    with source.database() as db:
        for state in paths:
            db.execute("UPDATE lta_bundle SET state = ? WHERE ideal = ?", (state, f"/{state}.zip"))
    assert delete(source, "--yes").json["counts"] == {}
    assert all(path.read_bytes() == DATA for path in paths.values())


def test_only_zips_of_this_home_are_deleted(source: Outbound) -> None:
    path = on_tape(source, "a.zip")
    with source.database() as db:
        db.execute("UPDATE lta_bundle SET home = 'another'")
    assert delete(source, "--yes").json["counts"] == {}
    assert "another HOME" in delete(source, "--yes", "a.zip", codes=(1,)).json["errors"][0]["why"]
    assert path.exists()


def test_with_two_copies_wanted_one_proved_copy_deletes_nothing(source: Outbound) -> None:
    source.set(copies=2)
    path = on_tape(source, "a.zip")
    assert delete(source, "--yes").json["counts"] == {}
    assert "1 of 2 copies are proved" in delete(source, "--yes", "a.zip", codes=(1,)).json["errors"][0]["why"]
    on_tape(source, "a.zip", b"other bytes under the same name", destination="desy")
    path.write_bytes(DATA)
    assert delete(source, "--yes").json["counts"] == {}, "a copy of other bytes is none"
    on_tape(source, "b.zip")
    on_tape(source, "b.zip", destination="desy", state="PushDone")
    assert delete(source, "--yes").json["counts"] == {}, "a copy that is not proved is none"
    source.to_tape("/b.zip", destination="desy")
    assert delete(source, "--yes").json["counts"] == {"NERSCClean>LocalDeleted": 1}
    assert (path.exists(), (source.outbound / "b.zip").exists()) == (True, False)


@pytest.mark.parametrize("change", ["size", "bytes", "link", "directory"])
def test_a_zip_that_is_not_what_was_archived_stays_and_is_told(source: Outbound, change: str) -> None:
    path = on_tape(source, "a.zip")
    good = on_tape(source, "good.zip")
    was = path.stat()
    if change in ("size", "bytes"):
        path.write_bytes(DATA[::-1] if change == "bytes" else DATA + b"x")
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    else:
        path.rename(source.home / "elsewhere.zip")
        path.mkdir() if change == "directory" else path.symlink_to(source.home / "elsewhere.zip")
    found = delete(source, "--yes", codes=(1,))
    assert told(found) == ["zip not deleted"]
    assert source.states() == {"/a.zip": "NERSCClean", "/good.zip": "LocalDeleted"}
    assert os.path.lexists(path)
    assert not good.exists()
    assert source.sql("SELECT id FROM lta_bundle WHERE holder IS NOT NULL") == []


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", ["renameat2", "unlink"])
def test_killed_between_rename_and_unlink_the_next_pass_ends_it(source: Outbound, call: str) -> None:
    path = on_tape(source, "a.zip")
    aside = Path(os.fsdecode(aside_of(os.fsencode(path))))
    at = path if call == "renameat2" else aside
    killed = source.run("lta-manual-bundle", "--yes", prefix=strace(f"{call}:signal=KILL", path=at))
    assert killed.code == -9, str(killed)
    assert list(source.outbound.iterdir()) == [at]
    assert source.states() == {"/a.zip": "NERSCClean"}
    source.due()
    with source.database() as db:
        db.execute("UPDATE lta_bundle SET ready = since, holder = NULL")
    assert delete(source, "--yes").json["counts"] == {"NERSCClean>LocalDeleted": 1}
    assert list(source.outbound.iterdir()) == []


def test_a_zip_that_is_gone_is_deleted_only_when_we_said_so_before(source: Outbound) -> None:
    for name in ("ours.zip", "theirs.zip"):
        on_tape(source, name).unlink()
    number = source.bundles()["/ours.zip"].id
    with source.database() as db:  # what a pass writes that is killed between the unlink and its booking
        row = (number, "2026-01-01 00:00:00.000000", "its zip is removed")
        db.execute("INSERT INTO journal (pipeline, kind, item, at, by, why) VALUES ('lta', 'lta-zip', ?, ?, 'lta', ?)", row)
    found = delete(source, "--yes", codes=(1,))
    assert told(found) == ["zip not there"]
    assert source.states() == {"/ours.zip": "LocalDeleted", "/theirs.zip": "NERSCClean"}
    source.outbound.rename(source.home / "away")
    assert "No such file" in delete(source, "--yes", "--gone", codes=(1,)).json["errors"][0]["why"], (
        "it may be there all the same"
    )
    (source.home / "away").rename(source.outbound)
    assert delete(source, "--yes", "--gone", "theirs.zip").json["counts"] == {"NERSCClean>LocalDeleted": 1}


def test_free_local_verified_lets_the_scanner_delete_and_never_does_not(source: Outbound) -> None:
    path = on_tape(source, "a.zip")
    changed = on_tape(source, "changed.zip")
    changed.write_bytes(DATA[::-1])
    assert source.scan().json["counts"] == {}
    assert path.exists()
    source.set(free_local="verified")
    plan = source.run("lta-bundle-scanner", "--dry-run").ok().out
    assert "would delete the zips of 2 bundles" in plan
    found = source.scan(codes=(1,))
    assert found.json["counts"] == {"NERSCClean>LocalDeleted": 1}, "a drain ends what is under way"
    assert told(found) == ["zip not deleted"]
    assert (path.exists(), changed.exists()) == (False, True)
