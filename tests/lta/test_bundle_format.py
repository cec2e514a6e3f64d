"""What a bundle is: packing, the manifest, the texts that people give, and zips beyond 4 GiB."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.lta.glue import manifest, texts
from dmtools.lta.glue.building import Mismatch, build
from dmtools.lta.glue.layout import File, Layout
from dmtools.lta.glue.manifest import BadManifest, Record
from dmtools.lta.glue.packing import pack
from dmtools.lta.glue.plans import Plan
from dmtools.lta.warehouse import Content
from dmtools.names import encode
from dmtools.storage import checksum as sums
from dmtools.storage.zipformat import LIMIT, directory

raw_names = st.binary(min_size=1, max_size=40).map(lambda b: b.replace(b"\0", b"0").replace(b"/", b"_").replace(b"..", b"__"))
digests = st.text("0123456789abcdef", min_size=128, max_size=128)
records = st.builds(
    Record,
    raw_names.map(lambda name: "/data/" + encode(name)),
    st.integers(0, 2**62),
    digests,
    digests.map(lambda text: text[:8]),
    st.integers(0, 2**62),
)


@given(st.lists(st.integers(0, 10**12), max_size=60), st.integers(1, 10**12))
def test_packing_puts_every_file_into_exactly_one_bundle_evenly(sizes: list[int], ideal: int) -> None:
    files = [File(b"/%d" % n, f"/{n:06d}", size, 0) for n, size in enumerate(sizes)]
    bundles = pack(files, ideal)
    assert [one for some in bundles for one in some] == files  # each once, neighbours together
    assert all(bundles)
    total, number = sum(sizes), max(round(sum(sizes) / ideal), -(-10 * sum(sizes) // (12 * ideal)), 1)
    assert len(bundles) <= number
    for some in bundles:
        assert sum(one.size for one in some) <= total / number + max(sizes, default=0)
    assert pack(files[::-1], ideal) == bundles


def test_packing_of_like_files_makes_bundles_of_about_the_ideal_size_and_no_small_tail() -> None:
    files = [File(b"", f"/{n:06d}", 10, 0) for n in range(1050)]
    assert [len(some) for some in pack(files, 1000)] == [105] * 10


@given(st.lists(records, max_size=8, unique_by=lambda one: one.name))
def test_a_manifest_is_read_as_it_was_written_and_its_length_does_not_depend_on_its_sums(some: list[Record]) -> None:
    text = manifest.render("u-1", some)
    found = manifest.read(text)
    assert (found.uuid, found.version, list(found.files)) == ("u-1", 3, some)
    assert len(text) == len(manifest.render("u-1", [Record(r.name, r.size, mtime_ns=r.mtime_ns) for r in some]))


@given(
    st.binary(max_size=300) | st.text(max_size=300).map(str.encode) | records.map(lambda one: manifest.render("u", [one])[:-9])
)
def test_what_is_no_manifest_is_refused_in_a_sentence(data: bytes) -> None:
    with contextlib.suppress(BadManifest):
        manifest.read(data)


def test_the_manifests_of_icecubes_lta_are_read_version_2_and_3() -> None:
    one = {
        "uuid": "c-1",
        "logical_name": "/data/exp/\u00fc 1",
        "file_size": 5,
        "checksum": {"sha512": "a" * 128},
        "locations": [],
    }
    old = {"uuid": "b-1", "component": "bundler", "version": 2, "create_timestamp": "2021-01-01T00:00:00", "files": [one]}
    head = {"uuid": "b-1", "component": "bundler", "version": 3, "create_timestamp": "2024-01-01T00:00:00", "file_count": 1}
    wanted = (Record("/data/exp/%C3%BC%201", 5, "a" * 128, None),)
    for version, text in {2: json.dumps(old), 3: json.dumps(head) + "\n" + json.dumps(one) + "\n"}.items():
        found = manifest.read(text.encode())
        assert (found.uuid, found.version, found.files) == ("b-1", version, wanted)
    assert manifest.read(json.dumps(old, indent=2).encode()).files == wanted
    for wrong in (2, 0):
        with pytest.raises(BadManifest, match="says that it has"):
            manifest.read((json.dumps({**head, "file_count": wrong}) + "\n" + json.dumps(one)).encode())
    members = {b"\xc3\xbc 1", b"b-1.metadata.json"}
    assert manifest.place_of(wanted[0], members) == b"\xc3\xbc 1"  # named relative to what was asked for
    assert manifest.place_of(wanted[0], {b"exp/\xc3\xbc 1", b"\xc3\xbc 1"}) == b"exp/\xc3\xbc 1"
    assert manifest.place_of(wanted[0], {b"xp/\xc3\xbc 1"}) is None
    assert manifest.is_manifest(b"b-1.metadata.json")
    for name in ("data/1", "/data/../1", "/data/%00"):
        with pytest.raises(BadManifest):
            manifest.read(json.dumps({**old, "files": [{"name": name, "size": 1}]}).encode())


@given(st.binary(max_size=200))
def test_any_bytes_as_expected_numbers_or_catalogue_are_understood_or_refused_with_their_line(data: bytes) -> None:
    for read in (texts.expected, texts.catalogue):
        with contextlib.suppress(texts.BadLine):
            list(read(io.BytesIO(data)))


def test_a_catalogue_may_be_words_or_json_plain_or_gzip(tmp_path: Path) -> None:
    digest = "ab" * 64
    lines = f"/data/a b 7 {digest}\n" + json.dumps({"logical_name": "/data/c", "file_size": 8, "checksum": {"sha512": digest}})
    for name, data in {"plain": lines.encode(), "packed": gzip.compress(lines.encode())}.items():
        (tmp_path / name).write_bytes(data)
        with texts.opened(tmp_path / name) as file:
            found = [(one.lfn, one.size, one.sha512) for part in texts.catalogue(file) for one in part]
        assert found == [("/data/a%20b", 7, digest), ("/data/c", 8, digest)]
    (tmp_path / "torn").write_bytes(gzip.compress(lines.encode())[:-12])
    with pytest.raises(texts.BadLine), texts.opened(tmp_path / "torn") as file:
        list(texts.catalogue(file))


def test_a_plan_names_the_same_bundles_for_the_same_files_and_others_for_others() -> None:
    content = Content([(b"b", 1, 7), (b"a", 2, 7), (b"c/d", 3, 7)])
    plan = Plan.of("/data/x", content, 3)
    assert plan == Plan.of("/data/x", Content(content.files[::-1]), 3)
    assert plan.holds(content)
    for other in (Content([*content.files[:2], (b"c/d", 3, 8)]), Content([*content.files, (b"e", 0, 7)])):
        assert not plan.holds(other)
        assert Plan.of("/data/x", other, 3).uuid(0) != plan.uuid(0)
    assert len({plan.uuid(n) for n in range(plan.bundles)}) == plan.bundles == 2
    assert [file.name for n in range(2) for file in plan.files(n, b"/w/data/x")] == ["/data/x/a", "/data/x/b", "/data/x/c/d"]


def made(tmp_path: Path, files: list[File], wanted: dict[str, tuple[int, str]] | None = None) -> Path:
    path = tmp_path / "made.zip"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        build(Layout("u", files), handle, os.fsencode(path), wanted or {}, stall=60, each=lambda: None)
    finally:
        os.close(handle)
    return path


def file_at(path: Path, data: bytes) -> File:
    path.write_bytes(data)
    return File(os.fsencode(path), f"/data/{path.name}", len(data), path.stat().st_mtime_ns)


def test_the_bytes_of_a_bundle_depend_on_its_files_alone(tmp_path: Path) -> None:
    files = [file_at(tmp_path / f"{n:04d}", os.urandom(n * 7)) for n in range(600)]
    files.append(file_at(tmp_path / "zz", os.urandom(9 << 20)))
    assert made(tmp_path, files).read_bytes() == made(tmp_path, files).read_bytes()
    with zipfile.ZipFile(tmp_path / "made.zip") as bundle:
        assert bundle.testzip() is None
        assert bundle.read("data/zz") == (tmp_path / "zz").read_bytes()


@pytest.mark.parametrize("change", ["longer", "shorter", "touched", "gone", "link", "other bytes"])
@pytest.mark.parametrize("size", [10, 5 << 20])
def test_a_file_that_is_not_what_was_planned_is_refused_by_name(tmp_path: Path, change: str, size: int) -> None:
    one = file_at(tmp_path / "one", os.urandom(size))
    path, wanted = tmp_path / "one", {"/data/one": (size, "0" * 128)}
    if change == "longer":
        path.write_bytes(b"x" * (size + 1))
    elif change == "shorter":
        path.write_bytes(b"x" * (size - 1))
    elif change == "touched":
        os.utime(path, ns=(1, 1))
    elif change in ("gone", "link"):
        path.rename(tmp_path / "other")
    if change == "link":
        path.symlink_to(tmp_path / "other")
    with pytest.raises(Exception, match="one") as refused:
        made(tmp_path, [one], wanted if change == "other bytes" else None)
    assert isinstance(refused.value, Mismatch) or change == "link"


def test_a_bundle_over_4_gib_is_a_zip64_that_unzip_zipinfo_and_zipfile_accept(tmp_path: Path) -> None:
    """The layout of a bundle with a file over 4 GiB and one behind it; the large one is a hole, and is not read here."""
    size = LIMIT + 5
    large, small = File(b"/large", "/data/large", size, 1), file_at(tmp_path / "small", b"behind it")
    layout = Layout("u", [large, small])
    layout.members[1].crc = sums.crc32(b"behind it")
    text = manifest.render("u", [Record(one.name, one.size, mtime_ns=one.mtime_ns) for one in layout.files])
    layout.first.crc = sums.crc32(text)
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        for member, data in ((layout.first, text), (layout.members[0], b""), (layout.members[1], b"behind it")):
            file.seek(member.offset)
            file.write(member.local() + data)
        file.seek(layout.end)
        file.write(directory([layout.first, *layout.members], layout.end))
    assert path.stat().st_size == layout.size > 2**32
    few = ("data/small", "u.metadata.ndjson")
    assert subprocess.run(["unzip", "-tqq", path, *few], capture_output=True).returncode == 0
    assert b"data/large" in subprocess.run(["zipinfo", path], capture_output=True).stdout
    with zipfile.ZipFile(path) as bundle:
        assert [one.file_size for one in bundle.infolist()] == [len(text), size, 9]
        assert bundle.read("data/small") == b"behind it"
