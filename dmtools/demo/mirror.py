"""The demo's fourth act: a live page is seen outside, seconds later, clean; its robber, then its source are killed.

The source is dm-sim dqm with nothing but what the demo itself tells it; what is served is compared with that. The secrets that
the demo puts into it are looked for in every byte that the server gives. Of dmtools it uses nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from dmtools.demo import control, crontab
from dmtools.demo.display import Display
from dmtools.demo.mirror_source import RUN, SECRETS, Inside
from dmtools.demo.mirror_web import Outside
from dmtools.demo.passes import MARK
from dmtools.demo.proof import Check
from dmtools.house.leftovers import marked

SECONDS = 90.0
ROOM = "run/dqm/production/"  # below HOME: where the live page's browser has its files


def play(home: Path, env: Mapping[str, str], display: Display, table: Path) -> list[Check]:
    """All of it. Gives what was proved."""
    words = ["sites.playback=", "stale_seconds=10", "back_off_seconds=2", "old_runs=3"]
    if not (shutil.which("chromium", path=env["PATH"]) and shutil.which("chromedriver", path=env["PATH"])):
        display.say("there is no chromium here: the page is asked for its JSON instead, which gives no graphs", "yellow")
        words.append("backend=http")
    control.typed(display, env, "dqm-cfg", *[word for text in words for word in ("--set", text)])
    inside = Inside(home, dict(env))
    inside.start()
    try:
        with _loops(home, env, crontab.read(table).lines) as loops, Outside(home, dict(env)) as outside:
            display.say(f"started the {len(loops)} lines of cron/dqm.crontab, which go on by themselves, and dqm-server")
            checks = _shown(display, inside, outside)
            checks += [clean(display, outside), _robber_killed(home, display, inside, outside, loops)]
            checks += _source_killed(env, display, inside, outside)
            for typed in (("dm-monitoring", "dqm"), ("dm-trace", f"production/{RUN}")):
                control.typed(display, env, *typed)
            return [*checks, _ended(home, display, loops)]
    finally:
        inside.stop()


def _until(inside: Inside, condition: Callable[[], bool]) -> float | None:
    """Seconds until it came true, while the source goes on to tell news; None: it did not."""
    begun = told = time.monotonic()
    while not condition():
        now = time.monotonic()
        if now - begun > SECONDS:
            return None
        if now - told > 1:
            told = now
            inside.tell()
        time.sleep(0.05)
    return time.monotonic() - begun


def _came(what: str, seconds: float | None, display: Display, outside: Outside) -> Check:
    if seconds is None:
        return Check(what, [f"not within {SECONDS:.0f} s: outside there is {outside.page()}"])
    display.say(f"{what}: after {seconds:.1f} s")
    return Check(what, [])


def _shown(display: Display, inside: Inside, outside: Outside) -> list[Check]:
    """The run, a job that crashes, the next run, the old run."""

    def same() -> bool:
        return outside.page() == inside.shown() and outside.state() == "Fresh"

    inside.tell()
    found = [
        _came(
            "outside stands what the source has: its run, its jobs, their states and events",
            _until(inside, same),
            display,
            outside,
        )
    ]
    inside.crash()
    found.append(
        _came("a job crashed inside, and outside it is crashed, with its exit code", _until(inside, same), display, outside)
    )
    inside.next_run()
    what = "the next run began inside; outside it is shown, and the one before is an old run"
    seconds = _until(inside, lambda: same() and outside.old_runs() == [RUN])
    return [*found, _came(what, seconds, display, outside)]


def clean(display: Display, outside: Outside) -> Check:
    """Every address that is reached from the first page, every byte and header."""
    read = outside.everything()
    against = [f"{secret} stands in {path}" for path, data in read.items() for secret in SECRETS if secret.encode() in data]
    logs = [path for path in read if "/log-" in path]
    against += [] if logs else ["no log was served, so nothing was proved"]
    size = sum(map(len, read.values()))
    display.say(f"read all {len(read)} addresses of the server, {size / 1000:.0f} kB, among them {len(logs)} logs")
    return Check(
        f"none of {len(SECRETS)} secrets of the source (user, host, paths, mail, address, token) stands in any of them", against
    )


def _robber_killed(
    home: Path, display: Display, inside: Inside, outside: Outside, loops: dict[str, subprocess.Popen[bytes]]
) -> Check:
    """By kill -9: its browser goes with it; cron's next minute starts it again."""
    what = "the robber was killed with -9: nothing of its browser stayed, and the next one shows what is new"
    label = next(label for label in loops if "--old-runs" not in label and "robber" in label)
    browser = _of_browser(home)
    robber = [pid for pid, line in marked(MARK, str(home)).items() if "dqm-robber" in line and "--old-runs" not in line]
    for pid in robber:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    display.say(f"killed the robber with -9; its browser has {len(browser)} processes", "yellow")
    seconds = _until(inside, lambda: not browser & _of_browser(home))
    if seconds is None:
        return Check(what, [f"{len(browser & _of_browser(home))} processes of its browser are still there"])
    loops[label].wait(10)
    loops[label] = _start(label, home)
    inside.crash()
    return _came(what, _until(inside, lambda: outside.page() == inside.shown()), display, outside)


def _of_browser(home: Path) -> set[int]:
    return {pid for pid, line in marked(MARK, str(home)).items() if ROOM in line}


def _source_killed(env: Mapping[str, str], display: Display, inside: Inside, outside: Outside) -> list[Check]:
    """What is shown stays, and says that it is old; then all is well again."""
    before = outside.page()
    inside.kill()
    display.say("killed the source with -9", "yellow")
    begun = time.monotonic()
    while outside.state() == "Fresh" and time.monotonic() - begun < SECONDS:
        time.sleep(0.05)
    state = outside.state()
    against = [] if state in ("Stale", "Down") else [f"it still says {state}"]
    against += [] if outside.page() == before else ["what was shown before is not there any more"]
    against += [] if outside.says_so() else ["the page has no banner"]
    display.say(f"outside it says {state} after {time.monotonic() - begun:.1f} s: {outside.why()}")
    done = control.typed(display, env, "dm-train-ok", "--component", "dqm")
    against += [] if done.returncode in (1, 2) and "production is" in done.stdout else [f"dm-train-ok: exit {done.returncode}"]
    found = [Check("with the source dead, page and nagios say how old it is, and why; the page stays", against)]
    inside.start()
    inside.tell()
    display.say("started the source again")
    seconds = _until(inside, lambda: outside.page() == inside.shown() and outside.state() == "Fresh")
    return [*found, _came("the source is there again, and the page is Fresh", seconds, display, outside)]


# ---- what runs ----------------------------------------------------------------------------------------------------------


@contextmanager
def _loops(home: Path, env: Mapping[str, str], lines: list[crontab.Line]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The lines of the crontab, each started once, as cron does at a minute."""
    _env.update(env)
    found = {line.command: _start(line.command, home) for line in lines}
    try:
        yield found
    finally:
        for process in found.values():
            _end(process)


_env: dict[str, str] = {}


def _start(command: str, home: Path) -> subprocess.Popen[bytes]:
    with (home / "log/cron.out").open("ab") as out:
        return subprocess.Popen(
            ["/bin/sh", "-c", command], env=_env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to all of the line, as a machine does that goes down."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)


def _ended(home: Path, display: Display, loops: dict[str, subprocess.Popen[bytes]]) -> Check:
    for process in loops.values():
        _end(process)
    deadline = time.monotonic() + 30
    while (left := [line for line in marked(MARK, str(home)).values() if "dqm-robber" in line or ROOM in line]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.05)
    rooms = [str(path) for path in (home / "run/dqm").iterdir() if path.is_dir()] if (home / "run/dqm").is_dir() else []
    display.say("ended robber and parser")
    return Check("after their end no process and no file of a browser is left", [*left, *rooms])
