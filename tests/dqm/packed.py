"""dqm packed by packaging/dqm/deploy.sh: made once for the same sources, kept below .venv; installed from its RPM."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support import ROOT, Result

PACKAGING = ROOT / "packaging/dqm"
KEPT = ROOT / ".venv/dqm-packed"
NOT_PACKED = ("demo", "house", "simulators", "__pycache__")


@cache
def key() -> str:
    """A sum over all that is packed, as it was when it was asked first."""
    files = [*(ROOT / "bin").glob("d[qm]*-*"), *PACKAGING.rglob("*"), *(ROOT / "dmtools").rglob("*"), ROOT / "docs/dqm.md"]
    whole = hashlib.sha256()
    for path in sorted(files):
        if path.is_file() and not set(path.relative_to(ROOT).parts) & set(NOT_PACKED):
            whole.update(f"{path.relative_to(ROOT)} {path.stat().st_mode}\n".encode())
            whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def made(word: str) -> Path:
    """dist with what `deploy.sh build` or `deploy.sh rpm` made of these sources; the last two are kept."""
    KEPT.mkdir(exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        dist = KEPT / key()
        if not (dist / f"{word}.ok").exists():
            said = deploy(word, "--build", KEPT / "build", "--dist", dist)
            assert said.code == 0, str(said)
            (dist / f"{word}.ok").write_text(said.out)
        os.utime(dist)
        shutil.rmtree(KEPT / "build", ignore_errors=True)
        places = sorted((path for path in KEPT.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for path in places[:-2]:
            shutil.rmtree(path)
    return dist


def deploy(*words: object, env: Mapping[str, str] | None = None) -> Result:
    return bare(PACKAGING / "deploy.sh", *words, env={"PATH": os.environ["PATH"], **(env or {})}, timeout=1800)


def bare(program: object, *words: object, env: Mapping[str, str] | None = None, timeout: float = 60) -> Result:
    """Runs a program with an empty environment, but for `env`, in /."""
    argv = [str(program), *map(str, words)]
    done = subprocess.run(argv, env=dict(env or {}), cwd="/", capture_output=True, text=True, timeout=timeout)
    return Result(tuple(argv), done.returncode, done.stdout, done.stderr, 0.0)


@dataclass(frozen=True)
class Installed:
    """The RPM as it lies below `prefix`; its database is a directory of the test's own."""

    prefix: Path
    database: Path

    def rpm(self, *words: object, around: str = "") -> Result:
        """`around`: shell lines that come first, in a mount namespace of its own."""
        argv = ["rpm", "--dbpath", str(self.database), *map(str, words)]
        if around:
            argv = ["unshare", "-m", "--propagation", "private", "sh", "-euc", f'{around}exec "$@"', "sh", *argv]
        done = subprocess.run(argv, capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stderr
        return Result(tuple(argv), done.returncode, done.stdout, done.stderr, 0.0)

    def files(self) -> set[str]:
        """What lies below the prefix, as paths from there."""
        return {str(path.relative_to(self.prefix)) for path in self.prefix.rglob("*")} if self.prefix.exists() else set()


@contextmanager
def installed(package: Path, below: Path, around: str = "") -> Iterator[Installed]:
    """The package below `below`/opt/mirror, taken away again."""
    place = Installed(below / "opt/mirror", below / "rpmdb")
    place.database.mkdir(parents=True)
    place.rpm("-i", "--nodeps", "--prefix", place.prefix, package, around=around)
    try:
        yield place
    finally:
        if "dmtools-dqm" in place.rpm("-qa").out:
            place.rpm("-e", "dmtools-dqm")
