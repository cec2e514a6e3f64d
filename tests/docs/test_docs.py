"""The pages say what the code says, name every command, class, state and setting, and lead nowhere that isn't there."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from dmtools import settings
from dmtools.migrate.states import STATES
from dmtools.transfers.errors import CLASSES
from dmtools.transfers.lists import list_states
from tests.support import ROOT, run

COMMANDS = sorted(path.name for path in (ROOT / "bin").iterdir() if not path.name.startswith("."))
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
GENERATED = re.compile(r"<!-- generated: [\w-]+ -->.*?<!-- end -->", re.DOTALL)
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
# Pages on what will be there one day, too.
FORESEE = ("from-the-originals.md", "CHANGELOG.md", "CONTRIBUTING.md")


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_what_comes_from_the_code_is_as_the_code_is() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs/generate", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme_and_in_the_index(command: str) -> None:
    assert f"`{command}" in page("README.md")
    assert f"`{command}`" in page("docs/index.md")


def test_every_state_class_and_setting_has_its_place() -> None:
    for states in (STATES, list_states("migrate")):
        assert not [s.name for s in states.states if f"`{s.name}` | {s.meaning}" not in page("docs/migrate.md")]
    assert not [name for name in CLASSES if f"| `{name}` |" not in page("docs/handbook.md")]
    keys = [key for key in settings.known_keys() if key != "pipelines"]
    assert not [key for key in keys if f"| `{key}` |" not in page("docs/configuration.md")]


def test_every_page_is_in_the_index() -> None:
    index = page("docs/index.md")
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "index.md"]
    assert not [name for name in pages if f"({name}" not in index]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_link_is_dead(path: Path) -> None:
    text = FENCE.sub("", path.read_text("utf-8"))
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        there = (path.parent / place).resolve() if place else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            dead.append(target)
    assert not dead


@cache
def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@cache
def help_of(command: str) -> str:
    more = run(command, "dqm", "--help").ok().out if command == "dm-sim" else ""
    return run(command, "--help").ok().out + more


@pytest.mark.parametrize("path", [p for p in PAGES if p.name not in FORESEE], ids=lambda path: path.name)
def test_no_page_speaks_of_a_command_or_an_option_that_is_not_there(path: Path) -> None:
    text = GENERATED.sub("", path.read_text("utf-8"))
    text = text.replace('class="dqm-page"', "")
    named = set(re.findall(r"(?<![\w/.-])((?:dm|migrate|daq|lta|dqm|datalogger)-[a-z]+(?:-[a-z]+)*)(?![\w.-])", text))
    assert not named - set(COMMANDS)
    wrong = []
    for command in named:
        for rest in re.findall(rf"(?<![\w/.-]){command}(?![\w-])([^\n`|;#]*)", text):
            wrong += [
                f"{command} {option}" for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest) if option not in help_of(command)
            ]
    assert not wrong
