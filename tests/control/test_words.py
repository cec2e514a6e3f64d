"""dm-command: the words, who and why, the near name of a wrong one."""

from __future__ import annotations

import os
import pwd
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools import pipelines, settings
from tests.support import Result, run

Run = Callable[..., Result]
OURS = tuple(pipelines.present(settings.Settings(home=Path("/none")))[0])


def say(home: Path, *words: object) -> Result:
    return run("dm-command", *words, home=home)


def rows(home: Path) -> int:
    with sqlite3.connect(home / "dmtools.db") as raw:
        return int(raw.execute("SELECT COUNT(*) FROM hold").fetchone()[0])


def test_no_word_shows_how_things_stand(home: Path) -> None:
    found = say(home, "--json").ok().json
    assert found["state"] == "run"
    assert found["holds"] == []
    assert found["pipelines"]["migrate"]["state"] == "run"
    assert set(found["pipelines"]["migrate"]["components"]) >= {"producer", "consumer", "monitor"}
    assert say(home).ok().out == "".join(f"{name}: run\n" for name in OURS)
    assert rows(home) == 0


def test_who_when_why_and_until_are_kept_and_shown(home: Path) -> None:
    say(home, "HALT", "Migrate/Consumer", "--reason", "disk ü\nserver", "--until", "+6h").ok()
    (hold,) = say(home, "--json").ok().json["holds"]
    me = f"{pwd.getpwuid(os.geteuid()).pw_name}@{socket.gethostname()}"
    assert (hold["scope"], hold["state"], hold["kind"], hold["by"]) == ("migrate/consumer", "halt", "person", me)
    assert hold["reason"] == "disk ü\nserver"
    assert hold["since"] < hold["until"]
    shown = say(home).ok().out
    assert "migrate/consumer: halt" in shown
    assert "disk ü\\nserver" in shown, "a line break in a reason must not break the line"
    assert len(shown.splitlines()) == len(OURS) + 2


def test_the_default_is_all_and_run_ends_it(home: Path) -> None:
    assert say(home, "drain", "--json").ok().json["state"] == "drain"
    assert say(home, "--json").ok().json["pipelines"]["migrate"]["components"]["monitor"] == "drain"
    assert "ended: drain of all" in say(home, "run").ok().out
    assert say(home, "--json").ok().json["state"] == "run"


def test_run_ends_what_is_below_and_tells_what_is_above(home: Path) -> None:
    for words in (("halt", "migrate/monitor"), ("drain", "migrate"), ("halt", "all")):
        say(home, *words).ok()
    said = say(home, "run", "migrate").ok()
    assert said.out.count("ended:") == 2
    assert "migrate is held all the same: halt of all" in said.err
    assert [hold["scope"] for hold in say(home, "--json").ok().json["holds"]] == ["all"]


def test_the_last_word_for_a_scope_replaces_the_one_before(home: Path) -> None:
    for word in ("halt", "drain", "halt", "drain"):
        say(home, word, "migrate").ok()
    (hold,) = say(home, "--json").ok().json["holds"]
    assert hold["state"] == "drain"


def test_several_scopes_and_the_name_of_a_command(home: Path) -> None:
    say(home, "halt", "migrate/producer", "migrate-monitor", "migrate/producer").ok()
    found = say(home, "--json").ok().json
    assert [hold["scope"] for hold in found["holds"]] == ["migrate/producer", "migrate/monitor"]
    assert found["pipelines"]["migrate"]["components"]["consumer"] == "run"


def test_a_dry_run_places_nothing(home: Path) -> None:
    assert "halt: all" in say(home, "halt", "--dry-run").ok().out
    assert rows(home) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("hlat",), "no control word 'hlat'; did you mean 'halt'?"),
        (("stop",), "no control word 'stop'"),
        (("halt", "migrat"), "no pipeline 'migrat'; did you mean 'migrate'?"),
        (("halt", "migrate/consumr"), "no component 'consumr'; did you mean 'consumer'?"),
        (("halt", "migrate-monitr"), "did you mean 'migrate-monitor'?"),
        (("halt", "migrate/"), "no component ''"),
        (("halt", ""), "no pipeline ''"),
        (("halt", "all/x"), "no pipeline 'all'"),
        (("halt", "--until", "soon"), "'soon' is no time"),
        (("halt", "--until", "2001-01-01"), "over already"),
        (("run", "--until", "+1h"), "run has no end"),
        (("--reason", "x"), "belong to a word"),
        (("halt", "migrate", "migrat"), "did you mean"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(home: Path, words: tuple[str, ...], said: str) -> None:
    found = run("dm-command", *words, "--json", home=home).gave(2)
    assert said in found.err
    assert found.json["state"] == "failed"
    assert rows(home) == 0


def test_a_third_partys_pipeline_is_held_like_ours(tiny: Run) -> None:
    found = tiny("halt", "tiny", "--json", name="dm-command").ok().json
    assert found["pipelines"]["tiny"] == {"state": "halt", "components": {"work": "halt", "rest": "halt"}}
    assert found["pipelines"]["migrate"]["state"] == "run"


def test_a_third_partys_module_that_fails_takes_nothing_down(home: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "wrong.py").write_text("PIPELINE = 3\n")
    with (home / "dmtools.toml").open("a") as file:
        file.write('[pipelines]\nbroken = "broken"\nwrong = "wrong"\ngone = "gone.register"\n')
    env = {"PYTHONPATH": str(tmp_path)}
    found = run("dm-command", "halt", home=home, env=env).ok()
    assert "ZeroDivisionError" in found.err
    checked = run("dm-config", "check", home=home, env=env).gave(2).err
    for word in ("broken", "wrong.PIPELINE", "no module gone"):
        assert word in checked
    assert run("dm-monitoring", "--json", home=home, env=env).ok().json["pipelines"].keys() == set(OURS)
