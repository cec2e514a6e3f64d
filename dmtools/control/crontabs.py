"""The lines of a pipeline's components as one marked block of a crontab; the text around the block is never touched.

Each line brings its own PATH and HOME: a variable of a crontab holds for all lines after it, and those are not ours.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from dmtools import clock
from dmtools.command.run import Refused
from dmtools.control.cadence import DAY, longest_gap
from dmtools.control.entry import Component, Pipeline
from dmtools.settings import Settings

FIT = ("1m", "2m", "3m", "4m", "5m", "6m", "10m", "12m", "15m", "20m", "30m", "1h", "2h", "3h", "4h", "6h", "8h", "12h", "24h")
USUAL = "/usr/local/bin:/usr/bin:/bin"
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_MARK = re.compile(r"# (BEGIN|END) dmtools ([a-z0-9-]+)(?: every (\w+))? of (.*?)\r?\n?")
NOTE = "# dm-crontab keeps these lines: what is changed between the marks is lost at its next install."


class Damaged(Exception):
    """Our marks in the crontab don't come in pairs; the text says which line, and what to do."""


@dataclass(frozen=True)
class Block:
    """What stands between the marks of one pipeline of one HOME: lines `first` to `last` (from 0, both included)."""

    pipeline: str
    every: str | None
    first: int
    last: int
    text: str


def split(text: str) -> list[str]:
    """The lines with their ends, so that joined they are the text again; only a line feed ends a line for cron."""
    return _LINE.findall(text)


def blocks(text: str, home: Path) -> list[Block]:
    """The blocks of this HOME, in order. Raises Damaged."""
    lines = split(text)
    found: list[Block] = []
    begun: tuple[int, re.Match[str]] | None = None
    for number, line in enumerate(lines):
        mark = _MARK.fullmatch(line)
        if not mark or mark[4] != str(home):
            continue
        if mark[1] == "BEGIN" and begun is None:
            begun = (number, mark)
        elif mark[1] == "END" and begun is not None and mark[2] == begun[1][2]:
            first = begun[0]
            found.append(Block(mark[2], begun[1][3], first, number, "".join(lines[first : number + 1])))
            begun = None
        else:
            raise _damaged(number, mark)
    if begun is not None:
        raise _damaged(*begun)
    return found


def _damaged(number: int, mark: re.Match[str]) -> Damaged:
    other = "END" if mark[1] == "BEGIN" else "BEGIN"
    text = f"its line {number + 1} ({mark[1]} dmtools {mark[2]}) has no {other} mark: what is ours can't be told"
    return Damaged(f"{text}; put the mark back, or take the lines of {mark[2]} out, with: crontab -e")


def put(text: str, home: Path, pipeline: str, block: str) -> str:
    """The text with this block of the pipeline: where its block stood, else at the end; an empty block takes it out."""
    found = [one for one in blocks(text, home) if one.pipeline == pipeline]
    lines = split(text)
    for number, one in reversed(list(enumerate(found))):
        lines[one.first : one.last + 1] = [block] if block and number == 0 else []
    if block and not found:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"  # cron refuses a last line without an end
        lines.append(block)
    return "".join(lines)


def strays(text: str, home: Path, commands: set[str]) -> list[tuple[int, str]]:
    """(line number from 1, command) of the lines outside every block of this HOME that run one of the commands."""
    inside = {n for block in blocks(text, home) for n in range(block.first, block.last + 1)}
    found, other = [], False
    for number, line in enumerate(split(text)):
        if mark := _MARK.fullmatch(line):
            other = mark[1] == "BEGIN"  # another HOME's block is no stray either
        if number in inside or other or line.lstrip().startswith("#"):
            continue
        words = {word.rpartition("/")[2] for word in re.split(r"[\s;&|<>()\"'`]+", line)}
        found += [(number + 1, command) for command in sorted(commands & words)]
    return found


@dataclass(frozen=True)
class Place:
    """Where the commands are and what they need: the same for all lines."""

    settings: Settings
    bin: Path
    env: str
    flock: str


def here(settings: Settings) -> Place:
    """The commands beside the Python that runs, in .venv/bin. Raises Refused: no flock here, or a HOME that no line can hold."""
    if re.search(r"[\n\r\0]", str(settings.home)) or (settings.file and "\n" in str(settings.file)):
        raise Refused(f"{str(settings.home)!r} holds a line break, and a line of a crontab can't")
    tools = {name: shutil.which(name, path=f"{os.environ.get('PATH', '')}:{USUAL}") for name in ("env", "flock")}
    for name, path in tools.items():
        if path is None:
            raise Refused(f"there is no command {name} on this machine; install util-linux and coreutils")
    return Place(settings, Path(sys.executable).absolute().parent, str(tools["env"]), str(tools["flock"]))


def render(entry: Pipeline, place: Place, every: str | None = None) -> str:
    """The block of one pipeline: a line for each component that has times, `every` so often but for loops and what is nightly.

    Raises Refused.
    """
    home = place.settings.home
    mark = f" every {every}" if every else ""
    lines = [f"# BEGIN dmtools {entry.name}{mark} of {home}", NOTE]
    for component in entry.components:
        if component.cron:
            when = times(every) if every and not component.loop and not is_rare(component.cron) else component.cron
            _prove(entry.name, component.name, when)
            lines += [f"# {component.name}: {component.meaning}", f"{when} {command(entry.name, component, place)}"]
    lines.append(f"# END dmtools {entry.name} of {home}")
    return "\n".join(lines) + "\n"


def command(pipeline: str, component: Component, place: Place) -> str:
    """What cron runs: the command under its lock, in an environment of its own, `%` escaped. Raises Refused."""
    name, settings = f"{pipeline}-{component.name}", place.settings
    program = executable(component.command or name, place)
    words = [place.env, f"PATH={place.bin}:{USUAL}", f"DMTOOLS_HOME={settings.home}"]
    if settings.file and settings.file != settings.home / "dmtools.toml":
        words.append(f"DMTOOLS_CONFIG={settings.file}")
    words += [place.flock, "-n", "-E", "0", str(settings.home / "run" / f"{name}.lock"), program]
    text = " ".join([*map(shlex.quote, words), component.arguments]).rstrip()
    return text.replace("%", "\\%")


def executable(name: str, place: Place) -> str:
    """Where the command is, absolute. Raises Refused."""
    beside = place.bin / name
    if os.access(beside, os.X_OK):
        return str(beside)
    if found := shutil.which(name):
        return str(Path(found).absolute())
    raise Refused(f"there is no command {name} in {place.bin}; make it with bin/dm-setup")


def often(every: str) -> str:
    """A length of time that cron can keep, as our marks write it: `90s` is none, `0.5h` is 30m. Raises Refused."""
    try:
        minutes, over = divmod(clock.seconds(every), 60)
    except ValueError as problem:
        raise Refused(f"--every: {problem}") from None
    for text in FIT if not over else ():
        if clock.seconds(text) == minutes * 60:
            return text
    raise Refused(f"cron can't start a command every {every}; it can every: {', '.join(FIT)}")


def times(every: str) -> str:
    """`10m` -> `*/10 * * * *`; `every` is as `often` gives it."""
    number, unit = int(every[:-1]), every[-1]
    if unit == "m":
        return f"*/{number} * * * *" if number > 1 else "* * * * *"
    return {1: "0 * * * *", 24: "0 0 * * *"}.get(number, f"0 */{number} * * *")


def is_rare(cron: str) -> bool:
    """Is it meant for once a day or less? Such a component would not do more by running more often."""
    return (longest_gap(cron) or 0.0) >= 60 * DAY


def _prove(pipeline: str, component: str, when: str) -> None:
    from crontab import CronSlices

    if not CronSlices.is_valid(when):
        raise Refused(f"{pipeline} declares the times {when!r} for its component {component}, which cron would refuse")
