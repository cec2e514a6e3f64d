"""A pipeline of somebody else's, registered by a line in the settings: every dm-* command works with it, and none needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT, Result, environment, run, wait_until

PLACE = ROOT / "tests/thirdparty"
COMMANDS = ("dm-monitoring", "dm-command", "dm-train-ok", "dm-check", "dm-leases")


@pytest.fixture
def station(home: Path) -> Callable[..., Result]:
    """`station("weather-archive")`: a command of a HOME that has the pipeline, and three readings, one of them none."""
    with (home / "dmtools.toml").open("a") as file:
        file.write('\n[pipelines]\nweather = "weather_station.register"\n')
    inbox = home / "weather/inbox"
    inbox.mkdir(parents=True)
    for name in ("mon.csv", "tue.csv"):
        (inbox / name).write_text(f"time,temperature\n12:00,{len(name)}\n")
    (inbox / "odd.csv").write_text("hello\n")

    def call(name: str, *args: object, **options: Any) -> Result:
        command = str(PLACE / name) if (PLACE / name).exists() else name
        env = {"PYTHONPATH": str(PLACE), "PATH": f"{PLACE}:{os.environ['PATH']}", **options.pop("env", {})}
        return run(command, *args, home=home, env=env, **options)

    return call


def figures(station: Callable[..., Result]) -> Any:
    return station("dm-monitoring", "weather", "--json").ok().json["pipelines"]["weather"]


def test_its_readings_are_archived_and_every_command_knows(station: Callable[..., Result], home: Path) -> None:
    station("dm-config", "check").ok()
    for name in COMMANDS:  # before its first pass
        station(name).ok()
    station("dm-trace", "mon.csv").gave(1)
    assert "would archive mon.csv" in station("weather-archive", "--dry-run").ok().out
    done = station("weather-archive", "--json").gave(1).json
    assert done["counts"] == {"New>Archived": 2, "New>Bad": 1}
    assert sorted(path.name for path in (home / "weather/archive").iterdir()) == ["mon.csv", "tue.csv"]
    assert [path.name for path in (home / "weather/inbox").iterdir()] == ["odd.csv"]
    found = figures(station)
    assert found["counts"] == {"New": 0, "Archived": 2, "Bad": 1}
    assert found["bytes"]["Archived"] == 2 * len("time,temperature\n12:00,7\n")
    assert found["rate"]["files_per_hour"] == 2
    assert found["components"]["archive"]["last_success"]
    alarm = station("dm-train-ok").gave(1)
    assert alarm.out.startswith("TRAINOK WARNING - weather: 1 Bad need a person")
    assert "weather_archive_last_success_age=" in alarm.out
    life = station("dm-trace", "mon.csv", "--json").ok().json
    assert [(step["from"], step["to"]) for step in life["history"]] == [(None, "New"), ("New", "Archived")]
    assert "no head" in station("dm-trace", "odd").ok().out
    station("dm-check").ok()
    (home / "weather/archive/mon.csv").unlink()
    assert "weather: gone: mon.csv" in station("dm-check").gave(1).out


def test_it_obeys_the_control_word_and_says_why_a_reading_waits(station: Callable[..., Result], home: Path) -> None:
    assert "did you mean 'weather-archive'" in station("dm-command", "halt", "weather-archiv").gave(2).err
    station("weather-archive").gave(1)
    (home / "weather/inbox/wed.csv").write_text("time,\n")
    station("dm-command", "halt", "weather", "--reason", "storm").ok()
    assert station("weather-archive", "--json").ok().json["state"] == "halted"
    assert (home / "weather/inbox/wed.csv").exists()
    assert station("dm-command", "--json").ok().json["pipelines"]["migrate"]["state"] == "run"
    station("dm-command", "run", "weather").ok()
    assert station("weather-archive", "--json").ok().json["counts"] == {"New>Archived": 1}


def test_killed_anywhere_and_twice_at_once(station: Callable[..., Result], home: Path) -> None:
    for number in range(40):
        (home / f"weather/inbox/{number}.csv").write_text("time,\n" * 1000)
    env = environment(home, {"PYTHONPATH": str(PLACE)})
    argv = [sys.executable, str(PLACE / "weather-archive")]
    for _ in range(3):
        archived = len(list((home / "weather/archive").glob("*.csv")))
        with subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL) as one:
            more = archived + 3
            wait_until(lambda more=more: len(list((home / "weather/archive").glob("*.csv"))) >= more, 60, "three more")
            one.kill()
    both = [subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert {one.wait(60) for one in both} <= {0, 1}
    assert figures(station)["counts"] == {"New": 0, "Archived": 42, "Bad": 1}
    assert [path.name for path in (home / "weather/inbox").iterdir()] == ["odd.csv"]
    station("dm-check").ok()


def test_its_crontab_lines_and_its_leases(station: Callable[..., Result]) -> None:
    shown = station("dm-crontab", "show", "weather").ok().out
    (line,) = [line for line in shown.splitlines() if line.startswith("*/10 * * * * ")]
    assert line.endswith("weather-archive")
    assert "nobody holds anything" in station("dm-leases").ok().out


def test_the_shell_completes_it(station: Callable[..., Result]) -> None:
    env = {"_DM_COMMAND_COMPLETE": "bash_complete", "COMP_WORDS": "dm-command halt wea", "COMP_CWORD": "2"}
    assert station("dm-command", env=env).ok().out.split() == ["plain,weather", "plain,weather/archive"]


@pytest.mark.parametrize("fault", ["raise ZeroDivisionError('broken')", "PIPELINE = 3", "import nothing_there", "def x(:"])
def test_a_broken_module_takes_nothing_down_and_is_named(station: Callable[..., Result], tmp_path: Path, fault: str) -> None:
    broken = tmp_path / "weather_station"
    broken.mkdir()
    (broken / "__init__.py").touch()
    (broken / "register.py").write_text(f"{fault}\n")
    env = {"PYTHONPATH": str(tmp_path)}
    for name in ("dm-monitoring", "dm-command", "dm-check", "dm-leases", "dm-trace"):
        found = station(name, *(["x"] if name == "dm-trace" else []), env=env).gave(0, 1)
        assert name == "dm-leases" or "weather" in found.err, name
    checked = station("dm-train-ok", env=env).gave(3)
    assert "weather" in checked.out.splitlines()[0]
    station("migrate-monitor", env=env).ok()
    held = station("dm-command", "halt", "weather", env=env).ok()
    assert "halt of weather" in held.out, "it can be halted all the same"


@pytest.mark.parametrize("function", ["trace", "search", "check"])
def test_a_function_that_fails_takes_nothing_down_and_is_named(
    station: Callable[..., Result], home: Path, tmp_path: Path, function: str
) -> None:
    text = (PLACE / "weather_station/register.py").read_text()
    for name in ("tables", "archive", "looks", "__init__"):
        (tmp_path / "weather_station").mkdir(exist_ok=True)
        (tmp_path / f"weather_station/{name}.py").write_text((PLACE / f"weather_station/{name}.py").read_text())
    changed = text.replace(f"looks:{function}", f"nothing:{function}")
    assert changed != text
    (tmp_path / "weather_station/register.py").write_text(changed)
    env = {"PYTHONPATH": str(tmp_path)}
    (home / "migrate/TODO/ListOfLFNs/m.txt").write_text("/a/b\n")
    if function == "check":
        assert "weather: no-check: weather: its check failed: ModuleNotFoundError" in station("dm-check", env=env).gave(1).out
    else:
        found = station("dm-trace", "a/b" if function == "search" else "/a/b", env=env).ok()
        assert "migrate file /a/b" in found.out
        assert "the pipeline weather can't be asked: ModuleNotFoundError" in found.err
