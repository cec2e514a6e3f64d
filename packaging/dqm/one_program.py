"""dmtools-dqm: the commands of dqm in one executable, made by PyInstaller (`deploy.sh build`). WORDS is the table of them.

It is called as `dmtools-dqm WORD ...`, or by a link that has the name of a command: `dqm-robber ...`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import unpacked

from dmtools import __version__

PROGRAM = "dmtools-dqm"
# word -> the command of bin/, and the options that stand before those of the caller
WORDS: dict[str, tuple[str, ...]] = {
    "robber": ("dqm-robber",),
    "robber_oldruns": ("dqm-robber", "--old-runs"),
    "parser": ("dqm-parser",),
    "server": ("dqm-server",),
    "cfg": ("dqm-cfg",),
    "config": ("dm-config",),
    "command": ("dm-command",),
    "monitoring": ("dm-monitoring",),
    "train-ok": ("dm-train-ok",),
    "db": ("dm-db",),
}
# instance of dmtools-dqm@.service -> what it runs
SERVICES: dict[str, tuple[str, ...]] = {
    "robber": ("robber", "--loop"),
    "robber_oldruns": ("robber_oldruns", "--loop"),
    "parser": ("parser", "--loop"),
    "server": ("server",),
}
USAGE = 2
HELP = f"""\
Usage: {PROGRAM} WORD [OPTIONS] [ARGUMENTS]

The mirror of the DQM^2 page: all its commands in one program. `{PROGRAM} WORD --help` tells the rest.

  robber           dqm-robber: grabs the page from a browser
  robber_oldruns   dqm-robber --old-runs: the same, the pages of old runs
  parser           dqm-parser: makes the public pages, clean of what is private
  server           dqm-server: shows them
  cfg              dqm-cfg: writes and checks the settings
  config, command, monitoring, train-ok, db
                   dm-config, dm-command, dm-monitoring, dm-train-ok, dm-db
  service NAME     what systemd's {PROGRAM}@NAME runs: {", ".join(SERVICES)}

Example:
  {PROGRAM} config init ~/dqm && {PROGRAM} robber --home ~/dqm --loop
Cron:
  * * * * * flock -n -E 0 HOME/run/dqm-robber.lock {PROGRAM} robber --home HOME --loop
"""


def main(argv: list[str]) -> int:
    """Finds the command and becomes it; gives the exit code of what it can't."""
    unpacked.settle()
    called = Path(argv[0]).name
    if called in modules():
        return run((called,), argv[1:], called)
    word, rest = (argv[1], argv[2:]) if argv[1:] else ("--help", [])
    if word in ("-m", "-c") and unpacked.inside():  # the program is its own Python for the processes that it starts
        return as_python(word, rest)
    if word in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if word == "--version":
        print(f"dmtools, version {__version__}")
        return 0
    if word == "service":
        return service(rest)
    if word not in WORDS:
        return refuse(f"there is no {word!r}", WORDS)
    return run(WORDS[word], rest, f"{PROGRAM} {word}")


def modules() -> dict[str, str]:
    """Each command of bin/ that is inside -> the module that it is packed as."""
    return {words[0]: words[0].replace("-", "_") for words in WORDS.values()}


def service(rest: list[str]) -> int:
    """What systemd starts: first the tables, then the command. A name that is none ends with 2, and the unit stays down."""
    name, more = "".join(rest[:1]), rest[1:]
    if name not in SERVICES:
        return refuse(f"there is no service {name!r}", SERVICES)
    if not (home := os.environ.get("DMTOOLS_HOME")):
        return refuse("a service needs $DMTOOLS_HOME, the directory with dmtools.toml", SERVICES)
    if not Path(home, "dmtools.toml").is_file():  # what is mirrored is said by a person: no settings are made up here
        return refuse(f"there is no settings file {home}/dmtools.toml: put it there, as the package brought it", SERVICES)
    word, *options = SERVICES[name]
    if name != "server" and (code := in_a_child(lambda: run(WORDS["db"], ["upgrade", "--quiet"], f"{PROGRAM} db"))):
        return code
    return run(WORDS[word], [*options, *more], f"{PROGRAM} {word}")


def in_a_child(work: Callable[[], int]) -> int:
    """A command beside this one: it ends its process. Gives its exit code; 128 and the signal's number if one ended it."""
    child = os.fork()
    if not child:
        os._exit(work())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def refuse(what: str, known: dict[str, tuple[str, ...]]) -> int:
    """A sentence, and the exit code of wrong use."""
    print(f"{PROGRAM}: {what}; nothing was done; there are: {', '.join(known)}", file=sys.stderr)
    return USAGE


def run(words: tuple[str, ...], rest: list[str], shown: str) -> int:
    """The command itself, which ends the process; it finds its options where it always does."""
    sys.argv = [shown, *words[1:], *rest]
    module = importlib.import_module(modules()[words[0]])
    return int(module.main(prog_name=shown) or 0)


def as_python(word: str, rest: list[str]) -> int:
    """`-m dmtools.x.y ARGUMENTS`, of dmtools alone."""
    import runpy

    if word != "-m" or not rest or not rest[0].startswith("dmtools."):
        return refuse(f"there is no {word!r}", WORDS)
    sys.argv = list(rest)
    runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    code = main(sys.argv)
    sys.stdout.flush()
    os._exit(code) if unpacked.inside() else sys.exit(code)
