"""strace: which system calls of a command write below HOME or to a server, and the command with one of them killed or failed."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    *(
        "rename",
        "renameat",
        "renameat2",
        "link",
        "linkat",
        "symlink",
        "write",
        "pwrite64",
        "writev",
        "pwritev",
        "pwritev2",
        "fsync",
        "fdatasync",
        "syncfs",
    ),
    *("unlink", "unlinkat", "rmdir", "ftruncate", "fallocate", "mkdir", "mkdirat", "chmod", "fchmod", "openat"),
    *("connect", "sendto", "sendmsg"),
)
WATCH = ["--seccomp-bpf", "-e", f"trace={','.join(CALLS)}"]
TO_SERVERS = frozenset(("connect", "sendto", "sendmsg"))
SECONDS = 60
NO_MORE = "(no such call any more)"
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_WRITES = ("O_CREAT", "O_WRONLY", "O_RDWR", "O_TRUNC")


@dataclass(frozen=True)
class Call:
    """The Nth call of its kind in one thread of the command, and what it was about."""

    name: str
    number: int
    subject: str


@dataclass(frozen=True)
class Outcome:
    """A command that ran with a fault: its exit (negative: by a signal), stderr, and the call that was hit; None: it survived.

    `reads`: an error met another thread's or process's call of that number, too, which only opened a file to read it: as no
    full or broken disk does to what a program is made of.
    """

    code: int
    err: str
    hit: Call | None
    reads: bool = False


def relevant(command: Sequence[str], env: dict[str, str], home: Path, log: Path) -> list[Call]:
    """Runs the command undisturbed and gives its calls that write below HOME or to a server, each (name, number) once.

    Behind the last of each kind stands one that never comes: the command must survive it.
    """
    _strace(command, env, log, WATCH)
    return relevant_in(log, home)


def relevant_in(log: Path, home: Path) -> list[Call]:
    """The same of a log that strace has written with WATCH."""
    found: dict[tuple[str, int], Call] = {}
    last: dict[str, int] = {}
    for _, _, call in _threads(log, home):
        last[call.name] = max(call.number, last.get(call.name, 0))
        if call.subject:
            found.setdefault((call.name, call.number), call)
    ends = [Call(name, last[name] + 1, NO_MORE) for name in {name for name, _ in found}]
    return sorted([*found.values(), *ends], key=lambda call: (CALLS.index(call.name), call.number))


def ends_of_runs(log: Path, home: Path) -> set[tuple[str, int]]:
    """(name, number) of the calls in a log that are not in the midst of a run: writes to one file with nothing between them.

    sqlite writes the pages of a transaction so, and whatever part of them is there, none counts. The first two and the last
    of a run stand for it.
    """
    runs: list[list[Call]] = []
    last: dict[str, list[Call]] = {}
    for thread, _, call in _threads(log, home):
        if not call.subject:
            continue
        run = last.get(thread)
        if run is None or (run[-1].name, run[-1].subject) != (call.name, call.subject):
            runs.append(run := [])
            last[thread] = run
        run.append(call)
    return {(call.name, call.number) for run in runs for call in (*run[:2], run[-1])}


def disturbed(
    command: Sequence[str], env: dict[str, str], home: Path, log: Path, call: Call, fault: str, *, record: bool = False
) -> Outcome:
    """The command with its Nth call of a kind disturbed: `fault` is `signal=KILL` or `error=ENOSPC`.

    strace counts by thread: the first thread that comes to its Nth call is killed; an error meets each thread's Nth call.
    Its --seccomp-bpf would let the signal fall under the table, so a kill goes without. `record`: the log holds every
    call with all its data.
    """
    trace = ["-s", "100000", "-e", f"trace={','.join(CALLS)}"] if record else ["-e", f"trace={call.name}"]
    done = _strace(command, env, log, [*trace, *rule(call, fault)])
    reads = any(injected and found.name == "openat" and not found.subject for _, injected, found in _threads(log, home))
    return Outcome(done.returncode, done.stderr, met(log, home, call, killed=done.returncode == -9), reads)


def rule(call: Call, fault: str) -> list[str]:
    """What strace is told to do at the call."""
    quick = [] if fault.startswith("signal") else ["--seccomp-bpf"]
    return [*quick, "-e", f"inject={call.name}:{fault}:when={call.number}"]


def met(log: Path, home: Path, call: Call, *, killed: bool) -> Call | None:
    """The call that was hit, by the log."""
    same = [(injected or killed, found) for _, injected, found in _threads(log, home) if found.name == call.name]
    hit = [found for disturbed_now, found in same if disturbed_now and found.number == call.number]
    if killed and not hit:
        raise AssertionError(f"killed, but not at {call}: {log.read_text()}")
    return hit[0] if hit else None


def traced(command: Sequence[str], log: Path, options: Sequence[str]) -> list[str]:
    """The command under strace."""
    return ["strace", "-f", "-qq", "-y", "-s", "16", "-o", str(log), *options, *command]


def _strace(command: Sequence[str], env: dict[str, str], log: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        traced(command, log, options),
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )


def _threads(log: Path, home: Path) -> Iterable[tuple[str, bool, Call]]:
    """Each call of the log: its thread, was an error injected?; numbered as strace counts: by thread and name."""
    counts = Counter[tuple[str, str]]()
    for line in log.read_text("utf-8", "replace").splitlines():
        if match := _LINE.match(line):
            thread, name, rest = match.groups()
            counts[thread, name] += 1
            yield thread, "(INJECTED)" in rest, Call(name, counts[thread, name], _subject(name, rest, home))


def _subject(name: str, rest: str, home: Path) -> str:
    """What a call is about: a path below HOME, `server`, or nothing that matters."""
    if name in TO_SERVERS:
        return "" if "AF_UNIX" in rest or "AF_NETLINK" in rest else "server"
    if name == "openat" and not any(word in rest for word in _WRITES):
        return ""
    found = re.search(re.escape(str(home)) + r'(?:/([^">,]*))?[">]', rest)
    if not found:
        return ""
    inner = re.search(r'>, "([^"/][^"]*)"', rest) if name.endswith("at") else None
    path = "/".join(part for part in (found[1], inner[1] if inner else None) if part) or "."
    return re.sub(r"\.\d+\.tmp$", ".tmp", path)
