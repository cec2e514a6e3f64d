"""`.venv` itself: what state it is in, how it is made, filled and mended. It is believed only with its stamp, written last."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from dmtools.house import wrappers
from dmtools.house.steps import Talk, environment, run
from dmtools.house.trouble import TRY_LATER, Trouble

LEAST = (3, 11)
_STAMP = "dm-setup.json"
_BUILDING = "dm-setup.building"


@dataclass(frozen=True)
class Stamp:
    """What a whole `.venv` was made for."""

    root: str
    python: str
    requirements: list[str]


def requirements(root: Path, extras: tuple[str, ...]) -> list[str]:
    """The requirements of pyproject.toml for these extras, those of `dmtools[...]` within them included."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    found = set(project["dependencies"])
    open_extras, seen = list(extras), set[str]()
    while open_extras:
        extra = open_extras.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for line in project["optional-dependencies"][extra]:
            own = re.fullmatch(rf"{project['name']}\[([\w, -]+)\]", line)
            open_extras += [name.strip() for name in own[1].split(",")] if own else []
            found |= set() if own else {line}
    return sorted(found)


class Venv:
    """The `.venv` of one checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = root / ".venv"
        self.python = self.place / "bin/python"

    def version(self) -> str | None:
        """The version of its Python when that runs and is its own, e.g. `3.11.2`."""
        ask = "import sys; print(sys.prefix != sys.base_prefix, '.'.join(map(str, sys.version_info[:3])))"
        try:
            done = subprocess.run([self.python, "-I", "-c", ask], capture_output=True, text=True, check=False, env=environment())
        except OSError:
            return None
        own, _, version = done.stdout.strip().partition(" ")
        return version if done.returncode == 0 and own == "True" else None

    def stamp(self) -> Stamp | None:
        """The stamp, if there is a whole one and no build was broken off since."""
        if (self.place / _BUILDING).exists():
            return None
        try:
            found = json.loads((self.place / _STAMP).read_text("utf-8"))
            return Stamp(found["root"], found["python"], list(found["requirements"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def why_remake(self) -> str | None:
        """Why what stands at `.venv` can't be used or added to, or None. One that we did not make is taken if it works."""
        if not os.path.lexists(self.place):
            return "there is none"
        if self.place.is_symlink():
            return "it is a link, perhaps to another checkout's"
        if (self.place / _BUILDING).exists():
            return "the last set-up was broken off"
        version = self.version()
        if version is None:
            return "its Python does not run"
        stamp = self.stamp()
        if stamp and _minor(stamp.python) != _minor(version):
            return f"it was made for Python {stamp.python} and now finds {version}"
        return None if tuple(map(int, version.split(".")[:2])) >= LEAST else f"its Python {version} is too old"

    def make(self, talk: Talk) -> None:
        """A new `.venv` with pip, marked as being built. One that we did not make is moved aside, not deleted."""
        ours = (self.place / _BUILDING).exists() or (self.place / _STAMP).exists()
        if self.place.is_symlink():
            self.place.unlink()
        elif os.path.lexists(self.place):
            if ours:
                shutil.rmtree(self.place)
            else:
                aside = next(p for n in range(1, 1000) if not (p := self.root / f".venv.aside-{n}").exists())
                self.place.rename(aside)
                talk.say(f"the .venv that was here did not work and was moved to {aside.name}")
        self.begin()
        # A Python that is itself of a venv: what it stands on is what we want.
        base = getattr(sys, "_base_executable", None) or sys.executable
        with talk.step(f".venv with Python {sys.version.split()[0]} ({base})"):
            # Who has uv needs no pip, nor Debian's python3-venv for it.
            bare = ["--without-pip"] if shutil.which("uv") else []
            run(talk, "python -m venv", [base, "-m", "venv", *bare, str(self.place)])

    def begin(self) -> None:
        """Marks it as not whole until `finish`."""
        self.place.mkdir(exist_ok=True)
        (self.place / _BUILDING).touch()
        (self.place / _STAMP).unlink(missing_ok=True)

    def finish(self, wanted: list[str]) -> None:
        """The stamp: from now on it is whole."""
        stamp = Stamp(str(self.root), self.version() or "", wanted)
        wrappers.write(self.place / _STAMP, json.dumps(asdict(stamp), indent=1) + "\n", 0o644)
        (self.place / _BUILDING).unlink(missing_ok=True)

    def move_here(self, before: str) -> None:
        """The checkout was moved or copied: its scripts name the old place; they are written again."""
        old, new = f"{before}/.venv".encode(), str(self.place).encode()
        for path in [*(self.place / "bin").iterdir(), self.place / "pyvenv.cfg"]:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > 65536:
                continue
            body = path.read_bytes()
            if old in body and b"\0" not in body:
                head, _, rest = body.partition(b"\n")
                if head.startswith(b"#!" + old):
                    body = _shebang(new + b"/bin/python") + rest
                wrappers.write(path, body.replace(old, new).decode(), path.stat().st_mode & 0o777)

    def point_home(self) -> bool:
        """`import dmtools` finds the checkout. True if that had to be written."""
        for packages in self.place.glob("lib/python3*/site-packages"):
            path = packages / "dmtools-checkout.pth"
            body = f"{self.root}\n"
            if not path.exists() or path.read_text("utf-8") != body:
                wrappers.write(path, body, 0o644)
                return True
        return False

    def fill(self, talk: Talk, wanted: list[str]) -> None:
        """Installs the requirements, by uv if it can be had, else by pip. Raises Trouble."""
        path = {"PATH": f"{self.place / 'bin'}:{os.environ.get('PATH', os.defpath)}"}
        uv = self._uv(talk)
        if shutil.which("swig") is None and not (self.place / "bin/swig").exists():
            # M2Crypto, which the FTS client stands on, has no wheels; PyPI's swig serves its build.
            with talk.step("swig from PyPI"):
                self._install(talk, uv, ["swig"], path)
        with talk.step(f"{len(wanted)} packages and what they need, from PyPI"):
            self._install(talk, uv, wanted, path)

    def _uv(self, talk: Talk) -> str | None:
        own = self.place / "bin/uv"
        found = str(own) if own.exists() else shutil.which("uv")
        if found:
            return found
        with talk.step("uv from PyPI"):
            try:
                run(talk, "pip install uv", [str(self.python), "-m", "pip", "install", "-q", "uv"])
            except Trouble as problem:
                if problem.code == TRY_LATER:
                    raise
        return str(own) if own.exists() else None

    def _install(self, talk: Talk, uv: str | None, wanted: list[str], env: dict[str, str]) -> None:
        if uv:
            command = [uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(self.python), *wanted]
            try:
                run(talk, "uv pip install", command, env | self._uv_settings())
            except Trouble as problem:
                if problem.settled:
                    raise
                talk.did.append(f"uv could not: {problem}")
            else:
                return
        run(talk, "ensurepip", [str(self.python), "-m", "ensurepip"])
        run(talk, "pip install", [str(self.python), "-m", "pip", "install", "-q", *wanted], env)

    def _uv_settings(self) -> dict[str, str]:
        """A site's pip settings (index, certificates) as uv reads them."""
        asked = [str(self.python), "-m", "pip", "config", "list"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False, env=environment()).stdout
        lines = re.findall(r"^(\S+)=('.*')$", said, re.MULTILINE)
        pip = {name.rpartition(".")[2]: ast.literal_eval(value) for name, value in lines}
        names = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE", "trusted-host": "UV_INSECURE_HOST"}
        return {theirs: pip[ours] for ours, theirs in names.items() if ours in pip and theirs not in os.environ}


def _shebang(python: bytes) -> bytes:
    if b" " not in python and len(python) < 120:
        return b"#!%s\n" % python
    # The kernel takes no blank and no long path there; these lines are sh's and Python's both.
    return b"#!/bin/sh\n'''exec' \"%s\" \"$0\" \"$@\"\n' '''\n" % python


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
