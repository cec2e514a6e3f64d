"""Two HOMEs: the source with its books and server, the remote site with its settings alone; they share HTTP and a buffer."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import update

from dmtools import names
from dmtools.ledger import tables
from dmtools.lta.api import answer
from dmtools.lta.api.bundles import Bundle as Row
from dmtools.lta.api.bundles import BundleHistory, History, ListBundles
from dmtools.lta.api.bundles import Bundles as Rows
from dmtools.lta.api.errands import AddErrands, Errand, Errands, ListErrands
from dmtools.lta.api.sites import ListSites, Say, Sites, SiteState, Word
from dmtools.lta.direct import Direct
from tests.lta.bookkeeping import add, direct, move, new, take
from tests.support import Result, Server, run, wait_until

Serve = Callable[..., Server]


@dataclass
class TwoSites:
    """The source's HOME `home`, the remote site's `remote`; `lta`: keys of its settings that are not the usual ones."""

    home: Path
    remote: Path
    books: Direct
    url: str
    lta: dict[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, home: Path, place: Path, url: str, **lta: Any) -> TwoSites:
        """Both, as they begin."""
        found = cls(home, place / "remote", direct(home, retry_seconds=1), url, lta)
        for name in ("buffer", "export", "tape"):
            (found.remote / name).mkdir(parents=True)
        found.settings()
        return found

    def settings(self, **keys: Any) -> None:
        """The settings file of the remote site."""
        self.lta |= keys
        told = {"url": self.url, "token_file": f"{self.home}/secrets/lta-nersc.token", "remote_buffer": "buffer"}
        told |= {"remote_export": "export", "tape_root": "tape", "export": "davs://dtn/export", **self.lta}
        lines = [f"{key} = {_toml(value)}" for key, value in told.items()]
        (self.remote / "dmtools.toml").write_text("\n".join(["[lta]", *lines, ""]))

    # ---- bundles

    def push(self, ideal: str, data: bytes = b"", state: str = "PushDone") -> Row:
        """A bundle that came into the buffer."""
        data = data or (ideal.encode() * 40)
        self.buffer(ideal).parent.mkdir(parents=True, exist_ok=True)
        self.buffer(ideal).write_bytes(data)
        proof = {"size": len(data), "sha512": hashlib.sha512(data).hexdigest(), "adler32": f"{zlib.adler32(data):08x}"}
        one = add(self.books, new(ideal, **proof))[0]
        one = move(self.books, take(self.books, "Untouched", ids=(one.id,))[0], "JsonMade", keep=True)
        return move(self.books, one, state, buffer=f"davs://dtn/buffer{ideal}")

    def buffer(self, ideal: str) -> Path:
        """Where a bundle lies in the buffer."""
        return Path(os.fsdecode(os.fsencode(self.remote / "buffer") + names.decode(ideal)))

    def tape(self, ideal: str) -> Path:
        """And on tape."""
        return Path(os.fsdecode(os.fsencode(self.remote / "tape") + names.decode(ideal)))

    def bundle(self, ideal: str) -> Row:
        """As it stands."""
        return answer(self.books, ListBundles(name=ideal), Rows).bundles[0]

    def states(self) -> dict[str, str]:
        """Of all bundles by name."""
        return {one.ideal: one.state for one in answer(self.books, ListBundles(limit=1000), Rows).bundles}

    def steps(self, ideal: str) -> list[str]:
        """What happened to it at the remote site, by the journal."""
        found = answer(self.books, BundleHistory(id=self.bundle(ideal).id), History).steps
        return [f"{step.before}>{step.to}" for step in found if step.by.startswith("lta-nersc")]

    def due(self) -> None:
        """No waiting time: all may be claimed now."""
        for table in (tables.lta_bundle, tables.lta_errand):
            past = {"ready": table.c.since}
            self.books.ledger.transact(lambda c, table=table, past=past: c.execute(update(table).values(past)))  # type: ignore[misc]

    # ---- the other things

    def ask(self, kind: str, ideal: str) -> Errand:
        """An errand."""
        return answer(self.books, AddErrands(kind=kind, bundles=(self.bundle(ideal).id,)), Errands).errands[0]

    def errands(self) -> list[Errand]:
        """All."""
        return list(answer(self.books, ListErrands(limit=1000), Errands).errands)

    def site(self) -> SiteState:
        """How the remote site told that it is."""
        return next(one for one in answer(self.books, ListSites(), Sites).sites if one.name == "nersc")

    def say(self, word: str) -> None:
        """The source's word."""
        answer(self.books, Say(component="nersc-client", word=word, why="a test"), Word)

    def own(self, word: str) -> None:
        """The remote site's own."""
        file = self.remote / "run/lta-nersc-client.word"
        file.parent.mkdir(exist_ok=True)
        file.write_text(word + "\n")

    # ---- passes

    def client(self, *args: object, codes: tuple[int, ...] = (0,), **how: Any) -> Result:
        """One pass."""
        env = {**self.env, **how.pop("env", {})}
        return run("lta-nersc-client", "--config", self.remote / "dmtools.toml", *args, env=env, **how).gave(*codes)

    def passes(self, n: int = 2, codes: tuple[int, ...] = (0,)) -> list[Result]:
        """So many, each when the jobs of the one before have ended."""
        found = []
        for _ in range(n):
            found.append(self.client(codes=codes))
            self.jobs_over()
        return found

    def jobs_over(self, seconds: float = 60) -> None:
        """Until no local job runs, or waits for one that does to end."""
        room = self.remote / "run/batch/local"
        wait_until(lambda: not any(map(_is_open, room.glob("lta-*"))), seconds, "the tape jobs end")


def _is_open(job: Path) -> bool:
    return _is_locked(job / "lock") or (job.is_dir() and not (job / "started.json").exists())


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)
