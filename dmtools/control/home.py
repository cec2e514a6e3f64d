"""HOME: its directories, its settings file and its database, made by `dm-config init` and never overwritten."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dmtools import durable
from dmtools.command.run import Refused, Unavailable
from dmtools.settings import load

MODE, SECRET_MODE = 0o750, 0o700
# below each: its sub-directories; contract section 3
TREE: tuple[tuple[str, str], ...] = (
    ("", "secrets log run migrate demo dqm datalogger"),
    ("run", "sim set-aside"),
    ("migrate", "TODO DOING DONE"),
    ("migrate/TODO", "ListOfLFNs"),
    ("migrate/TODO/ListOfLFNs", "Done"),
    ("migrate/DONE", "Okay Bad Dirty Missing"),
    ("demo", "castor echo daq site tape lta"),
    ("demo/daq", "data1 data2 data3 data4"),
    ("demo/lta", "outbound remote warehouse slots dump"),
    ("demo/lta/remote", "buffer export tape"),
    ("demo/lta/slots", "slot1 slot2 slot3 slot4"),
    ("dqm", "raw public"),
    ("datalogger", "draft out site"),
)
DIRECTORIES = tuple(f"{parent}/{name}".lstrip("/") for parent, names in TREE for name in names.split())


@dataclass
class Made:
    """What `make` made, and what stood there before and was left as it was."""

    home: Path
    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)

    def record(self) -> dict[str, object]:
        """For --json."""
        return {"home": str(self.home), "made": [str(path) for path in self.made], "kept": [str(path) for path in self.kept]}

    def note(self, path: Path, new: bool) -> None:
        """Keeps the path in the list it belongs to."""
        (self.made if new else self.kept).append(path)


def make(home: Path, port_base: int, chosen: Mapping[str, object] | None = None, *, dry_run: bool = False) -> Made:
    """Makes HOME whole; what is there stays. `chosen`: keys that a new settings file sets.

    Raises Refused, Unavailable, SettingsError, LedgerUnavailable.
    """
    done = Made(home)
    _refuse_place(home)
    _directory(done, home, MODE, dry_run)
    for name in DIRECTORIES:
        _directory(done, home / name, SECRET_MODE if name == "secrets" else MODE, dry_run)
    _settings_file(done, home / "dmtools.toml", port_base, chosen or {}, dry_run)
    _database(done, dry_run)
    return done


def _refuse_place(home: Path) -> None:
    from dmtools.ledger.engine import NETWORK_FILE_SYSTEMS, file_system

    place = home
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise Refused(f"{place} is no directory, so HOME can't be there; name another place, or move that file away")
    if not (home / "dmtools.toml").exists() and (kind := file_system(place)) in NETWORK_FILE_SYSTEMS:
        text = "put HOME on a local disk, or write HOME/dmtools.toml with [database] url = mysql+pymysql://... first"
        raise Refused(f"{home} lies on a network file system ({kind}), where the sqlite database is not safe; {text}")
    if place == home and home.stat().st_mode & stat.S_IWOTH:
        raise Refused(f"the HOME {home} may be written by everybody; mend it with: chmod o-w {home}")


def _directory(done: Made, path: Path, mode: int, dry_run: bool) -> None:
    in_the_way = os.path.lexists(path)  # asked first: another init may make it meanwhile
    there = path.is_dir()
    if not there and in_the_way:
        raise Refused(f"{path} is in the way: a directory must be there; move it away, then run this again")
    if not there and not dry_run:
        try:
            path.mkdir(mode=mode, parents=path == done.home, exist_ok=True)
            path.chmod(mode)  # whatever the umask
        except OSError as problem:
            step = "choose a place you may write, or have its owner make it for you"
            raise Unavailable("can't make HOME", str(path), problem.strerror or str(problem), step) from None
    done.note(path, new=not there)


def _settings_file(done: Made, path: Path, port_base: int, chosen: Mapping[str, object], dry_run: bool) -> None:
    from dmtools.control import template

    new = not os.path.lexists(path)
    if not new and not path.is_file():
        raise Refused(f"{path} is in the way: the settings file must be there; move it away, then run this again")
    if new and not dry_run:
        temporary = durable.hidden(path)
        durable.write_file(temporary, template.render(done.home, port_base, chosen).encode("utf-8", "backslashreplace"), 0o640)
        temporary.chmod(0o640)  # whatever the umask
        try:
            durable.rename_new(temporary, path)
        except FileExistsError:  # another init was quicker: its file stays
            temporary.unlink()
            new = False
        durable.fsync_dir(path.parent)
    done.note(path, new=new)


def _database(done: Made, dry_run: bool) -> None:
    from dmtools.ledger import engine, schema

    if dry_run and not (done.home / "dmtools.toml").exists():
        done.note(done.home / "dmtools.db", new=True)
        return
    settings = load(done.home / "dmtools.toml", done.home)
    path = engine.sqlite_path(settings)
    new = path is not None and not path.exists()
    if not dry_run:
        ledger = engine.open_ledger(settings, check=False)
        try:
            schema.upgrade(ledger)
        finally:
            ledger.close()
    if path is not None:
        done.note(path, new=new)
        if new and not dry_run:
            path.chmod(0o640)
