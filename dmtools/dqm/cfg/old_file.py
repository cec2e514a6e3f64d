"""Reads a dqmsquare_mirror.cfg, an INI file with the section OPTIONS. What the original passed over is refused or told."""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from pathlib import Path

from dmtools.command.report import one_line
from dmtools.command.run import Refused

SECTION = "OPTIONS"
SILENT = "the original ran on its defaults then, and said nothing"


@dataclass(frozen=True)
class Option:
    """One key, in capitals, and its text; `note` says what the original would have made of it, where that is another thing."""

    key: str
    text: str
    note: str = ""


def read(path: Path) -> list[Option]:
    """The options of the file, in its order. Raises Refused: no such file, no INI file, no [OPTIONS]."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        raise Refused(f"{path} can't be read: {problem.strerror}; {SILENT}. Name the old file") from None
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise Refused(f"{path}, line {line}: a byte that is not UTF-8; save the file as UTF-8") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> list[Option]:
    """The same, of a text; `name` is for messages."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error as problem:
        why = one_line(problem.message.replace("\n", " "))
        raise Refused(f"{name} is no INI file: {why}; {SILENT}. Mend that line, or take it out") from None
    if not parser.has_section(SECTION):
        there = ", ".join(f"[{one}]" for one in parser.sections()) or "none"
        raise Refused(
            f"{name} has no section [{SECTION}] (sections: {one_line(there)}); {SILENT}. Write [{SECTION}] above its keys"
        )
    return [_option(parser, key, value) for key, value in parser.items(SECTION)]


def _option(parser: configparser.RawConfigParser, key: str, value: str) -> Option:
    """With `%%` and `%(KEY)s` as the original read them; a lone `%`, with which it could read nothing, as it stands."""
    if "%" not in value:
        return Option(key.upper(), value)
    known = dict(parser.items(SECTION))
    try:
        meant = configparser.BasicInterpolation().before_get(parser, SECTION, key, value, known)
    except configparser.InterpolationError:
        return Option(key.upper(), value, f"its % is taken as it stands; {SILENT}")
    return Option(key.upper(), meant, "" if meant == value else "its % is read as the original did")
