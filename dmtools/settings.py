"""One TOML file -> typed, validated settings. Every wrong key is told with its line and the near one that exists."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta, Struct

from dmtools.names import file_url

Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0)]
PORTS = ("dm-web", "dqm-server", "lta-rest-server", "fts1", "fts2", "dqm", "datalogger", "daq", "archive")


class SettingsError(Exception):
    """The settings can't be used: `problems` holds one sentence each, with the line where it is known."""

    def __init__(self, file: Path | None, problems: list[str]) -> None:
        self.file = file
        self.problems = problems
        super().__init__("; ".join(problems))


class HomeMissing(SettingsError):
    """There is no HOME or no settings file: not wrong, only not there yet."""


class Database(Struct, frozen=True, kw_only=True):
    """Where the tables are: `sqlite:///PATH` (empty: HOME/dmtools.db) or `mysql+pymysql://user@host/name`."""

    url: str = ""
    password_file: str = ""
    busy_seconds: Positive = 30


class Log(Struct, frozen=True, kw_only=True):
    """HOME/log: a new file every `rotate_hours`, the newest `keep` of each command stay."""

    rotate_hours: Positive = 24
    keep: Positive = 14


class CredentialSettings(Struct, frozen=True, kw_only=True):
    """X.509 proxy or bearer token for FTS and storage; empty: $X509_USER_PROXY and the usual places."""

    proxy: str = ""
    vo: str = ""
    role: str = ""
    token_file: str = ""
    warn_seconds: Positive = 172800
    refuse_seconds: Positive = 1000
    renew: tuple[str, ...] = ()


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One FTS server; `weight` is its share of new jobs; `url` may be `sim:NAME`."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]+$")]
    url: str
    weight: Share = 50


class Fts(Struct, frozen=True, kw_only=True):
    """The FTS servers and how they are asked."""

    servers: tuple[Server, ...] = (
        Server(name="fts1", url="sim:fts1", weight=50),
        Server(name="fts2", url="sim:fts2", weight=50),
    )
    connect_seconds: Positive = 5
    call_seconds: Positive = 30
    retry: int = 0
    priority: Annotated[int, Meta(ge=1, le=5)] = 3


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """LFNs below `match` (whole path components) are copied from below `source` to below `destination`."""

    match: Annotated[str, Meta(pattern=r"^/")]
    source: str
    destination: str
    priority: Annotated[int, Meta(ge=1, le=5)] | None = None
    max_open_jobs: Positive | None = None
    bytes_per_hour: Positive | None = None
    hours: Annotated[str, Meta(pattern=r"^(\d\d:\d\d-\d\d:\d\d)?$")] = ""
    bring_online: int = -1
    pin_lifetime: int = -1
    archive_timeout: int = -1
    source_spacetoken: str = ""
    destination_spacetoken: str = ""


class Migrate(Struct, frozen=True, kw_only=True):
    """The migrate pipeline: LFNs of the master lists from one storage to another."""

    rules: tuple[Rule, ...] = ()
    check_source: bool = True
    max_open_jobs: Positive = 200
    max_attempts: Positive = 4
    retry_seconds: Positive = 60
    compare_min_age_hours: Positive = 168


class Outage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A planned hold: from `start` to `end` (any common form of time) the scopes are held."""

    start: str
    end: str
    scope: str = "all"
    state: Annotated[str, Meta(pattern=r"^(halt|drain)$")] = "halt"
    reason: str = "planned outage"


class Control(Struct, frozen=True, kw_only=True):
    """Holds: the calendar of planned ones, when a person's hold counts as forgotten, and the error limit."""

    calendar: tuple[Outage, ...] = ()
    forgotten_hours: Positive = 72
    error_limit: Positive = 50


class TrainOk(Struct, frozen=True, kw_only=True):
    """Thresholds of `dm-train-ok`, in seconds, per cent or counts: warning and critical."""

    success_warning_seconds: Positive = 14400
    success_critical_seconds: Positive = 43200
    oldest_warning_seconds: Positive = 172800
    oldest_critical_seconds: Positive = 604800
    free_warning_percent: Share = 10
    free_critical_percent: Share = 3
    lag_warning_seconds: Share = 5
    lag_critical_seconds: Share = 20
    bad_warning: Positive = 1
    bad_critical: Positive = 1000
    stuck_hours: Positive = 24
    deadline_seconds: Positive = 10


class Web(Struct, frozen=True, kw_only=True):
    """The status page."""

    refresh_seconds: Positive = 3
    session_hours: Positive = 12
    threads: Positive = 4


class Settings(Struct, frozen=True, kw_only=True):
    """All that is in force; `home` and `file` are where it was found."""

    home: Path
    file: Path | None = None
    port_base: Annotated[int, Meta(ge=1, le=65526)] = 18800
    database: Database = Database()
    log: Log = Log()
    credentials: CredentialSettings = CredentialSettings()
    fts: Fts = Fts()
    migrate: Migrate = Migrate()
    control: Control = Control()
    train_ok: TrainOk = TrainOk()
    web: Web = Web()
    pipelines: dict[str, str] = {}

    def port(self, service: str) -> int:
        """The port of a service (see PORTS): port_base + its place."""
        return self.port_base + PORTS.index(service)


_SECTIONS = {name: kind for name, kind in get_type_hints(Settings, include_extras=True).items() if name not in ("home", "file")}


def known_keys() -> dict[str, Any]:
    """Every key as `section.key` (or `key` at the top) and its default value."""
    found: dict[str, Any] = {}
    for name, kind in _SECTIONS.items():
        if isinstance(kind, type) and issubclass(kind, Struct):
            found |= {f"{name}.{key}": getattr(kind(), key) for key in kind.__struct_fields__}
        else:
            found[name] = next(f.default for f in msgspec.structs.fields(Settings) if f.name == name)
    found["pipelines"] = {}
    return found


def default_rules(home: Path) -> tuple[Rule, ...]:
    """The rule in force when none is configured: LFN /a/b is HOME/demo/castor/a/b -> HOME/demo/echo/a/b."""
    below = file_url(home / "demo")
    return (Rule(match="/", source=f"{below}/castor", destination=f"{below}/echo"),)


def find(config: Path | None = None, home: Path | None = None) -> tuple[Path, Path | None]:
    """(HOME, settings file) by the order of the contract: --config, $DMTOOLS_CONFIG, HOME/dmtools.toml, /etc."""
    env_home = os.environ.get("DMTOOLS_HOME")
    place = home or (Path(env_home) if env_home else None)
    env_file = os.environ.get("DMTOOLS_CONFIG")
    file = config or (Path(env_file) if env_file else None)
    if file is None and place is not None:
        file = place / "dmtools.toml"
    if file is None:
        file = Path("/etc/dmtools/dmtools.toml")
    return (place or file.parent).absolute(), file


def load(config: Path | None = None, home: Path | None = None) -> Settings:
    """Finds, reads and validates the settings. Raises HomeMissing or SettingsError with every problem at once."""
    place, file = find(config, home)
    if file is None or not file.is_file():
        raise HomeMissing(file, [f"there is no settings file {file}; make a HOME with: dm-config init {place}"])
    _refuse_open(file, "settings file")
    if not place.is_dir():
        raise HomeMissing(file, [f"the HOME {place} is not there; make it with: dm-config init {place}"])
    _refuse_open(place, "HOME")
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(file, [f"{file} can't be read: {problem}"]) from None
    return parse(text, home=place, file=file)


def parse(text: str, *, home: Path, file: Path | None) -> Settings:
    """TOML text -> Settings. Raises SettingsError that names every wrong or unknown key by its line."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise SettingsError(file, [f"{file} is no valid TOML: {problem}"]) from None
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in _SECTIONS:
            problems.append(_unknown(text, "", name, _SECTIONS))
        elif isinstance(kind := _SECTIONS[name], type) and issubclass(kind, Struct):
            values[name] = _section(text, name, kind, value, problems)
        else:
            try:
                values[name] = msgspec.convert(value, kind)
            except msgspec.ValidationError as problem:
                problems.append(f"line {line_of(text, '', name)}: {name}: {problem}")
    if problems:
        raise SettingsError(file, problems)
    return Settings(home=home, file=file, **values)


def _section(text: str, name: str, kind: type[Struct], value: Any, problems: list[str]) -> Struct | None:
    if not isinstance(value, dict):
        problems.append(f"line {line_of(text, '', name)}: {name} must be a section: [{name}]")
        return None
    types = get_type_hints(kind, include_extras=True)
    taken: dict[str, Any] = {}
    for key, item in value.items():
        if key not in types:
            problems.append(_unknown(text, name, key, types))
            continue
        try:
            taken[key] = msgspec.convert(item, types[key])
        except msgspec.ValidationError as problem:
            problems.append(f"line {line_of(text, name, key)}: {name}.{key}: {problem}")
    return kind(**taken)


def _unknown(text: str, section: str, key: str, known: dict[str, Any]) -> str:
    full = f"{section}.{key}" if section else key
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(sorted(known))}"
    return f"line {line_of(text, section, key)}: unknown key {full!r}{hint}"


def line_of(text: str, section: str, key: str) -> int:
    """The line on which `key` of `[section]` stands (1-based); 0 when it can't be told."""
    here = ""
    for number, line in enumerate(text.splitlines(), 1):
        if head := re.match(r"\s*\[\[?\s*([^\]\s]+)\s*\]\]?", line):
            here = head[1].strip("\"'")
            if f"{section}.{key}".strip(".") == here or here.startswith(f"{section}.{key}.".lstrip(".")):
                return number
        elif here == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return number
        elif here == "" and section and re.match(rf"\s*{re.escape(section)}\s*\.\s*{re.escape(key)}\s*=", line):
            return number
    return 0


def _refuse_open(path: Path, what: str) -> None:
    if path.stat().st_mode & 0o002:
        raise SettingsError(path, [f"the {what} {path} may be written by everybody; mend it with: chmod o-w {path}"])
