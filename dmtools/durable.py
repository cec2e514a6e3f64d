"""Files that survive a power cut: hidden name, fsync, rename, fsync of the directory."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100


@functools.cache
def _libc() -> Any:
    import ctypes  # needed by few passes; cron starts many

    return ctypes.CDLL(None, use_errno=True)


def _raise(path: Path) -> None:
    import ctypes

    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), str(path))


def fsync_dir(directory: Path) -> None:
    """Makes the directory's entries durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def syncfs(directory: Path) -> None:
    """Makes all that was written to the directory's file system durable: one call for many files."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc().syncfs(handle) != 0:
            _raise(directory)
    finally:
        os.close(handle)


def hidden(path: Path) -> Path:
    """The name under which a file is made before it appears; readers skip names that begin with a dot."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_file(path: Path, data: bytes, mode: int = 0o640) -> None:
    """Writes the whole file or nothing; what stood there is replaced at once. A failed fsync discards the temporary."""
    temporary = hidden(path)
    try:
        _write_synced(temporary, data, mode)
        os.rename(temporary, path)
    except BaseException:  # a signal, too
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


def _write_synced(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        _write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(directory: Path, files: Iterable[tuple[str, bytes]], mode: int = 0o640) -> None:
    """Writes many files, each whole or not at all: hidden names, one `syncfs` for all data, renames, one fsync of the place."""
    made: list[str] = []
    tail = f".{os.getpid()}.tmp"
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            for name, data in files:
                handle = os.open(f".{name}{tail}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode, dir_fd=place)
                made.append(name)
                try:
                    _write_all(handle, data)
                finally:
                    os.close(handle)
            if not made:
                return
            syncfs(directory)
            while made:
                name = made[-1]
                os.rename(f".{name}{tail}", name, src_dir_fd=place, dst_dir_fd=place)
                made.pop()
        except BaseException:  # a signal, too
            for name in made:
                _forget(f".{name}{tail}", place)
            raise
        os.fsync(place)
    finally:
        os.close(place)


def _write_all(handle: int, data: bytes) -> None:
    done = os.write(handle, data)
    while done < len(data):
        done += os.write(handle, data[done:])


def _forget(name: str, place: int) -> None:
    try:
        os.unlink(name, dir_fd=place)
    except OSError:
        return  # a hidden name: the next repair sweeps it


def move(source: Path, target: Path) -> None:
    """Renames within one file system and makes both directories durable; replaces what stands at the target."""
    os.rename(source, target)
    fsync_dir(target.parent)
    if source.parent != target.parent:
        fsync_dir(source.parent)


def rename_new(source: Path, target: Path) -> None:
    """Renames, but never over something: raises FileExistsError when the target is there."""
    if _libc().renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        _raise(target)


def remove(path: Path) -> None:
    """Unlinks if it is there and makes that durable."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    fsync_dir(path.parent)


def write_out(handle: int, start: int, length: int) -> None:
    """Lets the disk begin with these bytes of an open file, so that the fsync at the end finds little left to do."""
    import ctypes

    _libc().sync_file_range(handle, ctypes.c_int64(start), ctypes.c_int64(length), 2)  # SYNC_FILE_RANGE_WRITE
