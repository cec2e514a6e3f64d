"""A crontab as cron reads it: variables, and lines of five times and a command."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_VARIABLE = re.compile(r"""\s*(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(.*?))\s*$""")
_LINE = re.compile(r"\s*((?:\S+\s+){4}\S+|@\w+)\s+(.*\S)\s*$")


class NoCrontab(ValueError):
    """A line that cron would refuse; the text names it."""


@dataclass(frozen=True)
class Line:
    """When, what, and what cron gives the command as its input."""

    when: str
    command: str
    stdin: str = ""

    @property
    def label(self) -> str:
        """The command of dmtools in it, for people."""
        found = re.search(r"\b(?:migrate|daq|lta|dqm|datalogger|dm)-[a-z-]+(?=\s|$)", self.command)
        return found[0] if found else self.command


@dataclass
class Crontab:
    """The variables and lines of one file."""

    variables: dict[str, str] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)


def read(path: Path) -> Crontab:
    """Parses the file. Raises NoCrontab."""
    found = Crontab()
    for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        if variable := _VARIABLE.fullmatch(text):
            found.variables[variable[1]] = next((v for v in variable.groups()[1:] if v is not None), "")
        elif line := _LINE.fullmatch(text):
            found.lines.append(_line(line[1], line[2]))
        else:
            raise NoCrontab(f"{path}, line {number}: neither NAME=value nor five times and a command: {text}")
    return found


def _line(when: str, text: str) -> Line:
    r"""A bare % ends the command; what follows is its input, a % more is a newline there; \% is a %."""
    command, *rest = re.split(r"(?<!\\)%", text)
    return Line(when, command.replace("\\%", "%"), "\n".join(rest).replace("\\%", "%"))
