"""The body of a batch job: sources -> one tested zip -> its upload, proved by what the storage says.

Nothing is kept between the steps: a job that was killed is simply run again. Its zip is the same bytes, and an upload that
is there already and equal is done.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from dmtools.daq import jobfile
from dmtools.daq.deflating import BLOCK, crc32, deflate, threads
from dmtools.daq.jobfile import Job, Result, Source, Summed, Zip
from dmtools.daq.scratch import scratch
from dmtools.daq.ziptest import BadZip, Proved, prove
from dmtools.names import NameRefused, file_path, file_url, shown
from dmtools.settings import Settings
from dmtools.storage import Look, Present, StorageError, Store, Unknown, client_for, client_reason
from dmtools.storage import checksum as sums
from dmtools.storage.errnos import error_of
from dmtools.storage.publish import open_source, refuse_changed
from dmtools.storage.zipformat import ZipWriter

MADE = "made.zip"
LOOK_SECONDS = 3600.0  # a storage that has to read a large zip for its checksum


def run(job: Job) -> Result:
    """Does the job, and says how it ended; a failure is an answer. Raises what stops a process only."""
    began = time.monotonic()
    try:
        made, files = _work(job)
        result = Result(job.key, "done", made, files)
    except StorageError as problem:
        result = failed(job.key, problem.cls, problem.reason, wide=problem.wide)
    return _signed(result, began)


def failed(key: str, error_class: str, reason: str, *, wide: bool) -> Result:
    """The result of a job that could not be done."""
    text = reason.encode("utf-8", "backslashreplace").decode("utf-8")
    return Result(key, "failed", error_class=error_class, reason=text, wide=wide, host=socket.gethostname())


def _signed(result: Result, began: float) -> Result:
    import msgspec

    return msgspec.structs.replace(result, host=socket.gethostname(), seconds=round(time.monotonic() - began, 3))


def _work(job: Job) -> tuple[Zip, tuple[Summed, ...]]:
    upload = _client(job.upload)
    place = jobfile.scratch_place(job.scratch)
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(scratch(place, job.key))
        except OSError as problem:
            raise _of_the_node(error_of(problem, f"a scratch directory in {place}", "made")) from None
        path = directory / MADE
        files = _zip(job, directory, path)
        proved = _test(job, path, files)
        _upload(upload, path, proved, job.upload)
        return Zip(proved.size, proved.checksum), files


def _of_the_node(problem: StorageError) -> StorageError:
    """Trouble of the scratch disk is never the file's fault."""
    return StorageError(problem.cls, problem.reason, wide=True)


def _client(url: str) -> Store:
    settings = Settings(home=Path("/"))  # a job has no HOME: credentials come by its environment
    found = client_for(url, settings)
    if found is None:
        raise StorageError("unsupported", client_reason(url, settings) or url, wide=True)
    return found


# ---- zip -------------------------------------------------------------------------------------------------------------


def _zip(job: Job, directory: Path, path: Path) -> tuple[Summed, ...]:
    """All sources in one zip; what was read of each. Raises StorageError: of a source, or of the scratch disk."""
    try:
        with path.open("wb") as file:
            return _write(job, directory, ZipWriter(file))
    except OSError as problem:
        raise _of_the_node(error_of(problem, f"the scratch file {path}", "written")) from None


def _write(job: Job, directory: Path, writer: ZipWriter) -> tuple[Summed, ...]:
    workers = threads()
    blank = tuple(Summed(f.lfn, f.size, f.checksum, "0" * 8) for f in job.files)
    text = jobfile.manifest(blank)
    first = writer.store(jobfile.member_name(jobfile.MANIFEST), text, crc32(text))
    done: list[Summed] = []
    for number, source in enumerate(job.files):
        copy = directory / f"source-{number}"
        done.append(_add(writer, source, _local(source, copy), job.level, workers))
        copy.unlink(missing_ok=True)
    text = jobfile.manifest(tuple(done))
    writer.refill(first, text, crc32(text))
    writer.close()
    return tuple(done)


def _local(source: Source, copy: Path) -> bytes:
    """The path of the source on this machine: itself, or its copy in scratch. Raises StorageError."""
    if source.source.startswith("file:"):
        try:
            return file_path(source.source)
        except NameRefused as refused:
            raise StorageError("invalid", str(refused)) from None
    _client(source.source).copy(source.source, file_url(copy), expect=source.checksum)
    return os.fsencode(copy)


def _add(writer: ZipWriter, source: Source, path: bytes, level: int, workers: int) -> Summed:
    """Reads the file once, into the zip; its sums must be those of the job."""
    read = _Read(path, source)
    member = writer.begin(jobfile.member_name(source.lfn), source.size)
    packed = writer.write(deflate(read.blocks(), level, workers))
    if sums.text(read.adler) != source.checksum:
        said = f"its checksum is {sums.text(read.adler)}, expected {source.checksum}"
        raise StorageError("checksum", f"{shown(source.source)} was not zipped: {said}")
    writer.end(member, crc=read.crc, packed=packed, size=source.size)
    return Summed(source.lfn, source.size, source.checksum, f"{read.crc:08x}")


class _Read:
    """One read of a file, with both of its checksums."""

    def __init__(self, path: bytes, source: Source) -> None:
        self._path, self._source = path, source
        self.adler, self.crc, self.size = 1, 0, 0

    def blocks(self) -> Iterator[bytes]:
        """Blocks of the same length, but for the last. Raises StorageError, also when it changed or has another size."""
        with open_source(self._path) as handle, open(handle, "rb", buffering=BLOCK, closefd=False) as file:
            before = os.fstat(handle)
            if before.st_size != self._source.size:
                said = f"it has {before.st_size} bytes, expected {self._source.size}"
                raise StorageError("checksum", f"{shown(self._source.source)} was not zipped: {said}")
            while block := self._next(file):
                self.adler, self.crc = sums.adler32(block, self.adler), crc32(block, self.crc)
                self.size += len(block)
                if self.size > before.st_size:
                    break
                yield block
            refuse_changed(handle, self._path, before, self.size)

    def _next(self, file: BinaryIO) -> bytes:
        try:
            return file.read(BLOCK)
        except OSError as problem:
            raise error_of(problem, shown(self._source.source), "read") from None


# ---- test and upload -------------------------------------------------------------------------------------------------


def _test(job: Job, path: Path, files: tuple[Summed, ...]) -> Proved:
    """Unzips it all, against the checksums that the originals had on the DAQ's disk. Raises StorageError."""
    text = jobfile.manifest(files)
    wanted = {jobfile.member_name(f.lfn): (f.size, f.checksum, int(f.crc32, 16)) for f in files}
    wanted[jobfile.member_name(jobfile.MANIFEST)] = (len(text), sums.text(sums.adler32(text)), crc32(text))
    try:
        proved = prove(path)
    except BadZip as problem:
        raise StorageError("io", f"the zip of {shown(job.name)} failed its test, nothing was uploaded: {problem}") from None
    except OSError as problem:
        raise _of_the_node(error_of(problem, f"the scratch file {path}", "read")) from None
    if proved.members != wanted:
        raise StorageError("io", f"the zip of {shown(job.name)} holds other bytes than its sources, nothing was uploaded")
    return proved


def _upload(store: Store, path: Path, proved: Proved, url: str) -> None:
    """The zip at its URL, with the size and checksum that the storage itself says. Raises StorageError."""
    wanted = Present(proved.size, proved.checksum)
    if _look(store, url, checksum=False) == Present(proved.size, None) and _look(store, url) == wanted:
        return  # an earlier run of this job was killed after its upload
    store.copy(file_url(path), url, expect=proved.checksum, overwrite=True)  # the name is this job's alone
    found = _look(store, url)
    if isinstance(found, Unknown):
        raise StorageError("io", f"{shown(url)} was uploaded, but can't be looked at: {found.reason}", wide=True)
    if found != wanted:
        raise StorageError("checksum", f"{shown(url)} was uploaded, but the storage says {_said(found)}, not {_said(wanted)}")


def _look(store: Store, url: str, *, checksum: bool = True) -> Look:
    return store.look_many([url], checksum=checksum, deadline=LOOK_SECONDS)[0]


def _said(found: Look) -> str:
    return f"{found.size} bytes, {found.checksum}" if isinstance(found, Present) else "that it is not there"
