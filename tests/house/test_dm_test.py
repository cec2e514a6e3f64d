"""dm-test: what is missing fails by name, what is left out is said first and last, what a test leaves running is its failure."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.house import testing
from tests.support import ROOT, Result, environment, run

ABSENT = """
from dmtools.house import components
gone = components.Component("strace", "tests", "kills", ("strace",), lambda: False)
components.COMPONENTS = tuple(gone if one.name == "strace" else one for one in components.COMPONENTS)
"""


@pytest.fixture
def tests_of(tmp_path: Path) -> Callable[..., Result]:
    """Runs pytest, with this project's conftest, on a checkout whose one test file is given."""

    def start(body: str, *args: str, room: str = "ledger", absent: bool = False) -> Result:
        place = tmp_path / "checkout"
        (place / "tests" / room).mkdir(parents=True)
        for path in (ROOT / "tests").glob("*.py"):
            shutil.copy2(path, place / "tests" / path.name)
        shutil.copytree(ROOT / "dmtools/house", place / "dmtools/house")
        shutil.copy2(ROOT / "dmtools/__init__.py", place / "dmtools/__init__.py")
        shutil.copy2(ROOT / "pyproject.toml", place / "pyproject.toml")
        if absent:
            with (place / "dmtools/house/components.py").open("a") as file:
                file.write(ABSENT.replace("from dmtools.house import components\n", "").replace("components.", ""))
        (place / "tests" / room / "test_it.py").write_text(f"import subprocess\nimport pytest\n{body}")
        argv = [sys.executable, "-m", "pytest", "-n0", *args]
        env = environment(extra={"PYTHONPATH": str(place)}) | {"PYTEST_ADDOPTS": ""}
        done = subprocess.run(argv, cwd=place, env=env, capture_output=True, text=True, timeout=60, check=False)
        return Result(tuple(argv), done.returncode, done.stdout, done.stderr, 0)

    return start


NEEDY = '@pytest.mark.needs("strace")\ndef test_needy(): pass\ndef test_other(): pass\n'


def test_a_missing_component_fails_by_name_and_with_the_way_to_get_it(tests_of: Callable[..., Result]) -> None:
    done = tests_of(NEEDY, absent=True).gave(1)
    assert "apt-get install strace, or leave it out: --without strace" in done.out
    assert "1 passed, 1 error" in done.out


def test_without_leaves_out_just_the_tests_that_need_it(tests_of: Callable[..., Result]) -> None:
    assert "1 passed, 1 deselected" in tests_of(NEEDY, "--without", "strace", absent=True).ok().out


def test_a_fixture_brings_its_need(tests_of: Callable[..., Result]) -> None:
    done = tests_of("def test_a(mariadb): pass\ndef test_b(): pass\n", "--without", "mariadb,xrootd").ok()
    assert "1 passed, 1 deselected" in done.out


def test_an_unknown_component_is_wrong_use(tests_of: Callable[..., Result]) -> None:
    done = tests_of('@pytest.mark.needs("oracle")\ndef test_a(): pass\n').gave(4)
    assert "there is no component 'oracle'" in done.err + done.out


@pytest.mark.parametrize(("room", "passed"), [("ledger", "1 passed, 2 deselected"), ("journeys", "3 deselected")])
def test_quick_runs_unit_tests_only(tests_of: Callable[..., Result], room: str, passed: str) -> None:
    done = tests_of(f"{NEEDY}@pytest.mark.slow\ndef test_slow(): pass\n", "--quick", room=room)
    assert passed in done.out


def test_a_process_left_running_is_the_tests_failure_and_is_ended(tests_of: Callable[..., Result], tmp_path: Path) -> None:
    body = (
        f"def test_a():\n    p = subprocess.Popen(['sleep', '77'])\n    open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n"
        "    p.returncode = 0\n"
    )
    done = tests_of(body).gave(1)
    assert "left running (killed now)" in done.out
    assert "sleep 77" in done.out
    line = Path("/proc", (tmp_path / "pid").read_text(), "cmdline")
    assert not line.exists() or b"sleep" not in line.read_bytes()


def test_help_and_plan_need_no_environment(checkout: Callable[..., Path]) -> None:
    place = checkout()
    (place / "tests").mkdir()
    helped = run(str(place / "bin/dm-test"), "--help").ok()
    assert "--without" in helped.out
    assert "example:" in helped.out
    planned = run(str(place / "bin/dm-test"), "--dry-run", "--without", "xrootd,mariadb", "-k", "lease").ok()
    first, *plan = planned.out.splitlines()
    assert first == "dm-test: left out by --without: mariadb, xrootd; pytest was given: -k lease"
    assert plan[0].startswith("ruff check")
    assert plan[-1].endswith("--without mariadb,xrootd -k lease")
    assert not (place / ".venv").exists()


def test_first_and_last_line_say_what_was_left_out(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checkout: Callable[..., Path]
) -> None:
    place = checkout()
    (place / ".venv/bin").mkdir(parents=True)
    (place / ".venv/bin/python").write_text("#!/bin/sh\necho '== 3 passed, 1 deselected in 0.1s =='\n")
    (place / ".venv/bin/ruff").write_text('#!/bin/sh\ncase $1 in check) echo "bad style"; exit 1 ;; esac\n')
    for name in ("mypy", "lint-imports"):
        (place / ".venv/bin" / name).write_text("#!/bin/sh\n")
    for path in (place / ".venv/bin").iterdir():
        path.chmod(0o755)
    monkeypatch.setattr(testing, "ROOT", place)
    monkeypatch.setattr(testing, "VENV", place / ".venv/bin")
    monkeypatch.setattr(testing.setting_up, "main", lambda argv: 0)
    monkeypatch.chdir(place)
    assert testing.main(["--without", "mariadb"]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "dm-test: left out by --without: mariadb"
    assert "bad style" in lines
    assert lines[-2] == "== 3 passed, 1 deselected in 0.1s =="
    assert lines[-1].startswith("dm-test: FAILED: ruff check, ")
    assert lines[-1].endswith("; left out by --without: mariadb")


def test_wrong_component_name_is_wrong_use() -> None:
    done = run("dm-test", "--without", "mariadbb", "--dry-run").gave(2)
    assert "there is no component 'mariadbb'" in done.err
