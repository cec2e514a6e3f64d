"""dm-setup's story: the machine's packages, `.venv`, what is installed into it, the commands' wrappers. Repeatable."""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dmtools import __version__
from dmtools.house import components, debian, wrappers
from dmtools.house.steps import Talk
from dmtools.house.trouble import FAILED, TRY_LATER, WRONG_USE, Trouble
from dmtools.house.venv import Venv, requirements

ROOT = Path(__file__).resolve().parents[2]
LEAST_FREE = 32 << 20  # bytes
_HELP = """\
Makes .venv in the checkout, with all that the demos need; as root, Debian's packages too. A second run finds it done.
Afterwards .venv/bin/NAME runs bin/NAME of the checkout.
"""
_EXAMPLE = """\
example:  bin/dm-setup && .venv/bin/dm-demo
cron:     not for cron: it is run by hand, and by dm-demo and dm-test
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; gives the exit code."""
    options = parser().parse_args(argv)
    talk = Talk(quiet=options.quiet, verbose=options.verbose)
    begun = time.monotonic()
    try:
        without = components.parse_names(options.without)
        with _alone(ROOT):
            state = _plan(options, without) if options.dry_run else _set_up(talk, options, without)
    except components.UnknownComponent as problem:
        return _fail(talk, str(problem), WRONG_USE)
    except Trouble as problem:
        return _fail(talk, *_judged(problem))
    except OSError as problem:
        return _fail(talk, *_about(problem))
    except KeyboardInterrupt:
        return _fail(talk, "stopped; .venv is not whole yet, the next run makes it again", 130)
    seconds = time.monotonic() - begun
    if options.json:
        print(json.dumps({"schema": 1, **state, "did": talk.did, "seconds": round(seconds, 3)}))
    elif options.dry_run:
        print("\n".join(state["plan"]) or "nothing to do")
    if not options.dry_run and (talk.did or not options.brief):
        talk.say(f"ready in {seconds:.1f} s: {state['commands']} commands in .venv/bin, Python {state['python']}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(
        prog="dm-setup", description=_HELP, epilog=_EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = found.add_argument
    add("--tests", action="store_true", help="what dm-test needs, too")
    add("--without", metavar="NAME,...", default="", help=f"leave out components of the tests: {', '.join(components.NAMES)}")
    add("--again", action="store_true", help="make .venv from nothing, whatever is there")
    add("--brief", action="store_true", help="say nothing when there is nothing to do")
    add("--dry-run", action="store_true", help="print what would be done")
    add("--json", action="store_true", help="one JSON object on stdout")
    add("-v", "--verbose", action="store_true", help="show what apt-get, pip and uv say")
    add("-q", "--quiet", action="store_true", help="say only what went wrong")
    add("--config", metavar="FILE", help="taken as by every command; not used here")
    add("--home", metavar="DIR", help="taken as by every command; not used here")
    add("--version", action="version", version=f"dm-setup {__version__}")
    return found


def _groups(tests: bool) -> tuple[str, ...]:
    return ("build", "demo", "tests") if tests else ("build", "demo")


def _extras(tests: bool) -> tuple[str, ...]:
    return ("demo", "test", "lint") if tests else ("demo",)


def _plan(options: argparse.Namespace, without: Sequence[str]) -> dict[str, Any]:
    venv = Venv(ROOT)
    lacking = components.missing(_groups(options.tests), without)
    plan = [f"component {one.name}: {one.how()}" for one in lacking]
    why = "asked for" if options.again else venv.why_remake()
    stamp = venv.stamp()
    have = set(stamp.requirements) if stamp and not why else set()
    plan += [f"make .venv: {why}"] if why else []
    plan += [f"install {line}" for line in requirements(ROOT, _extras(options.tests)) if line not in have]
    return {"plan": plan}


def _set_up(talk: Talk, options: argparse.Namespace, without: Sequence[str]) -> dict[str, Any]:
    venv = Venv(ROOT)
    wanted = requirements(ROOT, _extras(options.tests))
    why = "asked for" if options.again else venv.why_remake()
    stamp = None if why else venv.stamp()
    fresh = stamp is not None and set(wanted) <= set(stamp.requirements)
    # What only building needs is not asked for once .venv is built.
    lacking = components.missing([group for group in _groups(options.tests) if group != "build" or not fresh], without)
    if lacking and debian.may_install():
        debian.install(talk, lacking)
        lacking = components.missing({one.group for one in lacking}, without)
    build = [one for one in lacking if one.group == "build"]
    if why and "venv" in [one.name for one in build] and not shutil.which("uv"):
        raise Trouble(debian.sentence(build))
    if why:
        venv.make(talk)
    if not fresh:
        venv.begin()
        _fill(talk, venv, wanted, build)
    if stamp and stamp.root != str(ROOT):
        talk.did.append(f"moved from {stamp.root}")
        venv.move_here(stamp.root)
    venv.point_home()
    touched = wrappers.sync(ROOT)
    talk.did += [f"wrapper {name}" for name in touched]
    if not fresh or (stamp and stamp.root != str(ROOT)):
        venv.finish(sorted({*wanted, *(stamp.requirements if stamp else ())}))
    left = [one for one in lacking if one.group != "build"]
    if [one for one in left if options.tests or one.group != "demo"]:
        raise Trouble(debian.sentence(left))
    if left:  # the rest of the demo is shown all the same
        print(f"dm-setup: to think about: {debian.sentence(left)}", file=sys.stderr)
    return {"venv": str(venv.place), "python": venv.version(), "commands": len(wrappers.commands(ROOT))}


def _fill(talk: Talk, venv: Venv, wanted: list[str], lacking: Sequence[components.Component]) -> None:
    # A missing compiler is no matter where M2Crypto was built before; so it is named only when that failed.
    try:
        venv.fill(talk, wanted)
    except Trouble as problem:
        if lacking and problem.code == FAILED:
            raise Trouble(debian.sentence(lacking)) from None
        raise


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Two set-ups of one checkout wait for each other."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _judged(problem: Trouble) -> tuple[str, int]:
    # Some programs (ensurepip, for one) keep to themselves why they failed.
    if not problem.settled and shutil.disk_usage(ROOT).free < LEAST_FREE:
        return _about(OSError(errno.ENOSPC, "", str(ROOT)))
    return str(problem), problem.code


def _about(problem: OSError) -> tuple[str, int]:
    place = problem.filename or ROOT
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk that holds {place} is full: make room (.venv takes about 300 MB) and start again", TRY_LATER
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place} can't be written ({problem.strerror}): run dm-setup as the owner of the checkout", FAILED
    return f"{place}: {problem.strerror or problem}", FAILED


def _fail(talk: Talk, sentence: str, code: int) -> int:
    print(f"{talk.name}: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
