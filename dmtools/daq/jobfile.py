"""What a zip job is told and what it answers: `NAME.json` and, beside it, `NAME.result.json`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from dmtools import names
from dmtools.storage import checksum as sums

SCHEMA = 1
LEVEL = 4  # zlib-ng's: not larger than `zip -6`, in a sixth of its time on detector data (bench/daq_zip.py)
MANIFEST = "/MANIFEST.json"

Bytes = Annotated[int, Meta(ge=0)]


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """One file to be zipped: where it is, its size in bytes and the `adler32:` that its bytes must have."""

    lfn: str
    source: str
    size: Bytes
    checksum: str


class Job(Struct, frozen=True, forbid_unknown_fields=True):
    """A zip to be made of `files` and uploaded to `upload`. `seconds`: its limit; `scratch`: empty: the batch system's."""

    key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,80}$")]
    name: str
    upload: str
    files: Annotated[tuple[Source, ...], Meta(min_length=1)]
    schema: Literal[1] = 1
    scratch: str = ""
    seconds: Annotated[int, Meta(ge=1)] = 86400
    level: Annotated[int, Meta(ge=1, le=9)] = LEVEL


class Summed(Struct, frozen=True):
    """A file as it is in the zip: `checksum` is its adler32, `crc32` 8 hex digits."""

    lfn: str
    size: Bytes
    checksum: str
    crc32: str


class Zip(Struct, frozen=True):
    """The zip as the storage says that it has it."""

    size: Bytes
    checksum: str


class Result(Struct, frozen=True):
    """How the job ended. `wide`: the trouble is of the node or a storage, so that no attempt of the files is counted."""

    key: str
    state: Literal["done", "failed"]
    zip: Zip | None = None
    files: tuple[Summed, ...] = ()
    error_class: str = ""
    reason: str = ""
    wide: bool = False
    host: str = ""
    seconds: float = 0.0
    schema: Literal[1] = 1


class Entry(Struct, frozen=True):
    """A file in the manifest of a zip: its LFN as the tables have it, its size in bytes, both checksums in 8 hex digits."""

    lfn: str
    size: Bytes
    adler32: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}$")]
    crc32: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}$")]


class Manifest(Struct, frozen=True):
    """MANIFEST.json: what a zip holds, so that it can be proved where no table is."""

    files: tuple[Entry, ...]
    schema: Literal[1] = 1


class JobRefused(ValueError):
    """The job file can't be used; the text says why. `key` is the job's, where it could be read."""

    def __init__(self, why: str, key: str = "") -> None:
        super().__init__(why)
        self.key = key


def read_job(path: Path) -> Job:
    """The job of a job file. Raises JobRefused."""
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise JobRefused(f"{path} could not be read: {problem.strerror}") from None
    try:
        job = msgspec.json.decode(data, type=Job)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise JobRefused(f"{path} is no job of daq-zip: {problem}", _key_of(data)) from None
    _check(job)
    return job


def _key_of(data: bytes) -> str:
    """The key of a job that is wrong elsewhere, so that its result still finds its owner."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    key = found.get("key") if isinstance(found, dict) else None
    return key if isinstance(key, str) else ""


def _check(job: Job) -> None:
    members = [member_name(MANIFEST)]
    for file in job.files:
        try:
            names.check_path(names.decode(file.lfn), file.lfn)
            if sums.normal(file.checksum) != file.checksum:
                raise ValueError(f"the checksum {file.checksum!r} is not written as adler32: and 8 hex digits")
            members.append(member_name(file.lfn))
        except ValueError as problem:
            raise JobRefused(f"file {file.lfn!r}: {problem}", job.key) from None
    if len(set(members)) != len(members):
        raise JobRefused("two files of the job have the same name in the zip", job.key)


def member_name(lfn: str) -> bytes:
    """An LFN -> its name in the zip: the raw bytes, without the slash before them. Raises ValueError."""
    name = names.decode(lfn).lstrip(b"/")
    if not 0 < len(name) <= 0xFFFF or name.endswith(b"/"):
        raise ValueError("it can't be a file's name in a zip")
    return name


def result_path(job_path: Path) -> Path:
    """`NAME.json` -> `NAME.result.json`, beside it."""
    return job_path.with_name(f"{job_path.name.removesuffix('.json')}.result.json")


def read_result(path: Path) -> Result:
    """The result file of a job. Raises FileNotFoundError, OSError, and ValueError for one that can't be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path} is no result of daq-zip: {problem}") from None


def write_result(path: Path, result: Result) -> None:
    """Whole or not at all. Raises OSError."""
    from dmtools import durable

    durable.write_file(path, msgspec.json.format(msgspec.json.encode(result)) + b"\n")


def manifest(files: tuple[Summed, ...]) -> bytes:
    """The zip's first member. Its length does not depend on the sums, so that it can be filled in when they are known."""
    entries = tuple(Entry(f.lfn, f.size, f.checksum.partition(":")[2], f.crc32) for f in files)
    return msgspec.json.format(msgspec.json.encode(Manifest(entries))) + b"\n"


def scratch_place(scratch: str) -> Path:
    """Where a scratch directory is made: as it was said, else the batch system's place, $TMPDIR, /tmp."""
    for given in (scratch, *map(os.environ.get, ("_CONDOR_SCRATCH_DIR", "SLURM_TMPDIR", "TMPDIR"))):
        if given:
            return Path(given)
    return Path("/tmp")  # noqa: S108 (a directory of its own is made there)
