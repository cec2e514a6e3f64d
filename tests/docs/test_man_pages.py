"""Every command has a manual page that `man` finds and renders without a warning, with all that a page should say."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support import ROOT, environment, run

pytestmark = pytest.mark.needs("man")
COMMANDS = sorted(path.name for path in (ROOT / "bin").iterdir() if not path.name.startswith("."))
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLE", "CRON", "EXIT STATUS", "FILES", "SEE ALSO"]


def shown(*words: str) -> subprocess.CompletedProcess[str]:
    env = environment(extra={"MANWIDTH": "200", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""})
    return subprocess.run(["man", "--warnings", "-E", "UTF-8", *words], env=env, capture_output=True, text=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_its_page(command: str) -> None:
    found = shown("-l", str(ROOT / f"docs/man/{command}.1"))
    assert (found.returncode, found.stderr) == (0, "")
    heads = re.findall(r"^([A-Z][A-Z ]+)$", found.stdout, re.MULTILINE)
    assert [head for head in heads if head != "ENVIRONMENT"] == SECTIONS
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", run(command, "--help").ok().out))
    assert {option for option in options if option not in found.stdout} == set(), "every option of --help"
    example = found.stdout.partition("\nEXAMPLE\n")[2].partition("\nCRON\n")[0]
    assert re.match(rf"\s+(bin/)?{command}\b", example)


def test_there_is_no_page_of_what_is_gone() -> None:
    assert sorted(path.stem for path in (ROOT / "docs/man").iterdir()) == COMMANDS


def test_a_page_is_found_by_its_commands_name() -> None:
    """`man` looks beside the directories of $PATH, and dm-setup has put the pages there."""
    env = environment(extra={"PATH": f"{ROOT}/.venv/bin:/usr/bin:/bin"})
    found = subprocess.run(["man", "-w", "dm-trace"], env=env, capture_output=True, text=True)
    assert found.stdout.strip().endswith("man1/dm-trace.1"), found.stderr
