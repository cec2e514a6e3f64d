"""tests/warm.py: a command that is forked can't be told from one that is a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.support import command, environment, wait_until

Run = Callable[..., subprocess.CompletedProcess[bytes]]
cold: Run = partial(subprocess.run, capture_output=True)
BOTH = pytest.mark.parametrize("start", [cold, warm.run], ids=["cold", "warm"])

LOOK = """
import gc, json, locale, os, resource, signal, sys, tempfile, threading, time
umask = os.umask(0)
status = open("/proc/self/status").read().splitlines()
shown = lambda name: open(f"/proc/self/{name}", "rb").read().rstrip(b"\\0").decode("utf-8", "surrogateescape").split("\\0")
streams = [sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__]
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv, "flags": repr(sys.flags), "executable": sys.executable, "path": sys.path,
    "file": __file__, "name": __name__, "spec": repr(__spec__), "package": repr(__package__), "names": sorted(globals()),
    "main": sys.modules["__main__"].__file__, "ours": [name for name in sys.modules if name.startswith("dmtools")],
    "cwd": os.getcwd(), "environ": dict(os.environ), "shown": sorted(shown("environ")), "cmdline": shown("cmdline"),
    "umask": umask, "handles": [n for n in range(3, 100) if os.path.exists(f"/proc/self/fd/{n}")],
    "signals": [repr(signal.getsignal(n)) for n in range(1, 65)], "masks": [s for s in status if s.startswith("Sig")],
    "ids": [os.getuid(), os.getgroups(), os.getsid(0), os.getpgid(0), os.nice(0)], "threads": threading.active_count(),
    "limits": [resource.getrlimit(n) for n in range(16)], "comm": open("/proc/self/comm").read(),
    "gc": [gc.get_threshold(), gc.isenabled(), gc.get_freeze_count(), gc.get_debug()], "warnoptions": sys.warnoptions,
    "bytecode": sys.dont_write_bytecode, "finders": [getattr(one, "__name__", type(one).__name__) for one in sys.meta_path],
    "streams": [[repr(s), type(s.buffer).__name__, s.line_buffering, s.errors, s.closed, s.isatty()] for s in streams],
    "locale": [locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding()], "zone": [time.tzname, time.localtime(0)[:6]],
    "temporary": tempfile.gettempdir(), "told": sys.stdin.read(), "recursion": sys.getrecursionlimit(),
}))
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], list[str]]:
    """The argv of a program with this text."""

    def write(text: str) -> list[str]:
        path = tmp_path / "program"
        path.write_text(text)
        return [sys.executable, str(path), "one", "tw\udcffo", ""]

    return write


@pytest.fixture(autouse=True)
def _began() -> None:
    warm.zygote()


def both(argv: list[str], **options: Any) -> list[Any]:
    """What the program printed, cold and warm."""
    told = {"env": environment(), "cwd": None, "input": b"", "timeout": 20, **options}
    found = [start(argv, **told) for start in (cold, warm.run)]
    return [(done.returncode, done.stderr, done.stdout) for done in found]


@pytest.mark.parametrize("zone", ["America/Chicago", None])
def test_a_forked_command_sees_what_a_process_of_its_own_sees(
    program: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str | None
) -> None:
    (tmp_path / "lib").mkdir()
    more = {"PYTHONPATH": str(tmp_path / "lib"), "TMPDIR": str(tmp_path), "X": "\udcff ="} | ({"TZ": zone} if zone else {})
    before = os.umask(0o027)
    try:
        theirs, ours = both(program(LOOK), env=environment(tmp_path, more), cwd=tmp_path, input=b"told")
    finally:
        os.umask(before)
    assert ours[:2] == theirs[:2] == (0, b"")
    one, other = json.loads(theirs[2]), json.loads(ours[2])
    assert {key: other[key] for key in one if other[key] != one[key]} == {}
    assert other["told"] == "told"


ENDS = {
    "exit 3": "import sys; sys.exit(3)",
    "words": "import sys; sys.exit('words')",
    "at once": "import os; os._exit(75)",
    "its end": "import atexit, threading; atexit.register(print, 'late'); threading.Timer(0.05, print, ['thread']).start()",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "terminated": "import os; os.kill(os.getpid(), 15)",
    "interrupted": "import os, signal; signal.signal(2, lambda *_: os._exit(130)); os.kill(os.getpid(), 2)",
    "a pipe": "import os; r, w = os.pipe(); os.close(r)\ntry: os.write(w, b'x')\nexcept BrokenPipeError: print('told')",
    "unwritten": "import sys; print('x'); sys.stdout.close()",
}


@pytest.mark.parametrize("text", ENDS.values(), ids=ENDS)
def test_it_ends_as_a_process_of_its_own_does(program: Callable[[str], list[str]], text: str) -> None:
    theirs, ours = both(program(text))
    assert ours == theirs


def test_a_bug_ends_in_a_traceback(program: Callable[[str], list[str]]) -> None:
    theirs, ours = both(program("def f():\n    1 / 0\nf()\n"))
    for code, err, _ in (theirs, ours):
        assert code == 1
        assert err.startswith(b"Traceback (most recent call last):\n")
        assert err.endswith(b"in f\n    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero\n")


def test_nothing_of_an_earlier_command_is_seen(program: Callable[[str], list[str]]) -> None:
    text = """
import os, random, sys, sqlalchemy, click, signal, uuid
print(hasattr(click, "mark"), "mark" in os.environ, "mark" in sys.modules, signal.getsignal(15) == signal.SIG_IGN)
click.mark = os.environ["mark"] = sys.modules["mark"] = "x"
signal.signal(15, signal.SIG_IGN)
os.chdir("/"); os.umask(0); os.nice(1)
print(random.random(), uuid.uuid4(), os.getpid(), file=sys.stderr)
"""
    argv = program(text)
    found = [warm.run(argv, env=environment(), cwd=None, input=b"", timeout=20) for _ in range(3)]
    assert {done.stdout for done in found} == {b"False False False False\n"}
    assert len({word for done in found for word in done.stderr.split()}) == 9  # no number comes twice


@pytest.mark.parametrize(
    "words", [("dm-config", "show"), ("dm-trace", "/no/such"), ("dm-command", "stop"), ("migrate-consumer", "--json")]
)
def test_a_command_says_the_same(home: Path, words: tuple[str, ...]) -> None:
    theirs, ours = both(command(*words), env=environment(home))
    if "--json" in words:  # what differs from pass to pass
        theirs, ours = ((*one[:2], sorted(json.loads(one[2]))) for one in (theirs, ours))
    assert ours == theirs
    assert theirs[1] + bytes(str(theirs[2]), "utf-8")


@BOTH
def test_much_goes_in_and_out(program: Callable[[str], list[str]], start: Run) -> None:
    argv = program("import sys\ngot = sys.stdin.buffer.read()\nsys.stderr.buffer.write(got)\nsys.stdout.buffer.write(got[::-1])")
    given = os.urandom(1 << 20)
    done = start(argv, env=environment(), cwd=None, input=given, timeout=20)
    assert (done.stdout, done.stderr) == (given[::-1], given)


@BOTH
def test_one_that_takes_too_long_is_killed(program: Callable[[str], list[str]], start: Run) -> None:
    argv = program("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)")
    with pytest.raises(subprocess.TimeoutExpired) as late:
        start(argv, env=environment(), cwd=None, input=b"", timeout=4)
    pid = int(late.value.output)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 60)


@BOTH
def test_it_lasts_until_its_output_is_closed(program: Callable[[str], list[str]], start: Run) -> None:
    argv = program("import os, sys, time\nif os.fork() == 0:\n    time.sleep(0.3)\n    print('late')")
    assert start(argv, env=environment(), cwd=None, input=b"", timeout=20).stdout == b"late\n"


def test_a_server_is_a_process_that_can_be_watched_and_ended(program: Callable[[str], list[str]]) -> None:
    argv = program(
        "import os, signal, sys\nsignal.signal(15, lambda *_: os._exit(143))\nprint('listening', flush=True)\nsignal.pause()"
    )
    for how, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        out = os.memfd_create("out")
        with Path(os.devnull).open("rb") as nothing:
            process = warm.Process(argv, environment(), (nothing.fileno(), out, out))
        wait_until(lambda out=out: os.pread(out, 100, 0) == b"listening\n")
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        assert Path(f"/proc/{process.pid}").exists()
        process.send_signal(how)
        assert process.wait(60) == process.wait() == process.poll() == code
        assert not Path(f"/proc/{process.pid}").exists()
        process.kill()  # that it has ended is no fault
        os.close(out)


def test_many_at_once(program: Callable[[str], list[str]], tmp_path: Path) -> None:
    """Each waits for the last of them."""
    place = tmp_path / "begun"
    place.mkdir()
    argv = program(
        f"import os, sys, time; n = sys.stdin.read(); os.mkdir('{place}/' + n)\n"
        f"while len(os.listdir('{place}')) < 8: time.sleep(0.01)\nprint(n); sys.exit(int(n))"
    )
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: warm.run(argv, env=environment(), cwd=None, input=b"%d" % n, timeout=20), range(8)))
    assert [(done.returncode, int(done.stdout)) for done in found] == [(n, n) for n in range(8)]


def test_what_it_leaves_running_is_known_by_its_mark(program: Callable[[str], list[str]]) -> None:
    from dmtools.house.leftovers import end_all

    argv = program("import os, signal, sys\nif os.fork() == 0:\n    os.close(0); os.close(1); os.close(2)\n    signal.pause()")
    warm.run(argv, env=environment(extra={"DM_OTHER_MARK": "7"}), cwd=None, input=b"", timeout=20)
    (left,) = end_all("DM_OTHER_MARK", "7", grace=0)
    assert left.endswith(" ".join(os.fsencode(word).decode("utf-8", "replace") for word in argv).strip())


def test_what_a_fork_could_not_be_told_is_started_cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv, plain = command("dm-config", "show"), environment()
    assert not warm.can(argv, plain)  # this room
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "tests/control/test_it.py::test_it")
    assert warm.can(argv, plain)
    assert warm.can(argv, environment(extra={"PYTHONPATH": str(tmp_path), "TZ": "UTC", "HOME": "/"}))
    (tmp_path / "click.py").touch()
    for name, value in {
        "PYTHONPATH": tmp_path,
        "PYTHONPROFILEIMPORTTIME": 1,
        "LC_ALL": "C",
        "LANG": "de",
        "LD_PRELOAD": "x",
    }.items():
        assert not warm.can(argv, environment(extra={name: str(value)}))
    assert not warm.can(["strace", *argv], plain)
    assert not warm.can(command("dm-setup"), plain)
    assert not warm.can([sys.executable, "-X", "importtime", *argv[1:]], plain)
    assert not warm.can([*argv, "x" * 200_000], plain)
    assert not warm.can(argv, environment(extra={"MUCH": "x" * 40_000}))
    monkeypatch.setenv("DMTOOLS_TESTS_COLD", "1")
    assert not warm.can(argv, plain)
