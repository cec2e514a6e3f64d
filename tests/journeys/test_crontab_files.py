"""The crontabs: cron takes them, their commands are there, their lines are locked, and they are silent when all is well."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools import pipelines, settings
from dmtools.demo import crontab
from tests.support import ROOT, Server, environment, run

CRONTABS = sorted((ROOT / "cron").glob("*.crontab"))
WRAPPED = re.compile(r'flock -n -E 0 "\$DMTOOLS_HOME/run/([a-z-]+)\.lock" (([a-z]+-[a-z-]+).*)')


def lines(path: Path) -> list[crontab.Line]:
    return crontab.read(path).lines


def test_there_are_crontabs() -> None:
    assert [path.name for path in CRONTABS][:1]
    assert {"daq.crontab", "migrate.crontab"} <= {path.name for path in CRONTABS}


@pytest.mark.needs("cron")
@pytest.mark.parametrize("path", CRONTABS, ids=lambda path: path.stem)
def test_cron_takes_it(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(["crontab", "-n", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    broken = tmp_path / "broken"
    broken.write_text(re.sub(r"^([^#\n]*)\*/?\d* ", r"\1*/x ", path.read_text(), count=1, flags=re.MULTILINE))
    assert subprocess.run(["crontab", "-n", str(broken)], capture_output=True).returncode != 0


@pytest.mark.parametrize("path", CRONTABS, ids=lambda path: path.stem)
def test_each_line_is_locked_by_its_own_lock_runs_a_command_of_ours_and_holds_no_bare_percent(path: Path) -> None:
    raw = [text for text in path.read_text("utf-8").splitlines() if re.match(r"[\d*@]", text)]
    assert raw
    assert not [text for text in raw if re.search(r"(?<!\\)%", text)]
    found = [WRAPPED.fullmatch(line.command) for line in lines(path)]
    assert all(found)
    named = [(match[1], match[3]) for match in found if match]
    assert not [command for lock, command in named if not f"{lock}-".startswith(f"{command}-")]
    assert not [command for _, command in named if not (ROOT / "bin" / command).exists()]
    locks = [match[1] for match in found if match]
    assert len(set(locks)) == len(locks)


@pytest.mark.parametrize("path", CRONTABS, ids=lambda path: path.stem)
def test_the_lines_are_those_that_the_pipeline_declares(path: Path) -> None:
    entry = pipelines.load(path.stem, settings.Settings(home=Path("/none")))
    declared = [(c.cron, f"{c.command or f'{entry.name}-{c.name}'} {c.arguments}".strip()) for c in entry.components if c.cron]
    found = [WRAPPED.fullmatch(line.command) for line in lines(path)]
    assert [(line.when, match[2]) for line, match in zip(lines(path), found, strict=True) if match] == declared


@pytest.mark.parametrize("path", CRONTABS, ids=lambda path: path.stem)
def test_the_lines_say_nothing_when_all_is_well_and_when_another_holds_the_lock(
    path: Path, home: Path, serve: Callable[..., Server]
) -> None:
    if path.stem == "lta":
        serve("lta-rest-server", home=home)  # lta-nersc-client has nobody else to ask
    if path.stem == "datalogger":
        settings = home / "dmtools.toml"  # few: a day of all events and devices is millions of rows
        own = 'datalogger.events = ["00"]\ndatalogger.devices = [{name = "B:VIMIN", hertz = 0.1}]\n'
        settings.write_text(own + settings.read_text("utf-8"), "utf-8")
        serve("dm-sim", "datalogger", "--hertz", "0.1", home=home)
        run("dm-command", "halt", "datalogger/timeline", home=home).ok()  # it would go on for ever else
    if path.stem == "dqm":
        run("dm-command", "halt", "dqm", home=home).ok()  # its commands go on for ever else
    env = {**environment(home), "PATH": f"{bin_of(home)}:/usr/bin:/bin"}
    for line in lines(path):
        assert quiet(line, env) == (0, b"")
        lock = home / "run" / f"{line.label}.lock"
        with subprocess.Popen(["flock", str(lock), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdin
            assert other.stdout
            other.stdin.write(b"held\n")
            other.stdin.flush()
            assert other.stdout.readline() == b"held\n"
            assert quiet(line, env) == (0, b"")
            other.stdin.close()


def quiet(line: crontab.Line, env: dict[str, str]) -> tuple[int, bytes]:
    done = subprocess.run(["/bin/sh", "-c", line.command], env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    return done.returncode, done.stdout + done.stderr


def bin_of(home: Path) -> Path:
    """The commands as .venv/bin has them: run by this Python."""
    import sys

    place = home / "bin"
    place.mkdir(exist_ok=True)
    for command in (ROOT / "bin").glob("[a-z]*-*"):
        script = place / command.name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{command}" "$@"\n')
        script.chmod(0o755)
    return place


def test_what_a_line_does_under_cron_is_what_the_demo_does(tmp_path: Path) -> None:
    path = tmp_path / "crontab"
    path.write_text('# a comment\n\nA=b c\nQ = "x y"\n5 4 * * 1-5  run \\% me%one%two \n@daily other\n')
    found = crontab.read(path)
    assert found.variables == {"A": "b c", "Q": "x y"}
    assert found.lines == [crontab.Line("5 4 * * 1-5", "run % me", "one\ntwo"), crontab.Line("@daily", "other")]
    path.write_text("* * * broken\n")
    with pytest.raises(crontab.NoCrontab, match="line 1"):
        crontab.read(path)


def test_the_lock_directory_is_there_in_a_new_home(home: Path) -> None:
    assert (home / "run").is_dir()
    run("dm-config", "check", home=home).ok()
