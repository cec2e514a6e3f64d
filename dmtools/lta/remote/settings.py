"""What the remote site reads of the settings file: the keys of [lta] that concern it, by name, type and line."""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dmtools.command.run import Refused, Unavailable
from dmtools.names import file_url

ETC = Path("/etc/dmtools/dmtools.toml")
PORT = 2  # of lta-rest-server, counted from port_base
# Keys of [lta] that are the source's matter: right, but not looked at here.
ELSEWHERE = frozenset(
    (
        *(
            "outbound",
            "outbound_url",
            "buffer",
            "settle_seconds",
            "max_pushes",
            "max_attempts",
            "retry_seconds",
            "silent_minutes",
        ),
        *("copies", "free_local", "delete_roots", "keep", "trash_bytes", "trash_days", "warehouse", "slots", "slots_reserved"),
        *("wanted", "dump_copies", "dump_hours", "disk_seconds", "ideal_bytes", "audit_percent", "audit_days", "rate"),
    )
)


@dataclass(frozen=True)
class Rotation:
    """Of the log, as [log] has it."""

    rotate_hours: int = 24
    keep: int = 14


@dataclass(frozen=True)
class Remote:
    """The settings in force at the remote site; their meaning is that of `dmtools.settings.lta`. All paths are absolute."""

    home: Path = Path()
    log: Rotation = Rotation()
    own_server: bool = False  # [lta] url is empty: the lta-rest-server of this HOME
    url: str = ""
    token_file: str = ""
    ca_file: str = ""
    server_seconds: int = 15
    destination: str = "nersc"
    lease_seconds: int = 600
    remote_buffer: str = ""
    remote_export: str = ""
    export: str = ""
    remote_quota_bytes: int = 0
    remote_free_bytes: int = 0
    tape: str = "directory"
    tape_root: str = ""
    tape_commands: dict[str, list[str]] = field(default_factory=dict)
    tape_seconds: int = 43200
    tape_jobs: int = 14
    batch: str = "local"
    batch_options: tuple[str, ...] = ()


_OURS = ("home", "log", "own_server")
_DEFAULTS = {one.name: getattr(Remote(), one.name) for one in fields(Remote) if one.name not in _OURS}
_CHOICES = {"tape": ("directory", "hsi", "commands"), "batch": ("local", "htcondor", "slurm")}
_FROM_ONE = ("server_seconds", "lease_seconds", "tape_seconds", "tape_jobs")


def read(config: Path | None, home: Path | None) -> Remote:
    """The settings. Raises Refused for wrong ones and Unavailable when there is no HOME yet."""
    place, file = _find(config, home)
    table = _table(file)
    if isinstance(table.get("home"), str) and table["home"]:
        place = Path(table["home"]).expanduser().absolute()
    if not place.is_dir():
        raise Unavailable("no HOME", str(place), "it is not there", f"make it with: mkdir -m 750 {place}")
    if place.stat().st_mode & stat.S_IWOTH:
        raise Refused(f"the HOME {place} may be written by everybody; mend it with: chmod o-w {place}")
    given = _section(table, file)
    values = {key: _value(file, key, given[key]) for key in given if key in _DEFAULTS}
    return Remote(home=place, log=_rotation(table), **_filled(place, table, values))


def _find(config: Path | None, home: Path | None) -> tuple[Path, Path]:
    env_home, env_file = os.environ.get("DMTOOLS_HOME"), os.environ.get("DMTOOLS_CONFIG")
    place = home or (Path(env_home) if env_home else None)
    file = config or (Path(env_file) if env_file else None) or (place / "dmtools.toml" if place else ETC)
    return (place or file.parent).absolute(), file.absolute()


def _table(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_mode & stat.S_IWOTH:
            raise Refused(f"the settings file {file} may be written by everybody; mend it with: chmod o-w {file}")
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        step = "write it: at least [lta] with url, token_file and tape_root; name it with --config"
        raise Unavailable("no settings file", str(file), "it is not there", step) from None
    except UnicodeDecodeError:
        raise Refused(f"{file} is not UTF-8; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as problem:
        raise Refused(f"{file} can't be read as TOML: {problem}") from None
    except OSError as problem:
        raise Refused(f"{file} can't be read: {problem.strerror}") from None


def _section(table: dict[str, Any], file: Path) -> dict[str, Any]:
    given = table.get("lta", {})
    if not isinstance(given, dict):
        raise Refused(f"{file}: lta must be a section: [lta]")
    known = _DEFAULTS.keys() | ELSEWHERE
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise Refused(f"{file}: [lta] has no key {key!r}" + (f"; near it is {near[0]!r}" if near else ""))
    return given


def _value(file: Path, key: str, value: Any) -> Any:
    default, where = _DEFAULTS[key], f"{file}: [lta] {key}"
    if isinstance(default, int):
        least = 1 if key in _FROM_ONE else 0
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise Refused(f"{where} must be a whole number from {least} on, not {value!r}")
    elif isinstance(default, str):
        if not isinstance(value, str):
            raise Refused(f"{where} must be a text, not {value!r}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise Refused(f"{where} must be one of {', '.join(_CHOICES[key])}, not {value!r}")
    elif isinstance(default, tuple):
        return tuple(_words(where, value))
    elif not isinstance(value, dict):
        raise Refused(f"{where} must be a table of commands, each a list of words, not {value!r}")
    else:
        return {name: _words(f"{where}.{name}", words) for name, words in value.items()}
    return value


def _words(where: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise Refused(f"{where} must be a list of texts, not {value!r}")
    return value


def _rotation(table: dict[str, Any]) -> Rotation:
    given = table.get("log")
    found = (
        {key: given[key] for key in ("rotate_hours", "keep") if isinstance(given.get(key), int)}
        if isinstance(given, dict)
        else {}
    )
    return Rotation(**{key: max(1, value) for key, value in found.items()})


def _filled(home: Path, table: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The places that are not configured: those of the demo, and the server and token of this HOME."""
    below = home / "demo/lta/remote"
    places = {"remote_buffer": "buffer", "remote_export": "export", "tape_root": "tape"}
    for key, name in places.items():
        values[key] = values.get(key) or str(below / name)
        if key != "tape_root" or values.get("tape", "directory") == "directory":
            values[key] = str((home / values[key]).absolute())
    values["export"] = (values.get("export") or file_url(values["remote_export"])).rstrip("/")
    if not values.get("url"):
        base = table.get("port_base")
        values["url"] = f"http://127.0.0.1:{(base if isinstance(base, int) else 18800) + PORT}"
        values["own_server"] = True
    own = home / "secrets" / f"lta-{values.get('destination', 'nersc')}.token"
    token = values.get("token_file") or (own if own.exists() else "secrets/lta-worker.token")
    values["token_file"] = str((home / token).absolute())
    if values.get("ca_file"):
        values["ca_file"] = str((home / values["ca_file"]).absolute())
    return values
