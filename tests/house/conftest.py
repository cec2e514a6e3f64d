"""A small checkout to set up: this one's house with one tiny requirement, so that a set-up takes seconds."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ROOT


def small_checkout(place: Path, requirement: str = '"idna"') -> Path:
    """bin/, the house and a pyproject.toml that asks for little; its own command is bin/say-where."""
    (place / "bin").mkdir(parents=True)
    for name in ("dm-setup", "dm-test"):
        shutil.copy2(ROOT / "bin" / name, place / "bin" / name)
    shutil.copytree(ROOT / "dmtools/house", place / "dmtools/house", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "dmtools/__init__.py", place / "dmtools/__init__.py")
    text = (ROOT / "pyproject.toml").read_text()
    text = re.sub(r"^dependencies = \[.*?^\]", f"dependencies = [{requirement}]", text, flags=re.MULTILINE | re.DOTALL)
    table = '[project.optional-dependencies]\ndemo = []\ntest = ["dmtools[demo]"]\nlint = []\n\n[tool.setuptools]'
    text = re.sub(r"^\[project.optional-dependencies\].*?^\[tool.setuptools\]", table, text, flags=re.MULTILINE | re.DOTALL)
    (place / "pyproject.toml").write_text(text)
    write_command(place, "say-where", "import sys, dmtools; print(sys.prefix, dmtools.__file__, sys.argv[1:])")
    return place


def write_command(place: Path, name: str, body: str) -> None:
    """A Python command in bin/."""
    (place / "bin" / name).write_text(f"#!/usr/bin/env python3\n{body}\n")
    (place / "bin" / name).chmod(0o755)


@pytest.fixture(scope="session")
def tool_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with this environment's uv and a swig, to stand first on PATH: no test fetches them anew."""
    place = tmp_path_factory.mktemp("tools")
    (place / "uv").symlink_to(ROOT / ".venv/bin/uv")
    (place / "swig").symlink_to("/bin/true")
    return str(place)


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., Path]:
    """`checkout()` gives a fresh small checkout."""
    return lambda name="checkout", **options: small_checkout(tmp_path / name, **options)
