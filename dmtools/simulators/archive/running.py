"""`dm-sim archive` in the foreground: it answers what its hsi asks, until a signal ends it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bottle
import msgspec

from dmtools import durable
from dmtools.simulators.archive import hsi
from dmtools.simulators.archive.vault import SUMS, Trouble, Vault
from dmtools.simulators.faults import FaultsFile
from dmtools.simulators.fts import wire
from dmtools.simulators.fts.model import Refused
from dmtools.simulators.http import Http
from dmtools.simulators.process import Seat, Signals, port_of


def serve(home: Path, root: Path, make: Callable[[Path, FaultsFile], Vault], port: int) -> None:
    """Serves until SIGTERM (exit 143) or SIGINT (130). Raises Unavailable when the name or the port is taken."""
    signals = Signals()
    seat = Seat(home, "archive")
    remote = root / "lta" / "remote"
    for name in ("bin", "buffer", "export", f"hpss/{SUMS}"):
        (remote / name).mkdir(parents=True, exist_ok=True, mode=0o750)
    vault = make(remote / "hpss", FaultsFile.counted_here(seat.faults))
    http = Http("archive", port, wire.application(_routes(vault), seat.token), vault.faults)
    with port_of("archive", port):
        http.prepare()
    _give_programs(remote / "bin", seat.address)
    seat.announce(http.start())
    seat.stay(signals, vault.stopped.set)


def _give_programs(place: Path, address: Path) -> None:
    text = Path(hsi.__file__).read_text("utf-8")
    text = text.replace(f'ADDRESS = "{hsi.ADDRESS}"', f"ADDRESS = {str(address.resolve())!r}")
    for name in ("hsi", "hpss_avail"):
        durable.write_file(place / name, f"#!{os.path.realpath(sys.executable)} -IS\n{text}".encode(), 0o750)


def _routes(vault: Vault) -> list[wire.Route]:
    def act(name: str) -> bytes:
        asked = wire.body_of(bottle.request)
        act = {"ls": vault.ls, "hashlist": vault.hashlist, "hashverify": vault.hashverify, "mkdir": vault.mkdir, "rm": vault.rm}
        if name == "mv":
            return _said(lambda: vault.mv(*asked["names"]))
        if name not in act:
            raise Refused(404, f"there is no command {name}")
        return _said(lambda: act[name](*asked["names"]))

    def put() -> bytes:
        given = bottle.request.environ["wsgi.input"]
        length, keep = int(bottle.request.headers["Content-Length"]), bool(bottle.request.headers.get("X-Hash"))
        return _said(lambda: vault.put(_path(), given, length, keep_sum=keep))

    def get() -> Any:
        try:
            blocks, size, right = vault.get(_path())
        except Trouble as problem:
            raise Refused(404, problem.text) from None
        bottle.response.set_header("Content-Length", str(size))
        bottle.response.set_header("X-Checksum", "right" if right else "differs")
        return _streamed(blocks)

    def flip() -> bytes:
        return _said(lambda: vault.flip(_path()))

    return [
        ("POST", "/hpss_avail", lambda: _said(vault.available)),
        ("POST", "/hsi/<name>", act),
        ("PUT", "/hpss", put),
        ("GET", "/hpss", get),
        ("GET", "/sim/files", lambda: wire.answer(vault.files())),
        ("POST", "/sim/flip", flip),
    ]


def _path() -> str:
    return str(bottle.request.query.getunicode("path", encoding="utf-8") or "")


def _streamed(blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield from blocks


def _said(act: Callable[[], str]) -> bytes:
    """What hsi prints, and its exit code."""
    try:
        return msgspec.json.encode({"code": 0, "out": act(), "err": ""})
    except Trouble as problem:
        return msgspec.json.encode({"code": problem.code, "out": "", "err": f"{problem.text}\n"})
    except OSError as problem:
        return msgspec.json.encode({"code": 1, "out": "", "err": f"HPSS_EIO: {problem.strerror}\n"})
