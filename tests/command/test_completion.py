"""Completion in a real bash, by what click makes: options, control words, pipelines and their components."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ROOT, environment

Complete = Callable[..., list[str]]


@pytest.fixture
def tab(home: Path, short_tmp: Path) -> Complete:
    """`tab("dm-command", "ha")`: what bash offers for the last word."""
    place = short_tmp / "bin"
    place.mkdir()

    def press(*words: str, home: Path | None = home, **env: str) -> list[str]:
        name = words[0]
        (place / name).write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/bin/{name} "$@"\n')
        (place / name).chmod(0o755)
        variable = f"_{name.upper().replace('-', '_')}_COMPLETE"
        script = f"""set -u
            source <({variable}=bash_source {name})
            COMP_WORDS=({" ".join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}
            {variable.lower().replace("_complete", "_completion")} {name}
            printf '%s\\n' "${{COMPREPLY[@]-}}"
            complete -p {name} >&2"""
        extra = {"PATH": f"{place}:/usr/bin:/bin", **env}
        done = subprocess.run(["bash", "-c", script], env=environment(home, extra), capture_output=True, text=True)
        assert f" {name}" in done.stderr, "bash knows how to complete it"
        assert "Traceback" not in done.stderr
        return done.stdout.split()

    return press


def test_options(tab: Complete) -> None:
    assert tab("dm-command", "--re") == ["--reason"]
    assert tab("migrate-consumer", "--li") == ["--lists"]
    assert tab("dm-sim", "ft") == ["fts"]


def test_control_words_pipelines_and_components(tab: Complete) -> None:
    assert tab("dm-command", "") == ["run", "halt", "drain"]
    assert tab("dm-command", "ha") == ["halt"]
    assert tab("dm-command", "halt", "mig")[0] == "migrate"
    assert tab("dm-command", "halt", "migrate/p") == ["migrate/producer"]
    assert tab("dm-train-ok", "--component", "migrate/mo") == ["migrate/monitor"]
    assert tab("dm-monitoring", "m") == ["migrate"]
    assert tab("dm-crontab", "in") == ["install"]
    assert tab("dm-crontab", "install", "m") == ["migrate"]


def test_without_a_home_or_with_wrong_settings_nothing_is_offered(tab: Complete, home: Path) -> None:
    assert tab("dm-command", "halt", "m", home=None) == []
    assert tab("dm-command", "--home", str(home), "halt", "migrate/t", home=None) == ["migrate/triage"]
    (home / "dmtools.toml").write_text("nonsense")
    assert tab("dm-command", "halt", "m") == []
