"""The zip that we write, read by others; and what reads it, against any damage."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dmtools.daq import deflating
from dmtools.daq.jobfile import JobRefused, member_name, read_job
from dmtools.daq.ziptest import BadZip, prove
from dmtools.names import encode
from dmtools.storage.zipformat import LIMIT, ZipWriter

PART = st.binary(min_size=1, max_size=30).filter(lambda b: b"/" not in b and b"\0" not in b and b not in (b".", b".."))
NAMES = st.lists(PART, min_size=1, max_size=3).map(b"/".join)
DATA = st.one_of(st.binary(max_size=3000), st.binary(min_size=1, max_size=20).map(lambda b: b * 9000))


def write(file: io.BufferedRandom | io.BytesIO, files: dict[bytes, bytes], block: int, workers: int = 1) -> None:
    writer = ZipWriter(file)  # type: ignore[arg-type]
    for name, data in files.items():
        member = writer.begin(name, len(data))
        blocks = (data[at : at + block] for at in range(0, len(data), block))
        packed = writer.write(deflating.deflate(blocks, 4, workers))
        writer.end(member, crc=zlib.crc32(data), packed=packed, size=len(data))
    writer.close()


@contextlib.contextmanager
def on_disk(data: bytes) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        yield Path(file.name)


@given(files=st.dictionaries(NAMES, DATA, max_size=4), block=st.integers(1, 40_000), workers=st.integers(1, 3))
@example(files={}, block=1, workers=1)
def test_any_bytes_under_any_names_come_back(files: dict[bytes, bytes], block: int, workers: int) -> None:
    assume(sum(map(len, files.values())) / block < 300)
    made, alone = io.BytesIO(), io.BytesIO()
    write(made, files, block, workers)
    write(alone, files, block)
    assert made.getvalue() == alone.getvalue()
    with zipfile.ZipFile(made) as found:
        assert found.testzip() is None
        read = {i.orig_filename.encode("utf-8" if i.flag_bits & 0x800 else "cp437"): found.read(i) for i in found.infolist()}
    assert read == files
    got: dict[bytes, bytearray] = {name: bytearray() for name in files}
    with on_disk(made.getvalue()) as path:
        proved = prove(path, lambda name, piece: got[name].extend(piece))
    assert got == files
    assert (proved.size, proved.checksum) == (len(made.getvalue()), f"adler32:{zlib.adler32(made.getvalue()):08x}")
    assert proved.members == {n: (len(d), f"adler32:{zlib.adler32(d):08x}", zlib.crc32(d)) for n, d in files.items()}


SAMPLE = {b"a/one": b"one" * 500, b"two\xff": b"", b"three": bytes(range(256)) * 9}


@given(at=st.integers(0, 2000), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(at: int, bit: int) -> None:
    made = io.BytesIO()
    write(made, SAMPLE, 400)
    whole = made.getvalue()
    wrong = bytearray(whole)
    wrong[at % len(whole)] ^= 1 << bit
    with on_disk(whole) as path:
        right = prove(path)
    with on_disk(bytes(wrong)) as path, contextlib.suppress(BadZip):
        assert prove(path).checksum != right.checksum


@given(data=st.binary(max_size=400), cut=st.integers(0, 2000))
def test_rubbish_and_a_zip_cut_short_are_told(data: bytes, cut: int) -> None:
    made = io.BytesIO()
    write(made, SAMPLE, 400)
    for wrong in (data, made.getvalue()[: cut % len(made.getvalue())]):
        with on_disk(wrong) as path, pytest.raises(BadZip):
            prove(path)


@given(text=st.one_of(st.binary(max_size=300), st.just(b'{"key":"dm-1","name":"/x.zip","upload":"file:///x","files":[]}')))
def test_any_job_file_is_read_or_refused(text: bytes) -> None:
    with on_disk(text) as path, pytest.raises(JobRefused):
        read_job(path)


@given(name=NAMES)
def test_a_members_name_is_the_lfn_without_its_slash(name: bytes) -> None:
    assume(not name.startswith(b"/"))
    assert member_name("/" + encode(name)) == name


@pytest.mark.needs("zip")
def test_a_member_and_a_place_beyond_4_gib_as_python_and_unzip_read_them(tmp_path: Path) -> None:
    """Zeros: one deflated block of them, again and again; and a gap in the file before the second member."""
    count = (LIMIT >> 20) + 2
    zeros = bytes(1 << 20)
    block = next(iter(deflating.deflate([zeros, zeros], 1, 1)))
    last = zlib.compressobj(1, zlib.DEFLATED, -15).flush(zlib.Z_FINISH)
    crc, size = 0, count << 20
    for _ in range(count):
        crc = deflating.crc32(zeros, crc)
    path = tmp_path / "large.zip"
    with path.open("w+b") as file:
        writer = ZipWriter(file)  # type: ignore[arg-type]
        member = writer.begin(b"zeros", size)
        packed = writer.write([*(block for _ in range(count)), last])
        writer.end(member, crc=crc, packed=packed, size=size)
        writer.close()
    assert prove(path).members[b"zeros"][0] == size
    with zipfile.ZipFile(path) as found:
        (one,) = found.infolist()
        assert (one.file_size, one.compress_size, one.CRC) == (size, packed, crc)
    with path.open("w+b") as file:
        file.seek(LIMIT + 5)
        write(file, {b"far": b"away" * 9}, 100)
    with zipfile.ZipFile(path) as found:
        assert found.infolist()[0].header_offset == LIMIT + 5
        assert found.read("far") == b"away" * 9
    listed = subprocess.run(["unzip", "-t", path], capture_output=True, text=True)
    assert "far" in listed.stdout
    assert "No errors" in listed.stdout


def test_more_members_than_16_bits_count(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with path.open("w+b") as file:
        writer = ZipWriter(file)  # type: ignore[arg-type]
        for number in range(66_000):
            writer.store(b"%d" % number, b"", 0)
        writer.close()
    with zipfile.ZipFile(path) as found:
        assert len(found.infolist()) == 66_000
    assert len(prove(path).members) == 66_000
