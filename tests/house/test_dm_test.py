"""dm-test: what is missing fails by name, what is left out is said first and last, what a test leaves running is its failure."""

from __future__ import annotations

import json
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

    def start(body: str, *args: object, room: str = "ledger", absent: bool = False) -> Result:
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
        argv = [sys.executable, "-m", "pytest", "-n0", *map(str, args)]
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


@pytest.fixture
def tested(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], checkout: Callable[..., Path]
) -> Callable[..., tuple[int, list[str], str]]:
    """Runs dm-test on a checkout whose programs are these scripts; gives its exit code, the lines of stdout, and stderr."""
    place = checkout()
    (place / ".venv/bin").mkdir(parents=True)

    def start(*args: str, **programs: str) -> tuple[int, list[str], str]:
        for name in ("python", "ruff", "mypy", "lint-imports"):
            path = place / ".venv/bin" / name
            path.write_text("#!/bin/sh\n" + programs.get(name, ""))
            path.chmod(0o755)
        monkeypatch.setattr(testing, "ROOT", place)
        monkeypatch.setattr(testing, "VENV", place / ".venv/bin")
        monkeypatch.setattr(testing.setting_up, "main", lambda argv: 0)
        monkeypatch.chdir(place)
        code = testing.main(args)
        said = capfd.readouterr()
        return code, said.out.splitlines(), said.err

    return start


def test_first_and_last_line_say_what_was_left_out(tested: Callable[..., tuple[int, list[str], str]]) -> None:
    ruff = 'case $1 in check) echo "bad style"; exit 1 ;; esac'
    code, lines, _ = tested("--without", "mariadb", python="echo '== 3 passed, 1 deselected in 0.1s =='", ruff=ruff)
    assert code == 1
    assert lines[0] == "dm-test: left out by --without: mariadb"
    assert "bad style" in lines
    assert lines[-2] == "== 3 passed, 1 deselected in 0.1s =="
    assert lines[-1].startswith("dm-test: FAILED: ruff check, ")
    assert lines[-1].endswith("; left out by --without: mariadb")


# ---- a second look ---------------------------------------------------------------------------------------------------

# A pytest that tells what failed; the second time, it was told to run the failed ones alone.
FAILING = """
case "$*" in *compileall*) exit 0;; esac
echo "$*" >> runs
for last; do :; done
first=$(wc -l < runs); [ "$first" -gt 1 ] && exit %(second)s
echo "E  assert 'the first failure'"
echo '{"failed": [%(names)s], "whole": %(whole)s, "seconds": {"tests/a.py": 2.25, "tests/b.py": 11}}' > "$last"
exit %(code)s
"""


def failing(number: int, second: int = 0, whole: str = "true", code: int = 1) -> str:
    names = ", ".join(f'"tests/a.py::test_{n}"' for n in range(number))
    return FAILING % {"names": names, "second": second, "whole": whole, "code": code}


def test_few_that_fail_with_others_and_pass_alone_are_unsteady(tested: Callable[..., tuple[int, list[str], str]]) -> None:
    code, lines, _ = tested("--second-look", "--no-lint", "-k", "it", python=failing(2))
    assert code == 0
    assert "E  assert 'the first failure'" in lines
    names = "tests/a.py::test_0, tests/a.py::test_1"
    assert f"dm-test: failed with others, now run once more, alone: {names}" in lines
    assert lines[-1].startswith(f"dm-test: all good; UNSTEADY: {names}, failed with others and passed alone, ")
    first, second = Path("runs").read_text().splitlines()
    assert " -k it --report " in first
    assert second.startswith("-m pytest -n 0 tests/a.py::test_0 tests/a.py::test_1 --report ")


@pytest.mark.parametrize(
    ("words", "python", "runs"),
    [
        (("--second-look",), failing(1, second=1), 2),
        (("--second-look",), failing(4), 1),
        (("--second-look",), failing(1, whole="false"), 1),
        (("--second-look",), failing(1, code=2), 1),
        (("--second-look",), failing(0), 1),
        ((), failing(1), 1),
    ],
    ids=["fails again", "too many", "not all were run", "was interrupted", "names nothing", "not asked for"],
)
def test_what_is_no_chance_stays_failed(
    tested: Callable[..., tuple[int, list[str], str]], words: tuple[str, ...], python: str, runs: int
) -> None:
    code, lines, _ = tested(*words, "--no-lint", python=python)
    assert code == 1
    assert lines[-1].startswith("dm-test: FAILED: pytest, ")
    assert "UNSTEADY" not in lines[-1]
    assert len(Path("runs").read_text().splitlines()) == runs


def test_an_unsteady_test_saves_no_linter(tested: Callable[..., tuple[int, list[str], str]]) -> None:
    code, lines, _ = tested("--second-look", python=failing(1), mypy="exit 1")
    assert code == 1
    assert lines[-1].startswith("dm-test: FAILED: mypy; UNSTEADY: tests/a.py::test_0, failed with others and passed alone, ")


def test_json_names_the_unsteady(tested: Callable[..., tuple[int, list[str], str]]) -> None:
    code, lines, said = tested("--second-look", "--json", python=failing(1))
    assert code == 0
    (line,) = lines
    told = {"failed": [], "unsteady": ["tests/a.py::test_0"], "without": [], "quick": False}
    assert json.loads(line) == {"schema": 1, "good": True, **told}
    assert "all good; UNSTEADY: tests/a.py::test_0" in said.splitlines()[-1]


def test_it_tells_where_the_time_went(tested: Callable[..., tuple[int, list[str], str]]) -> None:
    _, lines, _ = tested("--no-lint", python=failing(0))
    begin = lines.index("dm-test: the files whose tests took longest, in seconds:")
    assert lines[begin + 1 : begin + 3] == ["     11.0  tests/b.py", "      2.2  tests/a.py"]


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_pytest_tells_what_failed_and_how_long_each_file_took(
    tests_of: Callable[..., Result], tmp_path: Path, workers: str
) -> None:
    body = "import time\n@pytest.fixture\ndef broken(): assert 0\ndef test_a(): time.sleep(0.2)\ndef test_b(broken): pass\n"
    tests_of(
        f"{body}@pytest.mark.parametrize('x', ['a b::c'])\ndef test_c(x): assert 0", workers, "--report", tmp_path / "told"
    ).gave(1)
    told = json.loads((tmp_path / "told").read_bytes())
    file = "tests/ledger/test_it.py"
    assert told == {
        "failed": [f"{file}::test_b", f"{file}::test_c[a b::c]"],
        "whole": True,
        "seconds": {file: told["seconds"][file]},
    }
    assert told["seconds"][file] > 0.2


def test_pytest_tells_that_it_stopped_early(tests_of: Callable[..., Result], tmp_path: Path) -> None:
    tests_of("def test_a(): assert 0\ndef test_b(): pass", "-x", "--report", tmp_path / "told").gave(1)
    assert json.loads((tmp_path / "told").read_bytes())["whole"] is False


def test_wrong_component_name_is_wrong_use() -> None:
    done = run("dm-test", "--without", "mariadbb", "--dry-run").gave(2)
    assert "there is no component 'mariadbb'" in done.err
