"""dm-setup: what a person does to a checkout, and what it makes of it each time."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.house.conftest import write_command
from tests.support import Result, environment, run, wait_until

Setup = Callable[..., Result]


@pytest.fixture
def setup(tool_path: str) -> Setup:
    """Runs dm-setup of a checkout with uv on PATH."""

    def start(place: Path, *args: str, env: dict[str, str] | None = None) -> Result:
        path = {"PATH": f"{tool_path}:{os.environ['PATH']}"}
        return run(str(place / "bin/dm-setup"), *args, env=path | (env or {}), timeout=180)

    return start


def say(place: Path, *args: str) -> list[str]:
    """What the checkout's command says through its wrapper, from another folder."""
    argv = [place / ".venv/bin/say-where", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/", env=environment()).stdout.split()


def test_life_of_a_checkout(checkout: Callable[..., Path], setup: Setup) -> None:
    place = checkout()
    planned = setup(place, "--dry-run").ok()
    assert "make .venv: there is none" in planned.out
    assert "install idna" in planned.out
    assert not (place / ".venv").exists()

    setup(place).ok()
    assert say(place, "a b", "*")[:2] == [str(place / ".venv"), str(place / "dmtools/__init__.py")]
    assert "['a b', '*']" in " ".join(say(place, "a b", "*"))

    before = cpu_seconds()
    again = setup(place, "--json").ok()
    assert cpu_seconds() - before < 1, "the second run is to cost less than a second"
    assert again.json["did"] == []
    assert again.json["commands"] == 3
    assert setup(place, "--brief").ok().err == ""
    assert setup(place, "--dry-run").ok().out.strip() == "nothing to do"

    # An edit shows at once; a new file at the next set-up; a removed one's wrapper goes.
    write_command(place, "say-where", "print('edited')")
    assert say(place) == ["edited"]
    write_command(place, "say-new", "print('new')")
    assert "wrapper say-new" in setup(place, "--json").ok().json["did"]
    (place / "bin/say-new").unlink()
    setup(place).ok()
    assert not (place / ".venv/bin/say-new").exists()

    # The checkout is moved: its commands and the environment's own scripts name the new place.
    moved = place.rename(place.with_name("moved here"))
    write_command(moved, "say-where", "import sys, dmtools; print(sys.prefix, dmtools.__file__)")
    assert "moved from" in " ".join(setup(moved, "--json").ok().json["did"])
    assert " ".join(say(moved)) == f"{moved / '.venv'} {moved / 'dmtools/__init__.py'}"
    assert subprocess.run([moved / ".venv/bin/idna", "--help"], check=False, capture_output=True).returncode == 0
    assert str(place) + "/" not in (moved / ".venv/bin/idna").read_text()
    assert setup(moved, "--json").ok().json["did"] == []

    # A new requirement is installed, and nothing else is done.
    project = moved / "pyproject.toml"
    project.write_text(project.read_text().replace('dependencies = ["idna"]', 'dependencies = ["idna", "pluggy"]'))
    assert setup(moved, "--dry-run").ok().out.strip() == "install pluggy"
    setup(moved).ok()
    assert subprocess.run([moved / ".venv/bin/python", "-c", "import idna, pluggy"], check=False).returncode == 0


def cpu_seconds() -> float:
    """CPU time of the programs that ended: a busy machine doesn't lengthen it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("step", ["-m venv", "pip install"])
def test_killed_in_the_middle_is_made_again(checkout: Callable[..., Path], setup: Setup, tool_path: str, step: str) -> None:
    place = checkout()
    env = environment(extra={"PATH": f"{tool_path}:{os.environ['PATH']}"})
    process = subprocess.Popen([place / "bin/dm-setup"], env=env, start_new_session=True, stderr=subprocess.DEVNULL)
    wait_until(lambda: step in running(process.pid), 60, f"dm-setup runs {step}")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert "make .venv: the last set-up was broken off" in setup(place, "--dry-run").ok().out
    setup(place).ok()
    assert say(place)[0] == str(place / ".venv")
    assert setup(place, "--json").ok().json["did"] == []


def running(session: int) -> str:
    """The command lines of the processes of a session."""
    lines = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            if os.getsid(int(place.name)) == session:
                lines.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return "\n".join(lines)


def test_broken_environments(checkout: Callable[..., Path], setup: Setup) -> None:
    place = checkout()
    # A .venv that somebody made by hand and that works is taken; what it holds stays.
    subprocess.run(["python3", "-m", "venv", "--without-pip", place / ".venv"], check=True, env=environment())
    (place / ".venv/note").write_text("mine")
    setup(place).ok()
    assert (place / ".venv/note").read_text() == "mine"
    assert say(place)[0] == str(place / ".venv")

    # Ours, and its Python is gone: made again.
    (place / ".venv/bin/python").unlink()
    (place / ".venv/bin/python").symlink_to("/nonexistent/python3")
    setup(place).ok()
    assert say(place)[0] == str(place / ".venv")
    assert not (place / ".venv/note").exists()

    # Not ours and not working: put aside by name, not deleted.
    shutil.rmtree(place / ".venv")
    (place / ".venv").mkdir()
    (place / ".venv/precious").write_text("mine")
    done = setup(place).ok()
    assert ".venv.aside-1" in done.err
    assert (place / ".venv.aside-1/precious").read_text() == "mine"
    assert say(place)[0] == str(place / ".venv")


def test_no_network_is_a_sentence_and_the_next_run_goes_on(checkout: Callable[..., Path], setup: Setup) -> None:
    place = checkout(requirement='"dmtools-no-such-thing-in-any-cache"')
    nowhere = "http://127.0.0.1:9/simple"
    away = {
        "PIP_INDEX_URL": nowhere,
        "UV_DEFAULT_INDEX": nowhere,
        "PIP_RETRIES": "0",
        "UV_HTTP_RETRIES": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    done = setup(place, env=away).gave(75)
    last = done.err.strip().splitlines()[-1]
    assert "the package index can't be reached" in last
    project = place / "pyproject.toml"
    project.write_text(project.read_text().replace("dmtools-no-such-thing-in-any-cache", "idna"))
    setup(place).ok()
    assert say(place)[0] == str(place / ".venv")


@pytest.mark.needs("root")
@pytest.mark.parametrize("uv", [True, False])
def test_a_full_disk_is_a_sentence(checkout: Callable[..., Path], setup: Setup, tmp_path: Path, uv: bool) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small], check=True)
    try:
        place = checkout("small/checkout", requirement='"sqlalchemy"')
        done = setup(place, env={} if uv else {"PATH": os.environ["PATH"]}).gave(75)
        assert "full: make room" in done.err.strip().splitlines()[-1]
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.needs("root")
def test_a_checkout_of_somebody_else_is_a_sentence(short_tmp: Path, checkout: Callable[..., Path]) -> None:
    place = checkout()
    theirs = short_tmp / "theirs"
    shutil.copytree(place, theirs)
    other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    done = run(str(theirs / "bin/dm-setup"), prefix=other, env={"DM_PYTHON": "/usr/bin/python3", "HOME": "/nonexistent"}).gave(1)
    last = done.err.strip().splitlines()[-1]
    assert "can't be written" in last
    assert "as the owner of the checkout" in last


def test_two_at_once_wait_for_each_other(checkout: Callable[..., Path], tool_path: str) -> None:
    place = checkout()
    env = environment(extra={"PATH": f"{tool_path}:{os.environ['PATH']}"})
    argv = [place / "bin/dm-setup", "--json"]
    both = [subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(bool(answer["did"]) for answer in answers) == [False, True]


@pytest.mark.parametrize(("given", "said"), [("mariadbb", "there is no component 'mariadbb'"), ("venv", "can't be left out")])
def test_wrong_component_names(checkout: Callable[..., Path], setup: Setup, given: str, said: str) -> None:
    place = checkout()
    assert said in setup(place, "--tests", "--without", given).gave(2).err
    assert not (place / ".venv").exists()


def test_no_python_is_a_sentence(checkout: Callable[..., Path], short_tmp: Path) -> None:
    place = checkout()
    for name in ("sh", "readlink", "dirname", "id", "env"):
        (short_tmp / name).symlink_to(shutil.which(name) or name)
    body = (place / "bin/dm-setup").read_text().replace("/usr/bin/python3", "/nonexistent/python3")
    (place / "bin/dm-setup").write_text(body)
    done = run(str(place / "bin/dm-setup"), env={"PATH": str(short_tmp), "DM_PYTHON": ""}).gave(2)
    assert "Python 3.11 or newer is needed" in done.err
