"""How dm-train-ok tells its outcome: on stdout, in files, and when the check itself fails."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from dmtools import clock
from dmtools.command.run import Context, tell
from dmtools.control import train_ok_files
from dmtools.control.entry import Figure
from dmtools.control.probes import UNKNOWN
from dmtools.control.train_ok import CODES, Outcome, judge


def failed(context: Context, why: str | Exception) -> Outcome:
    """A check that could not be made: with the sentence that any other command would tell."""
    if isinstance(why, Exception):
        tell(context, why)
        why = "; ".join(error.sentence(context.name) for error in context.report.errors)
        context.report.errors.clear()
    home = context._settings.home if context._settings else context.home_option or os.environ.get("DMTOOLS_HOME", "")
    return Outcome(str(home), clock.now(), failure=why)


def give_up(context: Context, why: str) -> NoReturn:
    """Says UNKNOWN and ends the process, whatever its main thread hangs in."""
    os.write(1, text(context, failed(context, why)).encode("utf-8", "backslashreplace"))
    os._exit(CODES[UNKNOWN])


def text(context: Context, outcome: Outcome) -> str:
    """What stands on stdout: the object, or the plugin's lines; with -q only the first."""
    if context.as_json:
        return json.dumps(outcome.record()) + "\n"
    lines = list(outcome.lines())
    return "".join(f"{line}\n" for line in (lines[:1] if context.quiet else lines))


def files(outcome: Outcome, prometheus: Path | None, checkmk: Path | None) -> None:
    """Writes the files that are wanted; one that can't be written is a failure of the check."""
    for path, form in ((prometheus, train_ok_files.prometheus), (checkmk, train_ok_files.checkmk)):
        if path is None:
            continue
        try:
            train_ok_files.write(path, form(outcome))
        except OSError as problem:
            said = f"{path} can't be written: {problem.strerror}"
            outcome.figures.append(judge(Figure("failed", {"probe": path.name}, None, said)))


def end(context: Context, outcome: Outcome) -> NoReturn:
    """Prints the outcome and ends with its code; the frame has nothing to add."""
    sys.stdout.write(text(context, outcome).encode("utf-8", "backslashreplace").decode())
    context.as_json, context.quiet = False, True
    raise SystemExit(CODES[outcome.state])


def run(command: click.Command) -> int:
    """Runs the click command; wrong use is UNKNOWN, too, and told on stdout, where nagios reads."""
    try:
        click.Command.main(command, sys.argv[1:], standalone_mode=False)
    except (click.ClickException, click.Abort) as problem:
        said = problem.format_message() if isinstance(problem, click.ClickException) else "interrupted"
        click.echo(f"TRAINOK UNKNOWN - {' '.join(said.split()).replace('|', '/')}; see {command.name} --help")
        return CODES[UNKNOWN]
    return 0
