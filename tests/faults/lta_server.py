"""The sweep over lta-rest-server: it is killed or failed at a system call while two clients work, started anew, and they go on.

A point is as in `lta_remote`, but that the server is disturbed and the clients are not: passes of lta-nersc-client, two at a
time, that meet a server which dies under them and comes back at the same address at once. Then plain passes, the judgement.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults import calls, judge, lta_remote
from tests.faults.calls import Call
from tests.faults.lta_remote import CLIENT, RemoteMachine
from tests.faults.sweep import KILL, Row, Stage, argv
from tests.support import port_base

SERVER = "lta-rest-server"
STAGES = (Stage("server", (SERVER,)),)  # bundles in the buffer go to tape: claims, changes of state, heartbeats, pages
BY_NAME = {stage.name: stage for stage in STAGES}
AT_ONCE, ROUNDS = 2, 2  # clients; in the first round jobs begin, in the second their results are booked
SECONDS = 60


@dataclass
class ServerMachine(RemoteMachine):
    """As RemoteMachine; its server can run under strace, and comes back at the same port."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.port = port_base()  # below those that the kernel gives to clients: it must be free again and again


def prepare(machine: ServerMachine) -> None:
    """The template: bundles proved in the buffer."""
    machine.init()
    machine.keep("server")


def points(machine: ServerMachine, stage: Stage) -> list[Call]:
    """Every call of the server, from its start to its end, that matters."""
    machine.fill(stage.name)
    wrong, _code = _under(machine, calls.WATCH)
    assert not wrong, wrong
    return calls.relevant_in(machine.place / "trace", machine.home)


def run(machine: ServerMachine, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    machine.fill(stage.name)
    wrong, code = _under(machine, ["-e", f"trace={call.name}", *calls.rule(call, fault)])
    hit = calls.met(machine.place / "trace", machine.home, call, killed=code == -signal.SIGKILL)
    wrong += lta_remote.lost(machine)
    machine.stop_servers()
    machine.start_servers()
    wrong += lta_remote.judged(machine, machine.to_the_end())
    on_tape = sum(path.is_file() for path in (machine.remote / "tape").rglob("*"))
    left = len(judge.leftovers(machine.remote / "tape"))
    return Row(stage.name, hit or call, fault, hit is not None, code, on_tape, left, tuple(wrong))


def _under(machine: ServerMachine, options: list[str]) -> tuple[list[str], int]:
    """Rounds of clients against a server under strace; a plain one comes when it dies. What they said wrongly; how it ended."""
    out = machine.place / "disturbed.out"
    command = calls.traced([*argv(machine, (SERVER,)), "--port", str(machine.port)], machine.place / "trace", options)
    machine.settle_at(f"http://127.0.0.1:{machine.port}")
    with out.open("wb") as said:
        server = subprocess.Popen(command, env=machine.at_source(), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        _wait(lambda: b"listening on" in out.read_bytes() or server.poll() is not None, "the server listens, or dies")
        wrong = [sentence for _ in range(ROUNDS) for sentence in _round(machine, server)]
    finally:
        _end(server)
    if judge.TROUBLE.search(text := out.read_text("utf-8", "replace")):
        wrong.append(f"the server said: {text}")
    return wrong, server.returncode


def _round(machine: ServerMachine, server: subprocess.Popen[bytes]) -> list[str]:
    """Clients at once, while somebody watches that there is a server."""
    place = machine.place
    clients = []
    for number in range(AT_ONCE):
        with (place / f"client-{number}.err").open("wb") as err:
            env = machine.environment()
            clients.append(subprocess.Popen(argv(machine, CLIENT), env=env, stdin=subprocess.DEVNULL, stdout=err, stderr=err))

    def ended() -> bool:
        if server.poll() is not None and machine._server is None:
            machine.start_servers()
        return all(client.poll() is not None for client in clients)

    _wait(ended, "the clients end")
    machine.jobs_over()
    said = [(place / f"client-{number}.err").read_text("utf-8", "replace") for number in range(AT_ONCE)]
    return [
        sentence
        for client, err in zip(clients, said, strict=True)
        for sentence in judge.said_badly(CLIENT[0], client.returncode, err)
    ]


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ends the server that strace watches, as systemd would, and strace with it."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    if server.poll() is None:
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGTERM)
    server.wait(SECONDS)


def _wait(condition: object, what: str) -> None:
    assert callable(condition)
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {SECONDS} s: {what}"
        time.sleep(0.02)
