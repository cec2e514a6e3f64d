"""HOME: its directories, its settings file and its database, made by `dm-config init` and never overwritten."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from dmtools import durable
from dmtools.command.run import Refused, Unavailable
from dmtools.settings import load

MODE, SECRET_MODE = 0o750, 0o700
DIRECTORIES = (
    "secrets log run run/sim run/set-aside"
    " migrate migrate/TODO migrate/TODO/ListOfLFNs migrate/TODO/ListOfLFNs/Done migrate/DOING"
    " migrate/DONE migrate/DONE/Okay migrate/DONE/Bad migrate/DONE/Dirty migrate/DONE/Missing"
    " demo demo/castor demo/echo"
    " demo/daq demo/daq/data1 demo/daq/data2 demo/daq/data3 demo/daq/data4 demo/site demo/tape"
    " demo/lta demo/lta/outbound demo/lta/remote demo/lta/warehouse demo/lta/dump"
    " demo/lta/slots demo/lta/slots/slot1 demo/lta/slots/slot2 demo/lta/slots/slot3 demo/lta/slots/slot4"
    " dqm dqm/raw dqm/public datalogger datalogger/draft datalogger/out datalogger/site"
).split()


@dataclass
class Made:
    """What `make` made, and what stood there before and was left as it was."""

    home: Path
    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)

    def note(self, path: Path, new: bool) -> None:
        """Keeps the path in the list it belongs to."""
        (self.made if new else self.kept).append(path)


def make(home: Path, port_base: int, *, dry_run: bool = False) -> Made:
    """Makes HOME whole; what is there stays. Raises Refused, Unavailable, SettingsError, LedgerUnavailable."""
    done = Made(home)
    _refuse_place(home)
    _directory(done, home, MODE, dry_run)
    for name in DIRECTORIES:
        _directory(done, home / name, SECRET_MODE if name == "secrets" else MODE, dry_run)
    _settings_file(done, home / "dmtools.toml", port_base, dry_run)
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
    if path.is_dir():
        done.note(path, new=False)
        return
    if os.path.lexists(path):
        raise Refused(f"{path} is in the way: a directory must be there; move it away, then run this again")
    if not dry_run:
        try:
            path.mkdir(mode=mode, parents=path == done.home)
            path.chmod(mode)  # whatever the umask
        except FileExistsError:
            return done.note(path, new=False)
        except OSError as problem:
            step = "choose a place you may write, or have its owner make it for you"
            raise Unavailable("can't make HOME", str(path), problem.strerror or str(problem), step) from None
    done.note(path, new=True)


def _settings_file(done: Made, path: Path, port_base: int, dry_run: bool) -> None:
    from dmtools.control import template

    if os.path.lexists(path):
        if not path.is_file():
            raise Refused(f"{path} is in the way: the settings file must be there; move it away, then run this again")
        return done.note(path, new=False)
    if not dry_run:
        temporary = durable.hidden(path)
        durable.write_file(temporary, template.render(done.home, port_base).encode(), 0o640)
        try:
            durable.rename_new(temporary, path)
        except FileExistsError:
            temporary.unlink()
            return done.note(path, new=False)
        durable.fsync_dir(path.parent)
    done.note(path, new=True)


def _database(done: Made, dry_run: bool) -> None:
    from dmtools.ledger import engine, schema

    own = done.home / "dmtools.db"
    if dry_run and not (done.home / "dmtools.toml").exists():
        return done.note(own, new=True)
    settings = load(done.home / "dmtools.toml", done.home)
    url = engine.database_url(settings)
    path = Path(engine.make_url(url).database or "") if url.startswith("sqlite") else Path(engine.shown(url))
    new = url.startswith("sqlite") and not path.exists()
    if not dry_run:
        ledger = engine.open_ledger(settings, check=False)
        try:
            schema.upgrade(ledger)
        finally:
            ledger.close()
        if new:
            path.chmod(0o640)
    done.note(path, new=new)
