"""Puts keys of [dqm] into the settings file: proved whole before it replaces the old one; two at once: one after the other."""

from __future__ import annotations

import fcntl
import os
import tomllib
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec

from dmtools import durable, settings
from dmtools.command.run import Refused
from dmtools.control.template import toml
from dmtools.settings import Settings
from dmtools.settings.checks import near
from dmtools.settings.dqm import Dqm
from dmtools.settings.rewriting import NoPlace, put


def wanted(words: tuple[str, ...], now: Dqm) -> dict[str, Any]:
    """`KEY=VALUE` of the command line -> values of [dqm]. Raises Refused with the near key."""
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip().removeprefix("dqm.")
        if not equals:
            raise Refused(f"{word!r} is no KEY=VALUE")
        name, dot, site = key.partition(".")
        if name not in Dqm.__struct_fields__:
            raise Refused(f"[dqm] has no key {name!r}{near(name, Dqm.__struct_fields__)}; dqm-cfg shows them all")
        if dot and name != "sites":
            raise Refused(f"{name} has no parts; write --set {name}=VALUE")
        if dot:
            values["sites"] = _with_site(values.get("sites", msgspec.to_builtins(now.sites)), site, text.strip())
        else:
            values[name] = _value(name, text.strip())
    return values


def _with_site(sites: list[dict[str, str]] | tuple[dict[str, str], ...], name: str, url: str) -> list[dict[str, str]]:
    """An empty URL takes the site out."""
    kept = [site for site in sites if url or site["name"] != name]
    if url and not any(site["name"] == name for site in kept):
        kept.append({"name": name, "url": url})
    return [{**site, "url": url} if site["name"] == name else site for site in kept]


def _value(key: str, text: str) -> Any:
    """As TOML; what is none is a text, a list with commas, or true and false in any case."""
    kind = typing.get_type_hints(Dqm)[key]
    if kind is str and not text.startswith(('"', "'")):
        return text
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (tomllib.TOMLDecodeError, RecursionError):
        if kind is bool and text.lower() in ("true", "false", "yes", "no"):
            return text.lower() in ("true", "yes")
        if kind == tuple[str, ...]:
            return [part.strip() for part in text.split(",") if part.strip()]
        return text


def write(now: Settings, values: Mapping[str, Any], *, dry_run: bool) -> list[str]:
    """Sets the keys; gives a line `KEY = VALUE` each. Raises Refused, SettingsError: then nothing was changed."""
    assert now.file is not None
    path = Path(os.path.realpath(now.file))
    lines = [f"dqm.{key} = {_written(key, value)}" for key, value in values.items()]
    with nullcontext() if dry_run else _alone(now.home):
        before = path.read_bytes()
        mark = "\ufeff" if before.startswith(b"\xef\xbb\xbf") else ""
        text = before.decode("utf-8-sig")
        try:
            for key, value in values.items():
                text = put(text, "dqm", key, _written(key, value))
        except NoPlace as problem:
            raise Refused(f"{path}: {problem}") from None
        settings.parse(text, home=now.home, file=now.file)
        if not dry_run and (mark + text).encode() != before:
            durable.write_file(path, (mark + text).encode(), path.stat().st_mode & 0o777)
    return lines


def _written(key: str, value: Any) -> str:
    """Sites without what is empty; numbers with a fraction where the key has one."""
    if key == "sites" and isinstance(value, list | tuple):
        return toml([{name: text for name, text in site.items() if text} if isinstance(site, dict) else site for site in value])
    if isinstance(getattr(Dqm(), key), float) and isinstance(value, int) and not isinstance(value, bool):
        return toml(float(value))
    return toml(value)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Of two that write at once, the later one begins when the first has ended."""
    with (home / "run/dqm-cfg.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
