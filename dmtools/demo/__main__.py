"""`python -m dmtools.demo`: bin/dm-demo with `.venv` made."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from dmtools.demo.display import Display
from dmtools.demo.servers import Unready
from dmtools.demo.story import Demo, Impossible, Wishes, WrongUse, play, stage
from dmtools.house.demonstrating import parser

USAGE, UNAVAILABLE = 2, 75


class Stopped(BaseException):
    """SIGINT or SIGTERM came."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> int:
    """The command; gives the exit code."""
    options = parser().parse_args()
    display = Display(quiet=options.quiet, err=options.json)
    home = Path(options.home) if options.home else None
    wishes = Wishes(options.files, options.big << 20, home, options.keep, options.verbose, options.acts)
    _listen()
    begun = time.monotonic()
    try:
        with stage(wishes, display) as demo:
            play(demo)
            _tell(demo, display, time.monotonic() - begun, as_json=options.json)
            return 0 if demo.good else 1
    except WrongUse as problem:
        print(f"dm-demo: {problem}", file=sys.stderr)
        return USAGE
    except (Impossible, Unready) as problem:
        print(f"dm-demo: {problem}", file=sys.stderr)
        return UNAVAILABLE
    except OSError as problem:
        print(f"dm-demo: {problem.filename or 'a file'}: {problem.strerror or problem}; it was given up", file=sys.stderr)
        return UNAVAILABLE
    except Stopped as stop:
        left = "its files are kept" if options.keep else "nothing is left"
        print(f"dm-demo: stopped, with all that it had started; {left}", file=sys.stderr)
        return 128 + stop.number


def _listen() -> None:
    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the way out is not cut short
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped(number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def _tell(demo: Demo, display: Display, seconds: float, *, as_json: bool) -> None:
    verdict = "all is accounted for" if demo.good else "NOT ALL IS ACCOUNTED FOR"
    files, size = len(demo.tree.files), demo.tree.volume
    display.head(f"{verdict}: {files} files, {size >> 20} MiB, {len(demo.ran)} passes, {seconds:.0f} s")
    if demo.wishes.keep:
        for text in _how_to_look(demo):
            display.plain(text)
    if as_json:
        checks = [{"what": check.what, "good": check.good, "against": check.against} for check in demo.checks]
        record = {"schema": 1, "good": demo.good, "files": files, "bytes": size, "passes": len(demo.ran), "checks": checks}
        record |= {"seconds": round(seconds, 3), "home": str(demo.home) if demo.wishes.keep else None}
        print(json.dumps(record))


def _how_to_look(demo: Demo) -> list[str]:
    pids = " ".join(str(server.pid) for server in demo.servers.values() if server.pid)
    return [
        f"It is all left there{', and both servers run' if pids else ''}. To look at it:",
        f"  export PATH={demo.env['PATH'].partition(':')[0]}:$PATH DMTOOLS_HOME={demo.home}",
        "  dm-monitoring                          # or as a page: dm-web user add ME --role shifter; dm-web",
        "  dm-trace /staged/fails-always.raw",
        "  less $DMTOOLS_HOME/log/cron.out        # what cron would have mailed",
        "  ls $DMTOOLS_HOME/migrate/DONE/*",
        "  dqm-server                             # the mirrored page as it was at the end: Down, for nobody grabs it now",
        "Put a master list into $DMTOOLS_HOME/migrate/TODO/ListOfLFNs and run migrate-producer, -consumer, -monitor.",
        f"To end it: {f'kill {pids}; ' if pids else ''}rm -r {demo.home}",
    ]


if __name__ == "__main__":
    sys.stdout.flush()
    code = main()
    sys.stdout.flush()
    os._exit(code) if code >= 128 else sys.exit(code)
