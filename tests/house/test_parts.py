"""The house's parts: sentences for failures, requirements, components, wrappers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.house import components, wrappers
from dmtools.house.leftovers import end_all, marked
from dmtools.house.trouble import FAILED, TRY_LATER, explain
from dmtools.house.venv import requirements
from tests.support import ROOT

# What the programs really said.
SAID = [
    ("error: command 'gcc' failed: No such file or directory", "no C compiler", FAILED),
    ("src/SWIG/_m2crypto_wrap.c:1:10: fatal error: openssl/err.h: No such file or directory", "libssl-dev", FAILED),
    ("fatal error: Python.h: No such file or directory\n compilation terminated.", "python3-dev", FAILED),
    ("error: command 'swig' failed: No such file or directory", "swig did not run", FAILED),
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full", TRY_LATER),
    ("error: Failed to install: x.whl\n  Caused by: No space left on device (os error 28)", "the disk is full", TRY_LATER),
    (
        "  Caused by: error sending request for url (https://index/simple/click/)\n  Caused by: dns error: failed to look up",
        "can't be reached",
        TRY_LATER,
    ),
    ("W: Failed to fetch http://mirror/dists  Temporary failure resolving 'mirror'", "can't be reached", TRY_LATER),
    ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7", "another apt is at work", TRY_LATER),
    ("SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "ca-certificates", TRY_LATER),
]


@pytest.mark.parametrize(("output", "sentence", "code"), SAID)
def test_known_failures_are_told_in_a_sentence(output: str, sentence: str, code: int) -> None:
    trouble = explain("pip install", f"Collecting things\n{output}\n")
    assert sentence in str(trouble)
    assert trouble.code == code


@given(st.text())
def test_any_failure_is_one_line(output: str) -> None:
    assert len(str(explain("pip install", output)).splitlines()) == 1


def test_requirements_follow_extras_within_extras() -> None:
    demo, tests = requirements(ROOT, ("demo",)), requirements(ROOT, ("demo", "test", "lint"))
    assert any(line.startswith("fts3") for line in demo)
    assert not any(line.startswith(("dmtools", "pytest")) for line in demo)
    assert set(demo) < set(tests)
    assert any(line.startswith("pytest-xdist") for line in tests)


@given(st.lists(st.sampled_from([one.name for one in components.COMPONENTS if one.group != "build"])))
def test_component_names_are_taken_in_any_order(names: list[str]) -> None:
    assert components.parse_names(" , ".join(names)) == tuple(sorted(set(names)))


def test_a_missing_component_is_found_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "COMPONENTS", (components.Component("x", "tests", "y", ("z",), lambda: False),))
    assert [one.name for one in components.missing(("tests",))] == ["x"]
    assert components.missing(("tests",), without=("x",)) == []
    assert components.missing(("build",)) == []


def test_wrapper_of_a_path_with_blanks_and_quotes(tmp_path: Path) -> None:
    root = tmp_path / 'it\'s a "check out" $HOME'
    (root / ".venv/bin").mkdir(parents=True)
    (root / "bin").mkdir()
    (root / ".venv/bin/python").symlink_to(sys.executable)
    (root / "bin/one").write_text("#!/usr/bin/env python3\nimport sys; print(sys.argv[1:])\n")
    (root / "bin/two").write_text('#!/bin/sh\necho "$1"\n')
    (root / "bin/two").chmod(0o755)
    assert wrappers.sync(root) == ["one", "two", "man pages"]
    assert wrappers.sync(root) == []
    assert subprocess.run([root / ".venv/bin/one", "a b"], capture_output=True, text=True, check=True).stdout == "['a b']\n"
    assert subprocess.run([root / ".venv/bin/two", "a b"], capture_output=True, text=True, check=True).stdout == "a b\n"


def test_leftovers_are_found_by_their_mark_and_ended() -> None:
    child = subprocess.Popen(["sleep", "60"], env={"X_MARK": "7", "PATH": "/usr/bin:/bin"})
    try:
        assert list(marked("X_MARK", "7")) == [child.pid]
        assert marked("X_MARK", "8") == {}
        assert end_all("X_MARK", "7", grace=0) == [f"pid {child.pid}: sleep 60"]
        assert child.wait(60) == -9
    finally:
        child.kill()
        child.wait()


def test_the_house_needs_the_standard_library_only() -> None:
    for path in (ROOT / "dmtools/house").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                assert (
                    top in sys.stdlib_module_names or name in ("dmtools", "dmtools.house") or name.startswith("dmtools.house.")
                ), path
