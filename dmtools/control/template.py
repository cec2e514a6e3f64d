"""The commented dmtools.toml of a new HOME: written from the settings' own docstrings and defaults, so that it can't rot."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

from msgspec import Struct

from dmtools import settings
from dmtools.command.report import one_line
from dmtools.settings.kinds import SECTIONS
from dmtools.settings.problems import item_struct, part_struct

HEAD = """\
# Settings of dmtools for the HOME {home}
#
# Every key stands here with its default, commented out: take the # away to change one. `fts.retry = 1` and
# `retry = 1` below a line `[fts]` mean the same; use one of the two forms for a section.
# `dm-config check` proves this file; `dm-config show` prints what is in force and where it comes from.
# Passwords and tokens never stand here: they are files with mode 0600 in secrets/, or come from the environment.
"""


def render(home: Path, port_base: int, chosen: Mapping[str, object] | None = None) -> str:
    """The whole file. A port base that is not the default stands uncommented, and so do the `chosen` keys, as `daq.safety`."""
    lines = [HEAD.format(home=one_line(str(home)))]
    texts = key_texts(settings.Settings)
    default = settings.known_keys()["port_base"]
    lines += [*_comment(texts["home"]), f"# home = {toml(str(home))}", *_comment(texts["port_base"])]
    lines.append(f"port_base = {port_base}" if port_base != default else f"# port_base = {default}")
    for name, kind in SECTIONS.items():
        lines += [
            "",
            f"# --- {name} " + "-" * (110 - len(name)),
            *_comment(head_text(kind)),
            *_keys(name, kind, home, chosen or {}),
        ]
    lines += ["", *_comment(texts["pipelines"]), '# pipelines.mine = "my_package.register"']
    return "\n".join(lines) + "\n"


def _keys(section: str, kind: type[Struct], home: Path, chosen: Mapping[str, object]) -> list[str]:
    lines: list[str] = []
    texts, hints, defaults = key_texts(kind), typing.get_type_hints(kind), kind()
    for key in kind.__struct_fields__:
        lines += _comment(texts.get(key, ""))
        if (part := part_struct(hints[key])) is not None:
            lines += _keys(f"{section}.{key}", part, home, chosen)
            continue
        inner = item_struct(hints[key])
        if inner is not None:
            lines += _comment(f"Each: {head_text(inner)}")
            for field, text in key_texts(inner).items():
                lines += _comment(f"  {field}: {text}")
        value = getattr(defaults, key)
        if inner is settings.Rule and not value:
            value = settings.default_rules(home)
        name = f"{section}.{key}"
        lines.append(f"{name} = {toml(chosen[name])}" if name in chosen else f"# {name} = {toml(value)}")
    return lines


def head_text(kind: type[Struct]) -> str:
    """The first paragraph of a settings class."""
    return (kind.__doc__ or "").split("\n\n")[0].strip()


def key_texts(kind: type[Struct]) -> dict[str, str]:
    """What the docstring says of each key: its lines `key: text`."""
    found: dict[str, str] = {}
    for line in (kind.__doc__ or "").splitlines():
        key, colon, text = line.strip().partition(": ")
        if colon and key in kind.__struct_fields__:
            found[key] = text.strip()
    return found


def toml(value: Any) -> str:
    """A value as TOML; fields of a table that have their default are left out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__ if not _is_default(value, name)}
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return str(value)


def _is_default(value: Struct, name: str) -> bool:
    if name == "weight":
        return False
    names = value.__struct_fields__
    defaults = dict(zip(names[len(names) - len(value.__struct_defaults__) :], value.__struct_defaults__, strict=True))
    return name in defaults and defaults[name] == getattr(value, name)


def _comment(text: str) -> list[str]:
    indent = text[: len(text) - len(text.lstrip())]
    return [f"#     {indent}{line}" for line in wrap(" ".join(text.split()), 110)]
