"""Out of a proved bundle to where people want it: each file under a hidden name, proved, then published; nothing is replaced."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from dmtools import names
from dmtools.command import Refused, Unavailable
from dmtools.control.passes import Pass
from dmtools.lta.glue.manifest import Record
from dmtools.lta.restoring.bundlezip import BLOCK, BadBundle, BundleZip, Found, opened, sha512_of
from dmtools.lta.restoring.wanted import Wanted
from dmtools.storage import StorageError
from dmtools.storage.answers import Copied
from dmtools.storage.publish import make_file

RESTORED = "Restored"


class Place:
    """The directory below which all appears; it is made. Raises Refused, Unavailable."""

    def __init__(self, to: Path, *, dry_run: bool) -> None:
        try:
            if not dry_run:
                to.mkdir(parents=True, exist_ok=True)
            elif to.exists() and not to.is_dir():
                raise NotADirectoryError(20, "Not a directory")
        except (FileExistsError, NotADirectoryError):
            raise Refused(f"{to} can't be used: something that is no directory stands there, or above it") from None
        except OSError as problem:
            why, step = problem.strerror or str(problem), "mend that, or name another directory"
            raise Unavailable("no directory", str(to), why, step, "nothing was asked for") from None
        self.root = os.path.realpath(os.fsencode(to.absolute()))

    def target(self, lfn: str) -> bytes:
        """Where a file belongs. Raises StorageError when a link on the way there leads elsewhere."""
        target = self.root + b"/" + names.decode(lfn).lstrip(b"/")
        directory = os.path.dirname(target)
        if os.path.realpath(directory) != directory:
            raise StorageError("invalid", f"a link stands on the way to {_shown(target)}, and is not followed")
        return target


def _shown(path: bytes) -> str:
    return names.shown(names.encode(path))


def is_there(target: bytes, size: int, sha512: str) -> bool:
    """Whether this very file stands there. Raises StorageError, class `occupied`, when something else does."""
    if not os.path.lexists(target):
        return False
    like = not os.path.islink(target) and os.path.isfile(target) and os.path.getsize(target) == size
    if like and sha512_of(target) == (size, sha512):
        return True
    raise StorageError("occupied", f"{_shown(target)} is there and is not this file")


def unpack(this: Pass, wanted: Wanted, path: bytes, place: Place) -> list[str]:
    """Restores the wanted files of a bundle that is proved; gives those that could not be. Raises BadBundle, StorageError."""
    with opened(path) as bundle:
        for name in bundle.unlisted if wanted.everything else ():
            this.log(f"{wanted.shown} holds {_shown(name)}, which its manifest does not list: it is not restored")
        lfns = list(bundle.files) if wanted.everything else list(wanted.files)
        failed = [lfn for lfn in lfns if not _restore(this, wanted, bundle, lfn, place)]
    this.report.moved(wanted.bundle.state, RESTORED, len(lfns) - len(failed))
    return failed


def _restore(this: Pass, wanted: Wanted, bundle: BundleZip, lfn: str, place: Place) -> bool:
    try:
        found = bundle.files.get(lfn)
        if found is None:
            raise BadBundle(f"{wanted.shown} has no such file")
        known = wanted.files.get(lfn)
        if known is not None and known.sha512 != found.record.sha512:
            raise BadBundle(f"the manifest of {wanted.shown} has another sha512 of it than the tables")
        target = place.target(lfn)
        if is_there(target, found.record.size, found.record.sha512 or ""):
            this.context.say(f"{names.shown(lfn)} is there already, equal: {_shown(target)}")
            return True
        _publish(bundle, found, target)
    except (BadBundle, StorageError) as problem:
        if isinstance(problem, StorageError) and problem.wide:
            raise
        _tell(this, lfn, problem)
        return False
    this.log(f"{names.shown(lfn)} is back: {_shown(target)}, {found.record.size} bytes, sha512 {found.record.sha512}")
    this.context.say(f"{names.shown(lfn)} -> {_shown(target)}")
    return True


def take_off(this: Pass, wanted: Wanted, place: Place, *, whole: bool) -> bool:
    """Takes off what is there already, equal or not, as far as the tables know the files; whether anything is left to fetch."""
    bundle = wanted.bundle
    if whole and wanted.everything:
        return _is_free(this, place, bundle.ideal, bundle.size, bundle.sha512)
    for lfn, file in list(wanted.files.items()):
        if file is not None and not _is_free(this, place, lfn, file.size, file.sha512):
            del wanted.files[lfn]
    return bool(wanted.files) or wanted.everything


def _is_free(this: Pass, place: Place, lfn: str, size: int, sha512: str) -> bool:
    try:
        target = place.target(lfn)
        if not is_there(target, size, sha512):
            return True
        this.context.say(f"{names.shown(lfn)} is there already, equal: {_shown(target)}")
    except StorageError as problem:
        _tell(this, lfn, problem)
    return False


def _tell(this: Pass, lfn: str, problem: Exception) -> None:
    step = "look at the bundle with: lta-dirinfo --files"
    if isinstance(problem, StorageError):
        step = "move it away, or restore to another directory" if problem.cls == "occupied" else "mend that, then the same again"
    left = "it was left as it is" if getattr(problem, "cls", "") == "occupied" else "nothing of it was published"
    this.problem("not restored", names.shown(lfn), why=str(problem), left=left, next=step)


def _publish(bundle: BundleZip, found: Found, target: bytes) -> None:
    record = found.record

    def fill(handle: int) -> Copied:
        _write(bundle, found, handle)
        if record.mtime_ns is not None:
            os.utime(handle, ns=(record.mtime_ns, record.mtime_ns))
        return Copied(record.size, "")

    _make(target, record.size, record.sha512 or "", fill)


def _make(target: bytes, size: int, sha512: str, fill: Callable[[int], Copied]) -> None:
    """Whole or not at all; when another run has just made the same file, that is as well."""
    try:
        make_file(target, False, str(os.getpid()), 0o644, fill)
    except StorageError as problem:
        if problem.cls != "occupied" or not is_there(target, size, sha512):
            raise


def _write(bundle: BundleZip, found: Found, handle: int) -> None:
    record, sha512, size = found.record, hashlib.sha512(), 0
    for piece in bundle.pieces(found):
        sha512.update(piece)
        size += len(piece)
        _write_all(record, handle, piece)
    if (size, sha512.hexdigest()) != (record.size, record.sha512):
        raise BadBundle(f"{names.shown(record.name)} has other bytes than the bundle's manifest says")


def _write_all(record: Record, handle: int, piece: bytes) -> None:
    from dmtools.storage.errnos import error_of

    try:
        done = os.write(handle, piece)
        while done < len(piece):
            done += os.write(handle, piece[done:])
    except OSError as problem:
        raise error_of(problem, names.shown(record.name), "written") from problem


def copy_zip(this: Pass, wanted: Wanted, path: bytes, place: Place) -> bool:
    """The bundle itself, as the zip that it is; False: it could not be, and that is told."""
    bundle = wanted.bundle
    try:
        target = place.target(bundle.ideal)
        if not is_there(target, bundle.size, bundle.sha512):
            _copy(path, target, wanted)
            this.report.moved(bundle.state, RESTORED)
        this.context.say(f"{wanted.shown} -> {_shown(target)}")
    except (BadBundle, StorageError) as problem:
        if isinstance(problem, StorageError) and problem.wide:
            raise
        _tell(this, bundle.ideal, problem)
        return False
    return True


def _copy(path: bytes, target: bytes, wanted: Wanted) -> None:
    """Proved once more by what was written."""
    bundle = wanted.bundle
    record = Record(bundle.ideal, bundle.size, bundle.sha512)

    def fill(handle: int) -> Copied:
        sha512 = hashlib.sha512()
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(BLOCK):
                sha512.update(piece)
                _write_all(record, handle, piece)
        if sha512.hexdigest() != bundle.sha512:
            raise BadBundle(f"{wanted.shown} changed while it was read")
        return Copied(bundle.size, "")

    _make(target, bundle.size, bundle.sha512, fill)
