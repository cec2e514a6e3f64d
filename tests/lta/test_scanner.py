"""lta-bundle-scanner finds bundles: which zips it takes, which it leaves and tells, and what it says of both sites."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools import names
from dmtools.lta import sums
from dmtools.storage.answers import StorageError
from dmtools.storage.deadline import Pulse
from tests.lta.scanner_steps import OLD, Outbound, strace, told
from tests.support import Server

NASTY = (
    'it\'s "quoted" 100%.zip',
    "a_b+c@d!e{f}+++ ===.zip",
    "+=+=+ x, y; z.zip",
    "Größe µ/日本.zip",
    "select * from x; -- .zip",
    "-rf.zip",
    "an error: failed.zip",
)


@pytest.fixture
def source(home: Path, serve: Callable[..., Server]) -> Outbound:
    return Outbound(home, serve)


@pytest.fixture
def quiet(home: Path, serve: Callable[..., Server]) -> Outbound:
    """The remote site has not said yet what room it has: nothing is pushed."""
    return Outbound(home, serve, quota=None)


def test_only_settled_zips_are_bundles_and_what_is_a_link_is_told(quiet: Outbound) -> None:
    quiet.zip("deep/er/good.zip", b"data")
    quiet.zip("young.zip", age=0)
    for name in (".hidden.zip", ".snapshot/of.zip", ".dm-del-12", "good.zip.part", "notes.txt", "x.ZIP"):
        quiet.zip(name)
    (quiet.outbound / "link.zip").symlink_to(quiet.outbound / "deep/er/good.zip")
    (quiet.outbound / "linked").symlink_to(quiet.outbound / "deep")
    (quiet.outbound / "directory.zip").mkdir()
    found = quiet.scan()
    assert quiet.states() == {"/deep/er/good.zip": "Untouched"}
    assert told(found) == ["no regular file", "quota not known"], str(found)
    assert found.json["errors"][0]["subject"] == "/link.zip"
    bundle = quiet.bundles()["/deep/er/good.zip"]
    assert (bundle.size, bundle.adler32) == (4, "0400019b")
    assert bundle.sha512.startswith("77c7ce9a5d86bb386d443bb96390faa1")
    assert names.file_path(bundle.name) == os.fsencode(quiet.outbound / "deep/er/good.zip")


def test_names_with_any_byte_are_shipped_as_they_are_and_one_that_fts_can_t_keep_is_told(source: Outbound) -> None:
    source.start()
    source.set(max_pushes=20)
    zips = {name: source.zip(name) for name in (*(name.encode() for name in NASTY), b"\xff\xfe raw.zip", b"two\nlines.zip")}
    source.zip("/".join(["ü" * 100] * 3) + ".zip")
    source.ship()
    assert set(source.states().values()) == {"PushDone"}
    assert {names.decode(ideal)[1:] for ideal in source.states()} == set(zips)
    assert all(source.in_buffer(name).read_bytes() == path.read_bytes() for name, path in zips.items())
    again = source.scan(codes=(1,))
    assert told(again) == ["no name for a bundle"]
    assert "FTS keeps 1100" in again.json["errors"][0]["why"]
    source.agrees()


def test_prefix_names_are_bundles_of_their_own(source: Outbound) -> None:
    source.start()
    source.set(max_pushes=9)
    zips = {name: source.zip(name) for name in ("a.zip", "a.zip.zip", "110/x.zip", "1109/x.zip", "110.zip", "110/110.zip/y.zip")}
    source.ship()
    assert source.states() == {f"/{name}": "PushDone" for name in zips}
    assert all(source.in_buffer(name).read_bytes() == path.read_bytes() for name, path in zips.items())
    assert len(source.copies()) == len(zips)


@pytest.mark.needs("root")
def test_a_bundle_that_is_still_being_written_waits(quiet: Outbound) -> None:
    path = quiet.zip("slow.zip")
    with path.open("ab"):  # nothing was written for an hour, and it is open still
        assert told(quiet.scan()) == ["not read", "quota not known"] or quiet.bundles() == {}
        assert quiet.bundles() == {}
    quiet.scan()
    assert quiet.states() == {"/slow.zip": "Untouched"}


def test_a_zip_that_changes_while_it_is_hashed_is_no_bundle_yet(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"

    class Writer(Pulse):
        """Somebody who writes at each step of the reader."""

        def beat(self) -> None:
            act()
            super().beat()

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    def replace() -> None:
        path.with_suffix(".new").write_bytes(b"x" * 100)
        path.with_suffix(".new").rename(path)

    for act in (grow, lambda: os.truncate(path, 10), replace, lambda: os.utime(path)):  # noqa: B007 - the writer does it
        path.write_bytes(b"x" * 100)
        os.utime(path, (OLD, OLD))
        with pytest.raises(StorageError, match="changed while it was read") as refused:
            sums._read(os.fsencode(path), Writer())
        assert refused.value.cls == "changed"


@given(st.binary(max_size=300_000), st.binary(max_size=5))
def test_sums_are_those_of_the_standard_library(tmp_path_factory: pytest.TempPathFactory, body: bytes, more: bytes) -> None:
    import hashlib
    import zlib

    path = tmp_path_factory.getbasetemp() / "sums.zip"
    data = body * (1 + len(more) * 2)
    path.write_bytes(data)
    found = sums.read(os.fsencode(path))
    assert (found.size, found.sha512) == (len(data), hashlib.sha512(data).hexdigest())
    assert found.adler32 == f"{zlib.adler32(data):08x}"


def test_three_scanners_at_once_add_and_ship_each_bundle_once(source: Outbound) -> None:
    source.start()
    source.set(max_pushes=50)
    for number in range(30):
        source.zip(f"{number % 3}/{number}.zip")
    for _ in range(2):
        with ThreadPoolExecutor(3) as pool:
            done = [pool.submit(source.scan) for _ in range(3)]
        assert all(not one.result().json["errors"] for one in done)
        source.over()
    source.ship()
    assert list(source.states().values()) == ["PushDone"] * 30
    assert len(source.copies()) == len(set(source.copies())) == 30
    entries = source.sql("SELECT item, to_state, COUNT(*) FROM journal WHERE kind = 'lta-bundle' GROUP BY item, to_state")
    assert len(entries) == 90, "each once Untouched, JsonMade, PushDone"
    assert {n for _, _, n in entries} == {1}
    assert source.sql("SELECT resource FROM lease") == []


def test_what_a_killed_scanner_held_of_known_zips_is_given_back(quiet: Outbound) -> None:
    with quiet.database() as db:
        row = {"resource": "lta-zip-" + "0f" * 32, "owner": "killed", "host": "gone", "machine": "gone", "pid": 1, "started": 1}
        row |= {"since": "2026-01-01 00:00:00.000000", "expires": "2026-01-01 00:05:00.000000"}
        db.execute(f"INSERT INTO lease ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()])
    quiet.scan()
    assert quiet.sql("SELECT resource FROM lease") == []


def test_outbound_not_mounted_is_an_error_of_this_site_that_clears_by_itself(source: Outbound) -> None:
    source.zip("a.zip")
    shutil.move(source.outbound, source.home / "elsewhere")
    gone = source.scan(codes=(1,))
    assert told(gone) == ["outbound can't be read"]
    assert source.site("local").state == "Error"
    assert "No such file" in (source.site("local").error or "")
    shutil.move(source.home / "elsewhere", source.outbound)
    source.scan()
    assert (source.site("local").state, source.site("local").error) == ("Run", None)
    assert set(source.states()) == {"/a.zip"}


@pytest.mark.needs("strace")
def test_outbound_or_a_part_of_it_that_can_t_be_read_is_told_and_the_rest_is_found(quiet: Outbound) -> None:
    quiet.zip("good/a.zip")
    quiet.zip("bad/b.zip")
    part = quiet.scan(prefix=strace("openat:error=EACCES", path=quiet.outbound / "bad"), codes=(1,))
    assert "not readable" in told(part)
    assert set(quiet.states()) == {"/good/a.zip"}
    whole = quiet.scan(prefix=strace("openat:error=EACCES", path=quiet.outbound), codes=(1,))
    assert told(whole)[0] == "outbound can't be read"
    assert quiet.site("local").state == "Error"


@pytest.mark.needs("strace")
def test_a_zip_that_can_t_be_read_harms_itself_alone(quiet: Outbound) -> None:
    quiet.zip("a.zip")
    bad = quiet.zip("b.zip")
    quiet.zip("c.zip")
    found = quiet.scan(prefix=strace("openat:error=EIO", path=bad), codes=(1,))
    assert told(found)[0] == "not read"
    assert set(quiet.states()) == {"/a.zip", "/c.zip"}


def test_another_zip_under_a_known_name_is_told_and_neither_is_touched(quiet: Outbound) -> None:
    quiet.zip("a.zip", b"first")
    quiet.scan()
    quiet.zip("a.zip", b"another one")
    found = quiet.scan()
    assert told(found)[0] == "another zip"
    assert quiet.bundles()["/a.zip"].size == 5


def test_the_other_site_s_troubles_never_become_an_error_here(source: Outbound) -> None:
    source.posts(state="Error", error="hpss_avail: archive is down", quota=1000)
    assert not source.scan().json["errors"], "its own words say so, in dm-monitoring"
    with source.database() as db:
        db.execute("UPDATE lta_site SET at = '2020-01-01 00:00:00.000000' WHERE name = 'nersc'")
    silent = source.scan()
    assert told(silent) == ["remote site silent"]
    assert (source.site("local").state, source.site("nersc").state) == ("Run", "Error")
    source.run("dm-command", "halt", "lta/nersc-client").ok()
    assert source.scan().json["state"] != "halted"
    assert source.site("local").state == "Run"


def test_a_dry_run_tells_the_plan_and_changes_nothing(source: Outbound) -> None:
    source.zip("a b.zip")
    source.zip("gone.zip")
    source.scan()
    source.zip("c.zip")
    before = source.sql("SELECT * FROM lta_bundle"), source.sql("SELECT * FROM lta_site"), source.sql("SELECT * FROM component")
    files = sorted(source.home.rglob("*"))
    said = source.run("lta-bundle-scanner", "--dry-run").ok().out
    assert "would hash /c.zip (300 bytes) and add it" in said
    assert "would ask for 2 pushes that are under way" in said
    after = source.sql("SELECT * FROM lta_bundle"), source.sql("SELECT * FROM lta_site"), source.sql("SELECT * FROM component")
    assert after == before
    assert sorted(source.home.rglob("*")) == files


@pytest.mark.parametrize(
    "args",
    [("x",), ("--reset",), ("--reset", "1"), ("--retry", "--abort", "1"), ("--yes",), ("--reset", "/none", "--reason", "x")],
)
def test_wrong_use_is_told_and_nothing_is_changed(quiet: Outbound, args: tuple[str, ...]) -> None:
    assert quiet.run("lta-bundle-scanner", *args).gave(2).err
    assert quiet.sql("SELECT * FROM lta_bundle") == []
