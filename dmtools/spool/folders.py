"""The directories of one pipeline's queue: TODO, DOING, DONE/{Okay,Bad,Dirty,Missing}."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from dmtools import durable

TODO, DOING, OKAY, BAD, DIRTY, MISSING = "TODO", "DOING", "DONE/Okay", "DONE/Bad", "DONE/Dirty", "DONE/Missing"
ALL = (TODO, DOING, OKAY, BAD, DIRTY, MISSING)


class Folders:
    """HOME/PIPELINE with its queue. Names that begin with a dot are files in the making; nobody reads them."""

    def __init__(self, home: Path, pipeline: str) -> None:
        self.home = home
        self.root = home / pipeline
        self.set_aside_root = home / "run" / "set-aside"

    def make(self) -> None:
        """Makes the folders that aren't there."""
        for name in ALL:
            (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o750)

    def path(self, folder: str, name: str) -> Path:
        """The place of a list in a folder."""
        return self.root / folder / name

    def names(self, folder: str) -> list[str]:
        """The entries of a folder, in the order of their names (time stamps: oldest first); empty when it isn't there."""
        try:
            with os.scandir(self.root / folder) as entries:
                found = [e.name for e in entries if not e.name.startswith(".") and (e.is_file() or not _expected(e.name))]
        except FileNotFoundError:
            return []
        return sorted(found, key=order)

    def has(self, folder: str, name: str) -> bool:
        """Is the list there?"""
        return os.path.lexists(self.root / folder / name)

    def where(self, name: str) -> list[str]:
        """Every folder that holds a list of this name."""
        return [folder for folder in ALL if self.has(folder, name)]

    def put(self, folder: str, name: str, data: bytes) -> None:
        """Writes a list into a folder, whole or not at all, durable."""
        durable.write_file(self.root / folder / name, data)

    def put_many(self, folder: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Writes many lists into a folder with one `syncfs`; what stood under a name is replaced."""
        if len(files) == 1:
            self.put(folder, *files[0])
        elif files:
            durable.publish(self.root / folder, files)

    def drop_many(self, folder: str, names: Iterable[str]) -> None:
        """Removes lists from a folder; those that aren't there are no fault."""
        gone = False
        for name in names:
            try:
                os.unlink(self.root / folder / name)
                gone = True
            except FileNotFoundError:
                continue
        if gone:
            durable.fsync_dir(self.root / folder)

    def transfer(self, source: str, target: str, name: str) -> None:
        """Moves a list from one folder to another as it is; never over another list."""
        if self.has(target, name):
            raise FileExistsError(str(self.path(target, name)))
        durable.move(self.path(source, name), self.path(target, name))

    def set_aside(self, folder: str, name: str) -> Path:
        """Moves what must not be read to run/set-aside, under a name that can't meet another."""
        self.set_aside_root.mkdir(parents=True, exist_ok=True, mode=0o750)
        target = self.set_aside_root / f"{folder.replace('/', '-')}-{name}"
        if target.exists():
            target = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}")
        durable.move(self.root / folder / name, target)
        return target


def order(name: str) -> tuple[str, str]:
    """Lists go by their time stamp, whatever their prefix (`D`, `DD`)."""
    return (name.lstrip("D"), name)


def _expected(name: str) -> bool:
    """The sub-folders that the layout itself has."""
    return name == "ListOfLFNs"


def known_id(home: Path) -> str:
    """The id of this HOME; empty while no pass has made one. Nothing is written."""
    try:
        return (home / "run" / "home-id").read_text("ascii").strip()
    except OSError:
        return ""


def id_for(home: Path, *, dry_run: bool) -> str:
    """The id of this HOME; it is made when it is new, but not by a dry run: then it is empty."""
    return known_id(home) if dry_run else home_id(home)


def home_id(home: Path, known: Sequence[str] = ()) -> str:
    """The id of this HOME, kept in run/home-id; when that file is lost and the tables know one HOME only, that one's."""
    path = home / "run" / "home-id"
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        found = known[0] if len(known) == 1 else uuid.uuid4().hex
        path.parent.mkdir(exist_ok=True, mode=0o750)
        temporary = durable.hidden(path)
        durable.write_file(temporary, f"{found}\n".encode("ascii"))  # safe before it has its name
        try:
            durable.rename_new(temporary, path)
        except FileExistsError:  # another command was quicker
            temporary.unlink()
            return path.read_text("ascii").strip()
        durable.fsync_dir(path.parent)
        return found
