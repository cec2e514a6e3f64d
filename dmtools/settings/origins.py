"""What is in force and where it came from; and what `dm-config check` looks at beyond the file's own text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from dmtools.names import NameRefused, path_of
from dmtools.settings import SettingsError, addresses, read_secret, read_text
from dmtools.settings.checks import masked
from dmtools.settings.kinds import SECTIONS, Settings
from dmtools.settings.lines import Place, positions

# What the environment gives when the file says nothing.
ENVIRONMENT = {"database.url": "DMTOOLS_DATABASE_URL", "credentials.proxy": "X509_USER_PROXY"}


def in_force(settings: Settings) -> Iterator[tuple[str, Any, str]]:
    """(key, value, origin) of each setting; origin is `line N`, `default` or `environment NAME`. Passwords are masked."""
    lines = positions(read_text(settings.file)) if settings.file else {}
    yield "home", str(settings.home), _home(settings, lines)
    yield "port_base", settings.port_base, _origin(lines, ("port_base",))
    for section in SECTIONS:
        part = getattr(settings, section)
        for key in part.__struct_fields__:
            yield _one(f"{section}.{key}", plain(getattr(part, key)), _origin(lines, (section, key)), settings)
    if os.environ.get("DMTOOLS_DATABASE_PASSWORD"):
        yield "database.password", "***", "environment DMTOOLS_DATABASE_PASSWORD"
    for name, module in settings.pipelines.items():
        yield f"pipelines.{name}", module, _origin(lines, ("pipelines", name))


def as_tree(rows: Iterable[tuple[str, Any, str]]) -> dict[str, Any]:
    """The values of `in_force`, by section."""
    nested: dict[str, Any] = {}
    for key, value, _ in rows:
        section, _, name = key.rpartition(".")
        place = nested.setdefault(section, {}) if section else nested
        place[name] = value
    return nested


def _one(key: str, value: Any, origin: str, settings: Settings) -> tuple[str, Any, str]:
    variable = ENVIRONMENT.get(key, "")
    if not value and os.environ.get(variable):
        return key, plain(os.environ[variable]), f"environment {variable}"
    if key == "database.url" and not value:
        return key, f"sqlite:///{settings.home / 'dmtools.db'}", origin
    return key, value, origin


def _home(settings: Settings, lines: dict[Place, int]) -> str:
    if ("home",) in lines:
        return _origin(lines, ("home",))
    if os.environ.get("DMTOOLS_HOME") and Path(os.environ["DMTOOLS_HOME"]).absolute() == settings.home:
        return "environment DMTOOLS_HOME"
    return "the directory of the settings file" if settings.file and settings.file.parent == settings.home else "--home"


def _origin(lines: dict[Place, int], place: Place) -> str:
    return f"line {lines[place]}" if place in lines else "default"


def plain(value: Any) -> Any:
    """Structs as dicts, tuples as lists, URLs without their passwords."""
    if isinstance(value, str):
        return masked(value) if "://" in value else value
    if isinstance(value, Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def files_problems(settings: Settings) -> list[str]:
    """Secrets that can't be read, or that others may read: nothing that needs them would work."""
    found: list[str] = []
    secrets = (
        ("database.password_file", settings.database.password_file, "password file"),
        ("credentials.token_file", settings.credentials.token_file, "token file"),
        ("credentials.proxy", settings.credentials.proxy, "proxy"),
    )
    for key, text, what in secrets:
        try:
            if text:
                read_secret(settings.path(text), what)
        except SettingsError as problem:
            found += [f"{key}: {said}" for said in problem.problems]
    return found


def doubts(settings: Settings) -> Iterator[str]:
    """What works and may still not be meant."""
    if settings.file and masked(settings.database.url) != settings.database.url and settings.file.stat().st_mode & 0o077:
        yield f"database.url holds a password that others may read: use password_file, or chmod 600 {settings.file}"
    if settings.file and settings.file.stat().st_mode & 0o020:
        yield f"{settings.file} may be written by its group: chmod g-w, if that is not meant"
    for server in settings.fts.servers:
        if server.url.startswith("http://") and urlsplit(server.url).hostname not in addresses.LOOPBACK:
            yield f"fts server {server.name}: {server.url} is not encrypted, so a token would travel in clear"
    for rule in settings.migrate.rules:
        try:
            if rule.source.startswith("file:") and not path_of(rule.source).is_dir():
                yield f"migrate rule {rule.match}: the source {rule.source} is no directory on this machine"
        except NameRefused as problem:
            yield f"migrate rule {rule.match}: {problem}"
