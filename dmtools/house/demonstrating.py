"""dm-demo's first part, with the standard library alone: its options, then `.venv`, then the demo itself in `.venv`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from dmtools import __version__
from dmtools.house import setting_up

ACTS = ("migrate", "daq", "lta", "dqm", "datalogger")
PYTHON = setting_up.ROOT / ".venv/bin/python"
_HELP = """\
Shows a whole migration in a directory of its own: thousands of real files, two FTS servers that make real copies, the lines of
cron/migrate.crontab round after round, with copies that fail and commands and servers killed in the middle. Then it compares
both trees and the books with code of its own. Then a DAQ's disks go to site and tape, arriving disks to a remote archive and
back, a live page is mirrored, and days of an accelerator's devices are fetched from a logger that errs. Exit code 0: all is
accounted for.
"""
_EXAMPLE = """\
example:  bin/dm-demo
          bin/dm-demo --files 500 --big 10
          bin/dm-demo --keep
          bin/dm-demo --acts dqm
cron:     not for cron
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command up to where `.venv` is ready; gives the exit code only if it comes to nothing."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    options = parser().parse_args(arguments)
    if options.dry_run:
        place = options.home or "a new directory in the folder for temporary files"
        print(f"would set up .venv where it is not ready, make a HOME in {place},")
        print(f"{options.files} small files and one of {options.big} MiB, show {', '.join(options.acts)} and {_end(options)}")
        return 0
    if code := setting_up.main(["--brief"]):
        return code
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    os.execve(PYTHON, [str(PYTHON), "-m", "dmtools.demo", *arguments], kept)


def _end(options: argparse.Namespace) -> str:
    return "leave all there" if options.keep else "take all away again"


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(
        prog="dm-demo", description=_HELP, epilog=_EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = found.add_argument
    add("--files", type=_count, default=3000, metavar="N", help="how many small files (default 3000)")
    add("--big", type=_count, default=1024, metavar="MIB", help="size of the big file in MiB (default 1024)")
    add("--home", metavar="DIR", help="make the HOME here; it must not be there yet (default: a temporary one)")
    add(
        "--acts",
        type=_acts,
        default=ACTS,
        metavar="NAME,...",
        help=f"only these, in this order: {', '.join(ACTS)} (default: all)",
    )
    add("--keep", action="store_true", help="leave HOME and servers to look at; it says how to look and how to end it")
    add("--dry-run", action="store_true", help="print what would be done")
    add("--json", action="store_true", help="one JSON object on stdout, the rest on stderr")
    add("-v", "--verbose", action="store_true", help="show what cron would have mailed")
    add("-q", "--quiet", action="store_true", help="say only what went wrong")
    add("--config", metavar="FILE", help=argparse.SUPPRESS)  # every command takes it; here it means nothing
    add("--version", action="version", version=f"dm-demo {__version__}")
    return found


def _acts(text: str) -> tuple[str, ...]:
    names = {name.strip() for name in text.split(",")}
    if wrong := sorted(names - set(ACTS)):
        raise argparse.ArgumentTypeError(f"there is no act {wrong[0]!r}; there are: {', '.join(ACTS)}")
    return tuple(name for name in ACTS if name in names)


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
