"""A tiny pipeline, registered as a third party would register one, and its one command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import Result, run

REGISTER = """
from dmtools.control.entry import Component, Match, Pipeline, Trace
from dmtools.ledger.journal import State, States

STATES = States("tiny", "thing", (State("Raw", "new", "tiny-work", ("Ready",)), State("Ready", "done", "tiny-work")))


def oldest(connection, states):
    return {}


def trace(question):
    if question.text == "pebble":
        yield Trace("pebble", "tiny", "thing", "Raw", "it lies there")


def search(question):
    return [Match("pebble", "thing", "Raw")] if question.text in "pebble" else []


PIPELINE = Pipeline("tiny", "a test", STATES, ("Raw",), ("Ready",), (), (Component("work", "works"), Component("rest", "rests")),
                    oldest, "tiny.register:trace", "tiny.register:search")
"""

COMMAND = '''#!/usr/bin/env python3
"""Does what it is told, to see what the frame makes of it."""

import errno
import os
import sys
import time
from pathlib import Path

import click

from dmtools.command import Refused, Unavailable
from dmtools.control import passes


@passes.one("tiny", "work", example="tiny-work", cron="*/5 * * * * tiny-work")
@click.option("--units", default=1)
@click.option("--fail", default="")
@click.option("--wait", default=None, type=click.Path(path_type=Path))
def main(this, units, fail, wait):
    """Works."""
    this.plan(f"work on {units} units")
    if this.dry_run:
        return
    for number in range(units):
        if not this.goes():
            return
        this.leases.claim([f"tiny/{number}"])
        if wait:
            (wait / f"begun-{number}").touch()
            while not (wait / f"go-{number}").exists():
                time.sleep(0.01)
        this.moved("Raw", "Ready")
        this.leases.release([f"tiny/{number}"])
    if fail == "item":
        this.problem("a bad thing", "thing 1", why="it broke", left="it lies there", next="mend it")
    elif fail == "told":
        this.problem("a server away", "s1", why="no answer", left="all", next="wait", failed=False)
    elif fail == "unavailable":
        raise Unavailable("no server", "all", "none answers", "start one")
    elif fail == "refused":
        raise Refused("this makes no sense")
    elif fail == "bug":
        raise ZeroDivisionError("secret bug")
    elif fail.startswith("E"):
        number = getattr(errno, fail)
        raise OSError(number, os.strerror(number), "/some/place")


main()
'''


@pytest.fixture
def tiny(home: Path, short_tmp: Path) -> Callable[..., Result]:
    """`tiny("--units", 3)` runs tiny-work; `tiny(..., name="dm-command")` another command that knows the pipeline tiny."""
    package = short_tmp / "lib" / "tiny"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "register.py").write_text(REGISTER)
    command = short_tmp / "tiny-work"
    command.write_text(COMMAND)
    with (home / "dmtools.toml").open("a") as file:
        file.write('\n[pipelines]\ntiny = "tiny.register"\n')

    def run_it(*args: object, name: str = "", **options: Any) -> Result:
        env = {"PYTHONPATH": str(short_tmp / "lib"), **options.pop("env", {})}
        return run(name or str(command), *args, home=home, env=env, **options)

    return run_it
