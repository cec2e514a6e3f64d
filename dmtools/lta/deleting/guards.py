"""Where files may be deleted: below the roots and never under keep, by whole names of directories and by the real path."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from dmtools import names
from dmtools.command import Refused
from dmtools.lta.api.files import File
from dmtools.settings import Lta
from dmtools.storage.answers import Mark


class Kept(Exception):
    """This file is left; the text says why."""


def is_below(path: bytes, tree: bytes) -> bool:
    """Whether the path is this one, or below it: /a/110/x is below /a/110, /a/1109/x is not."""
    return path == tree or path.startswith(tree.rstrip(b"/") + b"/")


@dataclass(frozen=True)
class Guards:
    """`roots`: real paths below which files may go; `keep`: paths, as they are named and as they are, that stay."""

    roots: tuple[bytes, ...]
    keep: tuple[bytes, ...]

    @classmethod
    def of(cls, lta: Lta) -> Guards:
        """As [lta] delete_roots and keep say. Raises Refused for a root that is none."""
        return cls(tuple(map(_root, lta.delete_roots)), tuple(_spellings(lta.keep)))

    def path_of(self, file: File) -> bytes:
        """Where a file of a bundle lay here. Raises Kept when nobody knows, or it may not be deleted from there."""
        if file.source is None:
            raise Kept("nobody knows where it lay here")
        try:
            path = names.file_path(file.source) if "://" in file.source else names.decode(file.source)
            names.check_path(path, names.shown(file.source))
        except names.NameRefused as problem:
            raise Kept(str(problem)) from None
        self.refuse_kept(path, names.decode(file.name))
        self.root_of(path)
        return path

    def refuse_kept(self, path: bytes, lfn: bytes) -> None:
        """What keep names, as a path here or as an LFN, stays. Raises Kept."""
        spelt = {os.path.normpath(path), os.path.realpath(path), os.path.normpath(lfn)}
        for tree in self.keep:
            if any(is_below(one, tree) for one in spelt):
                raise Kept(f"[lta] keep names {os.fsdecode(tree)}")

    def root_of(self, path: bytes) -> bytes:
        """The root that the path is really below, whatever links stand on the way. Raises Kept."""
        directory = os.path.realpath(os.path.dirname(path))
        for root in self.roots:
            if is_below(directory, root):
                return root
        raise Kept(f"it is really in {os.fsdecode(directory)}, which is below none of [lta] delete_roots")


def _root(text: str) -> bytes:
    path = os.path.expanduser(text)
    real = os.path.realpath(os.fsencode(path))
    if not os.path.isabs(path):
        raise Refused(f"[lta] delete_roots has {text!r}, which is not absolute; nothing is deleted below it")
    if real == b"/" or b".." in os.fsencode(path).split(b"/"):
        raise Refused(f"[lta] delete_roots has {text!r}, and all of the machine is below that; name the directory that is meant")
    return real


def _spellings(keep: Sequence[str]) -> list[bytes]:
    found = []
    for text in keep:
        path = os.path.expanduser(text)
        if not os.path.isabs(path):
            raise Refused(f"[lta] keep has {text!r}, which is not absolute, so nobody can say what it names")
        found += [os.path.normpath(os.fsencode(path)), os.path.realpath(os.fsencode(path))]
    return list(dict.fromkeys(found))


def look(path: bytes) -> os.stat_result | None:
    """What stands there, not following a link; None: nothing. Raises Kept for what is no regular file, or can't be seen."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        raise Kept(f"it can't be looked at: {problem.strerror}") from None
    if stat.S_ISLNK(found.st_mode):
        raise Kept("a link stands there")
    if not stat.S_ISREG(found.st_mode):
        raise Kept("it is no regular file")
    return found


def refuse_changed(path: bytes, found: os.stat_result, file: File) -> Mark:
    """The mark of a file that is still the one that was bundled: by size and time, else by its sha512. Raises Kept."""
    if found.st_size != file.size:
        raise Kept(f"it has {found.st_size} bytes; {file.size} were bundled")
    if found.st_mtime_ns != file.mtime_ns:
        from dmtools.lta.restoring.bundlezip import sha512_of
        from dmtools.storage import StorageError

        try:
            if sha512_of(path)[1] != file.sha512:
                raise Kept("it has changed since it was bundled: its sha512 is another one")
        except StorageError as problem:
            raise Kept(problem.reason) from None
    return Mark(found.st_ino, found.st_size, found.st_mtime_ns)
