"""When a file may leave its DAQ disk: the two levels, what each risks, and the question of `dm-config init`."""

from __future__ import annotations

import sys
from pathlib import Path

from dmtools.command import Context, Refused

TAPE, SITE = "tape-verified", "site-verified"
LEVELS = {
    TAPE: (
        "a file leaves its disk when the tape has proved its zip. Two storages have it then. "
        "The risk: while the tape is away for long, disks stay full and the DAQ may have to stop."
    ),
    SITE: (
        "a file leaves its disk when the site storage has proved its copy. Disks are free within minutes. "
        "The risk: until its zip is on tape, the site has the only copy; if it is lost there, it is lost."
    ),
}


def wanted(context: Context, home: Path, is_daq: bool, level: str | None) -> dict[str, str]:
    """The key of a new settings file: as it was named, or as a person at the terminal says; a script gets tape-verified.

    Raises Refused where a settings file is there, for that is never changed.
    """
    there = (home / "dmtools.toml").exists()
    if level is not None and there:
        raise Refused(f'{home / "dmtools.toml"} is there and never changed by init; write [daq] safety = "{level}" into it')
    if level is None and is_daq and not there:
        at_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not context.as_json and not context.quiet
        level = ask() if at_terminal else TAPE
    return {"daq.safety": level} if level else {}


def ask() -> str:
    """Asks the person at the terminal, who has read what each level risks; Enter is tape-verified."""
    import click

    click.echo("When may daq-transfer remove a file from its DAQ disk?")
    for number, (name, text) in enumerate(LEVELS.items(), 1):
        click.echo(click.wrap_text(f"{number}  {name}: {text}", 100, "  ", "     "))
    known = {str(number): name for number, name in enumerate(LEVELS, 1)} | {name: name for name in LEVELS}
    answer = click.prompt("safety", default=TAPE, type=click.Choice([*known], case_sensitive=False), show_choices=False)
    return known[answer]
