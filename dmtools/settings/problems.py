"""Says what is wrong in a settings file: every key at once, by line, with the near name that exists."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
from msgspec import Struct

from dmtools.settings.checks import Found, near
from dmtools.settings.kinds import SECTIONS, TOP
from dmtools.settings.lines import Place, find, positions


def diagnose(table: dict[str, Any]) -> Found:
    """Unknown keys and values of a wrong type, however deep."""
    found: Found = []
    for name, value in table.items():
        if name in TOP:
            found += _value((name,), TOP[name], value)
        elif name not in SECTIONS:
            found.append(((name,), _unknown((), name, {**TOP, **SECTIONS}) + _home_of(name)))
        elif isinstance(value, dict):
            found += _fields((name,), SECTIONS[name], value)
        else:
            found.append(((name,), f"is a section: write it as [{name}]"))
    return found


def sentences(text: str, found: Found) -> list[str]:
    """`line 12: fts.servers entry 2: url: ...`, in the order of the file."""
    lines = positions(text)
    placed = sorted((find(lines, place), shown(place), what) for place, what in found)
    return [f"line {line}: {name}: {what}" if line else f"{name}: {what}" for line, name, what in placed]


def shown(place: Place) -> str:
    """A place for people: `fts.servers entry 2: url`."""
    words = ""
    for part in place:
        words += f" entry {part + 1}:" if isinstance(part, int) else f" {part}" if words.endswith(":") else f".{part}"
    return words.lstrip(".").rstrip(":")


def syntax(text: str, said: str) -> str:
    """The words of tomllib for a text that is no TOML, as a sentence with the line in front."""
    what, _, where = said.partition(" (at line ")
    line, _, column = where.rstrip(")").partition(", column ")
    if not line:
        return f"line {len(text.splitlines())}: no valid TOML: {said}"
    return f"line {line}: no valid TOML: {what} (column {column})" + _twice(what)


def _twice(what: str) -> str:
    return "; `[fts]` and `fts.key = ...` can't be mixed for one section" if "declare" in what or "overwrite" in what else ""


def _fields(place: Place, kind: type[Struct], table: dict[str, Any]) -> Found:
    hints = typing.get_type_hints(kind, include_extras=True)
    found: Found = []
    for key, value in table.items():
        if key in hints:
            found += _value((*place, key), hints[key], value)
        else:
            found.append(((*place, key), _unknown(place, key, hints)))
    lacking = [f.name for f in msgspec.structs.fields(kind) if f.required and f.name not in table]
    if lacking:
        found.append((place, f"lacks {', '.join(lacking)}"))
    return found


def _value(place: Place, hint: Any, value: Any) -> Found:
    if (part := part_struct(hint)) is not None and isinstance(value, dict):
        return _fields(place, part, value)
    inner = item_struct(hint)
    if inner is not None and isinstance(value, list):
        found: Found = []
        for number, item in enumerate(value):
            if isinstance(item, dict):
                found += _fields((*place, number), inner, item)
            else:
                found.append(((*place, number), f"must be a table like {{{', '.join(inner.__struct_fields__[:3])}}}"))
        return found
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError as problem:
        return [(place, f"{_plain(str(problem))}, but it is {value!r}")]
    return []


def item_struct(hint: Any) -> type[Struct] | None:
    """The Struct in `tuple[Struct, ...]`; None for every other type."""
    first = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None
    return first if isinstance(first, type) and issubclass(first, Struct) else None


def part_struct(hint: Any) -> type[Struct] | None:
    """A hint that is itself a Struct, a section within a section; None for every other type."""
    return hint if isinstance(hint, type) and issubclass(hint, Struct) else None


_WORDS = {
    "`int`": "a whole number",
    "`float`": "a number",
    "`str`": "a text in quotes",
    "`bool`": "true or false",
    "`array`": "a list in [ ]",
    "`object`": "a table",
    "`null`": "nothing",
}


def _plain(said: str) -> str:
    """The words of msgspec for people: `must be a whole number >= 1`."""
    text = said.partition(" - at ")[0].partition(", got ")[0]
    for word, plain in _WORDS.items():
        text = text.replace(word, plain)
    return text.replace("Expected ", "must be ").replace(" matching regex ", " of the form ")


def _unknown(place: Place, key: str, known: dict[str, Any]) -> str:
    return f"unknown key{near(key, known) or '; known here: ' + ', '.join(sorted(known))}"


def _home_of(key: str) -> str:
    """Where a key belongs that stands outside of its section."""
    homes = [name for name, kind in SECTIONS.items() if key in kind.__struct_fields__]
    return f"; it belongs below [{homes[0]}], or as {homes[0]}.{key}" if homes else ""
