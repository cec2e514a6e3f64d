"""One TOML file -> typed, validated settings. Every wrong key is told with its line and the near one that exists."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from dmtools.names import file_url
from dmtools.settings.datalogger import Datalogger
from dmtools.settings.dqm import Dqm
from dmtools.settings.kinds import (
    PORTS,
    SECTIONS,
    TOP,
    Control,
    CredentialSettings,
    Daq,
    Database,
    Fts,
    Log,
    Migrate,
    Outage,
    Rule,
    Server,
    Settings,
    TrainOk,
    Web,
)
from dmtools.settings.lta import Lta

__all__ = [
    "PORTS",
    "Control",
    "CredentialSettings",
    "Daq",
    "Database",
    "Datalogger",
    "Dqm",
    "Fts",
    "HomeMissing",
    "Log",
    "Lta",
    "Migrate",
    "Outage",
    "Rule",
    "Server",
    "Settings",
    "SettingsError",
    "TrainOk",
    "Web",
    "database_problem",
    "default_daq",
    "default_datalogger",
    "default_lta",
    "default_rules",
    "find",
    "known_keys",
    "load",
    "parse",
    "read_secret",
    "read_text",
]
ETC = Path("/etc/dmtools/dmtools.toml")


class SettingsError(Exception):
    """The settings can't be used: `problems` holds one sentence each, with the line where it is known."""

    def __init__(self, file: Path | None, problems: list[str]) -> None:
        self.file = file
        self.problems = problems
        super().__init__("; ".join(problems))


class HomeMissing(SettingsError):
    """There is no HOME or no settings file: not wrong, only not there yet."""


def known_keys() -> dict[str, Any]:
    """Every key as `section.key` (or `key` at the top) and its default value."""
    found: dict[str, Any] = {"home": "", "port_base": Settings(home=Path()).port_base}
    for name, kind in SECTIONS.items():
        found |= {f"{name}.{key}": getattr(kind(), key) for key in kind.__struct_fields__}
    return found | {"pipelines": {}}


def default_rules(home: Path) -> tuple[Rule, ...]:
    """The rule in force when none is configured: LFN /a/b is HOME/demo/castor/a/b -> HOME/demo/echo/a/b."""
    below = file_url(home / "demo")
    return (Rule(match="/", source=f"{below}/castor", destination=f"{below}/echo"),)


def default_daq(home: Path, found: Daq) -> Daq:
    """The places of [daq] that are not configured: below HOME/demo."""
    below = file_url(home / "demo")
    disks = found.disks or tuple(str(home / "demo/daq" / f"data{n}") for n in range(1, 5))
    site = (found.site or f"{below}/site").rstrip("/")
    tape = (found.tape or f"{below}/tape").rstrip("/")
    zips = (found.zips or f"{site}/zips").rstrip("/")
    return msgspec.structs.replace(found, disks=disks, site=site, tape=tape, zips=zips)


def default_lta(home: Path, found: Lta) -> Lta:
    """The places of [lta] that are not configured: below HOME/demo/lta."""
    below = home / "demo/lta"
    directories = {"outbound": "outbound", "remote_buffer": "remote/buffer", "remote_export": "remote/export"}
    directories |= {"tape_root": "remote/tape", "warehouse": "warehouse"}
    places: dict[str, Any] = {key: getattr(found, key) or str(below / place) for key, place in directories.items()}
    for key in ("buffer", "export"):  # for FTS, unless told otherwise, a directory of this machine
        places[key] = (getattr(found, key) or file_url(home / Path(places[f"remote_{key}"]).expanduser())).rstrip("/")
    places["outbound_url"] = (found.outbound_url or file_url(home / Path(places["outbound"]).expanduser())).rstrip("/")
    places["slots"] = found.slots or tuple(str(below / "slots" / f"slot{n}") for n in range(1, 5))
    places["delete_roots"] = found.delete_roots or (places["warehouse"],)
    places["token_file"] = found.token_file or str(home / "secrets/lta-worker.token")
    return msgspec.structs.replace(found, **places)


def default_datalogger(home: Path, found: Datalogger) -> Datalogger:
    """The places of [datalogger] that are not configured: below HOME/datalogger."""
    below = home / "datalogger"
    places = {key: getattr(found, key) or str(below / key) for key in ("draft", "out", "site")}
    stats_url = found.stats_url or f"sqlite:///{below / 'GMPSAI.db'}"
    return msgspec.structs.replace(found, **places, stats_url=stats_url)


def find(config: Path | None = None, home: Path | None = None) -> tuple[Path, Path]:
    """(HOME, settings file) by the order of the contract: --config, $DMTOOLS_CONFIG, HOME/dmtools.toml, /etc."""
    env_home, env_file = os.environ.get("DMTOOLS_HOME"), os.environ.get("DMTOOLS_CONFIG")
    place = home or (Path(env_home) if env_home else None)
    file = config or (Path(env_file) if env_file else None) or (place / "dmtools.toml" if place else ETC)
    return (place or file.parent).absolute(), file.absolute()


def load(config: Path | None = None, home: Path | None = None) -> Settings:
    """Finds, reads and validates the settings. Raises HomeMissing or SettingsError with every problem at once."""
    place, file = find(config, home)
    named = config or home or os.environ.get("DMTOOLS_HOME") or os.environ.get("DMTOOLS_CONFIG")
    found = parse(read_text(file, place if named else None), home=place, file=file)
    if not found.home.is_dir():
        raise HomeMissing(file, [f"the HOME {found.home} is not there; make it with: dm-config init {found.home}"])
    _refuse_open(found.home, "HOME")
    return found


def read_text(file: Path, home: Path | None = None) -> str:
    """The text of a settings file that nobody else may write; `home` is for the advice. Raises HomeMissing, SettingsError."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise SettingsError(file, [f"{file} is no file, but the settings file must be there"])
        _refuse_open(file, "settings file")
        return file.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        step = (
            f"make a HOME with: dm-config init {home}"
            if home
            else "name your HOME with --home or $DMTOOLS_HOME; a new one: dm-config init HOME"
        )
        raise HomeMissing(file, [f"there is no settings file {file}; {step}"]) from None
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise SettingsError(file, [f"line {line}: a byte that is not UTF-8; save the file as UTF-8"]) from None
    except OSError as problem:
        raise SettingsError(file, [f"{file} can't be read: {problem.strerror}"]) from None


def parse(text: str, *, home: Path, file: Path | None) -> Settings:
    """TOML text -> Settings. Raises SettingsError that names every wrong or unknown key by its line."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        from dmtools.settings import problems

        raise SettingsError(file, [problems.syntax(text, str(problem))]) from None
    values = _convert(table)
    if values is None:
        from dmtools.settings import problems

        raise SettingsError(file, problems.sentences(text, problems.diagnose(table)))
    _check(text, values, file)
    if values.get("home"):
        home = Path(values.pop("home")).expanduser().absolute()
    if "rules" not in table.get("migrate", {}):
        values["migrate"] = msgspec.structs.replace(values.get("migrate", Migrate()), rules=default_rules(home))
    values["daq"] = default_daq(home, values.get("daq", Daq()))
    values["lta"] = default_lta(home, values.get("lta", Lta()))
    values["datalogger"] = default_datalogger(home, values.get("datalogger", Datalogger()))
    return Settings(**{**values, "home": home, "file": file})


def _convert(table: dict[str, Any]) -> dict[str, Any] | None:
    """The values by section; None when anything is wrong: then `problems.diagnose` says what."""
    values: dict[str, Any] = {}
    for name, value in table.items():
        kind = SECTIONS.get(name)
        if kind is None and name not in TOP:
            return None
        if kind is not None and not (isinstance(value, dict) and value.keys() <= set(kind.__struct_fields__)):
            return None
        try:
            values[name] = msgspec.convert(value, kind or TOP[name])
        except msgspec.ValidationError:
            return None
    return values


def _check(text: str, values: dict[str, Any], file: Path | None) -> None:
    """What the types can't say, of the sections that the file has."""
    if not values.keys() & {"fts", "migrate", "daq", "dqm", "datalogger", "database", "control"}:
        return
    from dmtools.settings.checks import check

    found = [problem for name, value in values.items() for problem in check(name, value)]
    if found:
        from dmtools.settings import problems

        raise SettingsError(file, problems.sentences(text, found))


def database_problem(url: str) -> str:
    """Why $DMTOOLS_DATABASE_URL can't be used; empty when it can."""
    from dmtools.settings.checks import database

    return database(url)


def read_secret(path: Path, what: str) -> str:
    """The text of a secret's file (blanks around it cut), which only its owner may read. Raises SettingsError."""
    try:
        with path.open("r", encoding="utf-8") as handle:
            if os.fstat(handle.fileno()).st_mode & 0o077:
                raise SettingsError(path, [f"the {what} {path} may be read by others; mend it with: chmod 600 {path}"])
            return handle.read().strip()
    except OSError as problem:
        raise SettingsError(path, [f"the {what} {path} can't be read: {problem.strerror}"]) from None
    except UnicodeDecodeError:
        raise SettingsError(path, [f"the {what} {path} is not UTF-8"]) from None


def _refuse_open(path: Path, what: str) -> None:
    if path.stat().st_mode & 0o002:
        raise SettingsError(path, [f"the {what} {path} may be written by everybody; mend it with: chmod o-w {path}"])
