"""daq-zip: the body of a zip job, without HOME or database, killed and refused at each of its steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmtools import names
from tests.daq.tape_steps import DAY, NASTY, Job, adler, below, lfn_of, strace
from tests.support import command, environment, run

NOISE = os.urandom(3 << 20)


@pytest.fixture
def make(short_tmp: Path) -> Callable[..., Job]:
    """`make({LFN: bytes}, field=value)`: a job whose file has these fields other than daq-archive would write them."""

    def made(files: dict[str, bytes], **changes: Any) -> Job:
        return Job(short_tmp, files, changes)

    return made


def raw_name(entry: zipfile.ZipInfo) -> bytes:
    return entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")


@pytest.mark.needs("zip")
def test_line_10_any_name_and_checksum_and_unzip_and_python_take_the_zip(make: Callable[..., Job]) -> None:
    """Blanks, quotes, a newline, `error`, bytes that are no UTF-8; checksums that begin with zeros."""
    files = {lfn_of(name): name * 5000 for name in NASTY} | {DAY + "empty": b"", DAY + "noise": NOISE, DAY + "zeros": b"\0\1"}
    assert adler(files[DAY + "zeros"]) == "adler32:00030002"
    job = make(files)
    assert job.run(OMP_NUM_THREADS="3").ok().err == ""
    assert job.left() == ["made.zip"]
    tested = subprocess.run(["unzip", "-t", job.upload], capture_output=True)
    assert tested.returncode == 0, tested.stdout
    with zipfile.ZipFile(job.upload) as found:
        assert found.testzip() is None
        first, *members = found.infolist()
        assert {raw_name(one): found.read(one) for one in members} == {names.decode(lfn)[1:]: d for lfn, d in files.items()}
        assert found.getinfo("2401/240102/Größe µ.dat").file_size > 0  # called UTF-8, as it is
        told = json.loads(found.read(first))["files"]
    assert first.filename == "MANIFEST.json"
    wanted = [(lfn, len(data), adler(data), f"{zipfile.crc32(data):08x}") for lfn, data in files.items()]
    assert [(one["lfn"], one["size"], f"adler32:{one['adler32']}", one["crc32"]) for one in told] == wanted
    assert [(one["lfn"], one["size"], one["checksum"], one["crc32"]) for one in job.result["files"]] == wanted
    made = job.upload.read_bytes()
    assert job.result["zip"] == {"size": len(made), "checksum": adler(made)}
    assert (job.result["key"], job.result["state"], job.result["error_class"]) == (job.key, "done", "")
    job.upload.unlink()
    job.run(OMP_NUM_THREADS="1").ok()
    assert job.upload.read_bytes() == made  # the same job, the same bytes: on one core as on three


@pytest.mark.needs("strace")
def test_line_3_the_zip_is_unzipped_against_the_original_before_its_upload(make: Callable[..., Job]) -> None:
    """A scratch disk that says it has written what it has not: the sums of what was read are right, the zip is not."""
    job = make({DAY + "x": NOISE})
    lost = "write:retval=1048576:when=4"  # the first three are headers
    done = job.run(prefix=strace(lost), OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1").gave(75)
    assert "failed its test, nothing was uploaded" in done.err
    assert (job.result["state"], job.result["error_class"]) == ("failed", "io")
    assert job.left() == []


@pytest.mark.needs("strace")
def test_line_2_success_is_what_the_storage_says_of_the_upload(make: Callable[..., Job]) -> None:
    """A copy that ends without an error, and a storage that has nothing."""
    job = make({DAY + "an%20error.dat": b"x" * 100})
    done = job.run(prefix=strace("rename:retval=0:when=1")).gave(1)
    assert "was uploaded, but the storage says that it is not there" in done.err


WRONG: dict[str, tuple[Callable[[Job], Any], str, int, bool, str]] = {
    # what is done to the job: error class, exit code, wide, what is said
    "other bytes": (lambda job: below(job.place / "site", DAY + "x").write_bytes(b"y" * 100), "checksum", 1, False, "expected"),
    "shorter": (lambda job: below(job.place / "site", DAY + "x").write_bytes(b"x" * 99), "checksum", 1, False, "99 bytes"),
    "missing": (lambda job: below(job.place / "site", DAY + "x").unlink(), "missing", 1, False, "No such file"),
    "no scratch": (lambda job: (job.place / "scratch").rmdir(), "missing", 75, True, "scratch directory"),
    "no file": (lambda job: job.path.write_text("{"), "invalid", 2, False, "is no job of daq-zip"),
    "outside": (lambda job: _files(job, lfn="/a/../../b"), "invalid", 2, False, "'..'"),
    "twice": (lambda job: _files(job, lfn="/MANIFEST.json"), "invalid", 2, False, "the same name in the zip"),
    "strange": (lambda job: _files(job, source="ftp://h/x"), "unsupported", 75, True, "no client knows ftp://"),
}


def _files(job: Job, **changes: object) -> None:
    job.changes["files"] = [job.sources()[0] | changes]
    job.write()


@pytest.mark.parametrize("what", WRONG)
def test_a_job_that_cant_be_done_says_why_and_leaves_nothing(make: Callable[..., Job], what: str) -> None:
    act, error_class, code, wide, said = WRONG[what]
    job = make({DAY + "x": b"x" * 100})
    act(job)
    done = job.run().gave(code)
    assert said in done.err
    assert done.err.startswith("daq-zip: ")
    assert [job.result[key] for key in ("state", "error_class", "wide")] == ["failed", error_class, wide]
    assert said in job.result["reason"]
    assert not job.upload.exists()
    assert what == "no scratch" or os.listdir(job.place / "scratch") == []


STAGES = {  # each is once in a thread: the system call, and what is before it
    "mkdir:when=1": "nothing",
    "write:when=2": "a part of the zip",
    "fsync:when=1": "the upload under its hidden name",
    "rename:when=1": "the same, durable",
    "fsync:when=2": "the upload under its name",
}


@pytest.mark.needs("strace")
def test_a_job_killed_at_every_stage_is_done_by_its_rerun(make: Callable[..., Job]) -> None:
    job = make({DAY + "x": b"x" * 100_000, DAY + "y": NOISE[:100_000]})
    for stage in STAGES:
        call, _, when = stage.partition(":")
        done = job.run(prefix=strace(f"{call}:signal=KILL:{when}"), PYTHONDONTWRITEBYTECODE="1")
        assert done.code == -9, stage
        assert job.upload.exists() == (stage == "fsync:when=2")
        assert not (job.place / "job/job.result.json").exists(), stage
    before = job.upload.stat()
    job.run().ok()
    assert job.result["state"] == "done"
    assert job.left() == ["made.zip"]  # what the killed ones left is gone, in scratch and at the place of uploads
    assert os.path.samestat(job.upload.stat(), before)  # there already and equal: not uploaded again


@pytest.mark.needs("strace")
def test_a_full_scratch_disk_is_the_nodes_trouble_and_a_job_that_is_stopped_hands_back(make: Callable[..., Job]) -> None:
    job = make({DAY + "x": NOISE})
    done = job.run(prefix=strace("write:error=ENOSPC:when=4"), PYTHONDONTWRITEBYTECODE="1").gave(75)
    assert "No space left on device" in done.err
    assert [job.result[key] for key in ("state", "error_class", "wide")] == ["failed", "full", True]
    assert job.left() == []
    done = job.run(prefix=strace("write:signal=TERM:when=4"), PYTHONDONTWRITEBYTECODE="1").gave(143, -15)
    assert [job.result[key] for key in ("key", "state", "wide")] == [job.key, "failed", True]
    assert "SIGTERM" in job.result["reason"]
    assert job.left() == []


@pytest.mark.needs("strace")
def test_a_job_that_hangs_is_ended_at_its_time(make: Callable[..., Job]) -> None:
    """A mount that answers no more: the read does not come back, and no signal of ours ends it."""
    job = make({DAY + "x": NOISE}, seconds=1)
    done = job.run(prefix=strace("write:delay_enter=5s:when=4")).gave(75)
    assert "not done within 1 s" in done.err
    assert [job.result[key] for key in ("state", "error_class", "wide")] == ["failed", "timeout", True]
    assert job.left() == []


def test_memory_is_flat(make: Callable[..., Job]) -> None:
    """A file that is twelve times as large needs no more memory, on one core and on two."""
    job = make({})
    source = job.place / "site/big"

    def peak(megabytes: int, cores: int) -> int:
        with source.open("wb") as file:
            for _ in range(megabytes):
                file.write(NOISE[: 1 << 20])
        job.files = {"/big": source.read_bytes()}
        job.changes["level"] = 1
        job.write()
        job.files = {}
        between = "import resource as r, subprocess as s, sys; s.run(sys.argv[1:], check=True); print(r.getrusage(-1).ru_maxrss)"
        argv = [sys.executable, "-c", between, *command("daq-zip", job.path)]  # a child's peak begins with its parent's
        env = environment(extra={"OMP_NUM_THREADS": str(cores)})
        return int(subprocess.run(argv, env=env, check=True, capture_output=True).stdout)

    for cores in (1, 2):
        assert peak(48, cores) < peak(4, cores) + (12 << 10)


@pytest.mark.needs("xrootd")
def test_sources_and_upload_on_real_xrootd_servers(make: Callable[..., Job], xrootd_server: Callable[..., Any]) -> None:
    server = xrootd_server()
    files = {DAY + "a%20b": b"a" * 70_000, DAY + "c": NOISE[:70_000]}
    job = make(files)
    for lfn, data in files.items():
        place = below(Path(server.data), lfn)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    job.changes = {"files": job.sources(server.url + "/"), "upload": f"{server.url}//zips/made.zip"}
    job.write()
    for _ in range(2):
        job.run().ok()
    with zipfile.ZipFile(below(Path(server.data), "/zips/made.zip")) as found:
        assert {one.filename: found.read(one) for one in found.infolist()[1:]} == {
            names.decode(lfn).decode()[1:]: data for lfn, data in files.items()
        }
    assert job.result["zip"]["checksum"] == adler(below(Path(server.data), "/zips/made.zip").read_bytes())
    assert job.left() == []


def test_help_and_version_and_wrong_use() -> None:
    assert "daq-zip job.json" in run("daq-zip", "--help").ok().out
    assert "dmtools" in run("daq-zip", "--version").ok().out
    assert "Missing argument" in run("daq-zip").gave(2).err
    missing = run("daq-zip", "/nowhere/job.json").gave(2)
    assert missing.err == (
        "daq-zip: /nowhere/job.json could not be read: No such file or directory; give the job file that daq-archive wrote\n"
    )
