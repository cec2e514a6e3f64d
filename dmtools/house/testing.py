"""dm-test's story: the linters, then pytest; what was left out is said first and last."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from dmtools import __version__
from dmtools.house import components, setting_up
from dmtools.house.leftovers import end_all
from dmtools.house.steps import environment
from dmtools.house.trouble import FAILED, WRONG_USE

ROOT = setting_up.ROOT
VENV = ROOT / ".venv/bin"
RUN_MARK = "DM_TEST_RUN"
MOST_UNSTEADY = 3  # more failures than these are no chance
SLOWEST = 10
_HELP = """\
Runs ruff, mypy, import-linter and the tests. A component of the machine that is missing is a failure; --without leaves it
and its tests out, and says so. Paths and options that are not listed here go to pytest: bin/dm-test tests/ledger -k lease -x
"""
_EXAMPLE = """\
example:  bin/dm-test
          bin/dm-test --quick
          bin/dm-test --without mariadb,xrootd
cron:     not for cron
"""


@dataclass(frozen=True)
class Check:
    """One program that looks at the source: its name and how it is run."""

    name: str
    argv: tuple[str, ...]


CHECKS = (
    Check("ruff check", ("ruff", "check", "--no-cache", "--quiet", ".")),
    Check("ruff format", ("ruff", "format", "--no-cache", "--quiet", "--check", ".")),
    Check("mypy", ("mypy", "--no-error-summary")),
    Check("import-linter", ("lint-imports", "--no-cache")),
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; gives the exit code."""
    options, rest = parser().parse_known_args(argv)
    try:
        without = components.parse_names(options.without)
    except components.UnknownComponent as problem:
        print(f"dm-test: {problem}", file=sys.stderr)
        return WRONG_USE
    said = _left_out(options, without, rest)
    out = sys.stderr if options.json else sys.stdout
    print(f"dm-test: {said}", file=out, flush=True)
    command = _pytest(options, without, rest)
    if options.dry_run:
        print("\n".join([*(" ".join(one.argv) for one in CHECKS if not options.no_lint), " ".join(command)]), file=out)
        return 0
    if code := setting_up.main(_set_up(options, without)):
        return code
    os.chdir(ROOT)
    begun = time.monotonic()
    results = {} if options.no_lint else {one.name: _look(one, out) for one in CHECKS}
    mark = str(uuid.uuid4())
    # The tests start commands by the hundred and forbid them to write bytecode: it is there before.
    subprocess.run([str(VENV / "python"), "-m", "compileall", "-q", "dmtools"], stdin=subprocess.DEVNULL, stdout=out, check=False)
    report = _tests(command, mark, out)
    unsteady = report.failed if options.second_look and report.may_be_chance and _pass_alone(report.failed, mark, out) else []
    results["pytest"] = report.code == 0 or bool(unsteady)
    results |= _swept(mark, out)
    failed = [name for name, good in results.items() if not good]
    verdict = f"FAILED: {', '.join(failed)}" if failed else "all good"
    verdict += f"; UNSTEADY: {', '.join(unsteady)}, failed with others and passed alone" if unsteady else ""
    print(f"dm-test: {verdict}, {time.monotonic() - begun:.0f} s; {said}", file=out, flush=True)
    if options.json:
        told = {"failed": failed, "unsteady": unsteady, "without": without, "quick": options.quick}
        print(json.dumps({"schema": 1, "good": not failed, **told}))
    return FAILED if failed else 0


def parser() -> argparse.ArgumentParser:
    """The options; what is not among them goes to pytest."""
    found = argparse.ArgumentParser(
        prog="dm-test",
        description=_HELP,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = found.add_argument
    names = ", ".join(one.name for one in components.COMPONENTS if one.group != "build")
    add("--without", metavar="NAME,...", default="", help=f"leave out components of the machine and their tests: {names}")
    add(
        "--quick",
        action="store_true",
        help="unit tests only: no journeys, faults, peers, slow tests, nothing that needs a component",
    )
    add(
        "--second-look",
        action="store_true",
        help=f"up to {MOST_UNSTEADY} failed tests are run once more, alone; if all pass then, they are unsteady, not failed",
    )
    add("--no-lint", action="store_true", help="the tests alone")
    add("--dry-run", action="store_true", help="print what would be run")
    add("--json", action="store_true", help="one JSON object on stdout, the rest on stderr")
    add("--config", metavar="FILE", help="taken as by every command; not used here")
    add("--home", metavar="DIR", help="taken as by every command; not used here")
    add("--version", action="version", version=f"dm-test {__version__}")
    return found


def _left_out(options: argparse.Namespace, without: Sequence[str], rest: Sequence[str]) -> str:
    parts = []
    if without:
        parts.append(f"left out by --without: {', '.join(without)}")
    if options.quick:
        parts.append("left out by --quick: journeys, faults, peers, slow tests and all that needs a component")
    if options.no_lint:
        parts.append("left out by --no-lint: ruff, mypy, import-linter")
    if rest:
        parts.append(f"pytest was given: {' '.join(rest)}")
    return "; ".join(parts) or "nothing left out"


def _set_up(options: argparse.Namespace, without: Sequence[str]) -> list[str]:
    not_needed = [one.name for one in components.COMPONENTS if one.group == "tests"] if options.quick else without
    return ["--tests", "--brief", "--without", ",".join(not_needed)]


def _pytest(options: argparse.Namespace, without: Sequence[str], rest: Sequence[str]) -> list[str]:
    command = [str(VENV / "python"), "-m", "pytest"]
    if not any(word.startswith("-n") for word in rest):
        command += ["-n", str((os.cpu_count() or 1) + 1), "--dist", "worksteal"]  # one more: they often wait for a server
    command += ["--without", ",".join(without)] if without else []
    command += ["--quick"] if options.quick else []
    return [*command, *rest]


@dataclass(frozen=True)
class Report:
    """What tests/conftest.py tells of a run: the failed tests, whether all others ran, the seconds of each file's tests."""

    failed: list[str] = field(default_factory=list)
    whole: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    code: int = 0

    @property
    def may_be_chance(self) -> bool:
        """Whether a second look can clear the run: few failed, and nothing was left out after them."""
        return self.code == FAILED and self.whole and 0 < len(self.failed) <= MOST_UNSTEADY


def _tests(command: Sequence[str], mark: str, out: TextIO) -> Report:
    """Runs pytest and prints which files took longest."""
    with tempfile.TemporaryDirectory(prefix="dm-test-") as place:
        told = Path(place, "report.json")
        argv = [*command, "--report", str(told)]
        env = environment({RUN_MARK: mark})
        code = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, env=env, check=False).returncode
        report = Report(**json.loads(told.read_bytes())) if told.exists() else Report()
    slowest = sorted(report.seconds.items(), key=lambda one: -one[1])[:SLOWEST]
    if len(slowest) > 1:
        print("dm-test: the files whose tests took longest, in seconds:", file=out)
        print("\n".join(f"{seconds:9.1f}  {name}" for name, seconds in slowest), file=out, flush=True)
    return replace(report, code=code)


def _pass_alone(failed: Sequence[str], mark: str, out: TextIO) -> bool:
    """Whether all these tests pass when they are run once more, one after the other and nothing beside."""
    print(f"dm-test: failed with others, now run once more, alone: {', '.join(failed)}", file=out, flush=True)
    return _tests([str(VENV / "python"), "-m", "pytest", "-n", "0", *failed], mark, out).code == 0


def _look(check: Check, out: TextIO) -> bool:
    program = VENV / check.argv[0]
    begun = time.monotonic()
    done = subprocess.run(
        [program, *check.argv[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    good = done.returncode == 0
    if not good:
        print(done.stdout.rstrip(), file=out)
    print(f"dm-test: {check.name}: {'good' if good else 'FAILED'}, {time.monotonic() - begun:.1f} s", file=out, flush=True)
    return good


def _swept(mark: str, out: TextIO) -> dict[str, bool]:
    left = end_all(RUN_MARK, mark)
    for line in left:
        print(f"dm-test: a test left this running (ended now): {line}", file=out)
    return {"processes left running": False} if left else {}


if __name__ == "__main__":
    sys.exit(main())
