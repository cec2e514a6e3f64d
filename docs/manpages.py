"""Manual pages of all commands, made from the commands themselves: click's and argparse's options, and their own words.

click-man would not do: it knows installed entry points and click alone, and has no place for examples, exit codes and files.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs/man"
# Those that are no click commands, for they run before anything is installed: where their argparse parser is.
STANDARD_LIBRARY = {"dm-demo": "demonstrating", "dm-setup": "setting_up", "dm-test": "testing"}
EXIT_CODES = {
    "dm-train-ok": [
        ("0", "OK"),
        ("1", "WARNING"),
        ("2", "CRITICAL"),
        ("3", "UNKNOWN: the check could not be made, or wrong use"),
    ]
}
FILES = {
    "HOME/dmtools.toml": "the settings; without a HOME /etc/dmtools/dmtools.toml",
    "HOME/dmtools.db": "the tables, unless [database] url names others",
    "HOME/log/{name}-*.log": "what the command did",
}
Options = list[tuple[str, str]]


@dataclass
class Page:
    """What a manual page says. A paragraph that begins with a backspace, as click wants it, keeps its lines."""

    name: str
    says: str
    synopsis: list[str]
    text: str
    options: list[tuple[str, Options]] = field(default_factory=list)  # by group: its heading ("" for the command's own)
    example: str = ""
    cron: str = ""


def pages(says: dict[str, str]) -> dict[Path, str]:
    """Every command's page; `says`: its name -> its first line."""
    codes = _exit_codes((ROOT / "docs/handbook.md").read_text("utf-8"))
    found = {}
    for name, line in says.items():
        page = _of_argparse(name, line) if name in STANDARD_LIBRARY else _of_click(name, line)
        text = "\n".join(_roff(page, EXIT_CODES.get(name, codes), sorted(says))) + "\n"
        found[PAGES / f"{name}.1"] = text
    return found


def _exit_codes(handbook: str) -> Options:
    part = handbook.partition("| code | meaning |")[2].partition("\n\n")[0]
    return [(row[0], row[1]) for row in re.findall(r"^\| ([\d, ]+) \| (.*) \|$", part, re.MULTILINE)]


# ---- from the commands -------------------------------------------------------------------------------------------------


def _of_click(name: str, says: str) -> Page:
    command: click.Command = runpy.run_path(str(ROOT / "bin" / name))["main"]
    text, example, cron = _ends(command)
    page = Page(name, says, [_usage(command, name)], text, [("", _options(command))], example, cron)
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for word in command.list_commands(context):
            below = command.get_command(context, word)
            assert below is not None
            page.synopsis.append(_usage(below, f"{name} {word}"))
            about, _, _ = _ends(below)
            page.text += f"\n\n{name} {word}: {about}"
            page.options.append((f"{name} {word}", _options(below)))
    return page


def _usage(command: click.Command, name: str) -> str:
    return " ".join([name, *command.collect_usage_pieces(click.Context(command, info_name=name))])


def _options(command: click.Command) -> Options:
    context = click.Context(command, **command.context_settings)
    records = [one.get_help_record(context) for one in command.get_params(context) if isinstance(one, click.Option)]
    return [record for record in records if record is not None]


def _ends(command: click.Command) -> tuple[str, str, str]:
    """(the text, its example, its cron line): what every command's help ends with."""
    text, ends = f"{inspect.cleandoc(command.help or '')}\n\n{command.epilog or ''}", {}
    for word in ("Example", "Cron"):
        found = re.search(rf"\n*\x08\n{word}:\n((?:  .*\n?)+)", text)
        assert found, (word, text)
        ends[word] = "\n".join(line.strip() for line in found[1].splitlines())
        text = text.replace(found[0], "\n")
    return text.strip(), ends["Example"], ends["Cron"]


def _of_argparse(name: str, says: str) -> Page:
    parser: argparse.ArgumentParser = importlib.import_module(f"dmtools.house.{STANDARD_LIBRARY[name]}").parser()
    example, _, cron = (parser.epilog or "").partition("cron:")
    lines = [line.strip() for line in example.partition("example:")[2].splitlines() if line.strip()]
    options = []
    for action in parser._actions:
        if action.help is not argparse.SUPPRESS:
            value = f" {action.metavar}" if action.metavar else ""
            options.append((", ".join(action.option_strings) + value, action.help or ""))
    return Page(name, says, [f"{name} [OPTIONS]"], parser.description or "", [("", options)], "\n".join(lines), cron.strip())


# ---- as roff -----------------------------------------------------------------------------------------------------------


def _roff(page: Page, codes: Options, commands: list[str]) -> Iterator[str]:
    yield f'.TH {page.name.upper()} 1 "" dmtools "dmtools"'
    yield from (".nh", ".ad l")  # names are to be copied as they are
    yield from (".SH NAME", f"{_safe(page.name)} \\- {_safe(page.says.rstrip('.'))}", ".SH SYNOPSIS", ".nf")
    yield from (
        f"\\fB{_safe(line.partition(' [')[0])}\\fR{_safe(line[len(line.partition(' [')[0]) :])}" for line in page.synopsis
    )
    yield from (".fi", ".SH DESCRIPTION", *_paragraphs(page.text), ".SH OPTIONS")
    for heading, options in page.options:
        yield from ((f".SS {_safe(heading)}",) if heading else ())
        for flags, about in options:
            yield from (".TP", f"\\fB{_safe(flags)}\\fR", _line(" ".join(about.split())))
    yield from (".SH EXAMPLE", *_kept(page.example), ".SH CRON", *_kept(page.cron), ".SH EXIT STATUS")
    for code, meaning in codes:
        yield from (".TP", f"\\fB{code}\\fR", _line(meaning))
    if page.name not in STANDARD_LIBRARY:
        yield from (".SH ENVIRONMENT", ".TP", "\\fBDMTOOLS_HOME\\fR, \\fBDMTOOLS_CONFIG\\fR")
        yield "HOME and the settings file, when no option names them"
    yield ".SH FILES"
    files = {".venv": "made by dm-setup"} if page.name in STANDARD_LIBRARY else FILES
    for path, about in files.items():
        yield from (".TP", f"\\fI{_safe(path.format(name=page.name))}\\fR", _line(about))
    family = page.name.partition("-")[0]
    near = [name for name in commands if name != page.name and (name.startswith(f"{family}-") or name in ALWAYS)]
    yield from (".SH SEE ALSO", ", ".join(f"\\fB{_safe(name)}\\fR(1)" for name in near) + ".", ".PP", _line(WHERE))


ALWAYS = ("dm-command", "dm-monitoring", "dm-trace", "dm-train-ok")
WHERE = "The pages of docs/: handbook.md for operators and shifters, troubles.md for what to do when, index.md for all."


def _paragraphs(text: str) -> Iterator[str]:
    for number, part in enumerate(re.split(r"\n{2,}", text.strip())):
        yield from ((".PP",) if number else ())
        if part.startswith("\b\n"):
            yield from _kept(part[2:])
        else:
            yield _line(" ".join(part.split()))


def _kept(text: str) -> Iterator[str]:
    yield from (".nf", *(_line(line) for line in text.splitlines()), ".fi")


def _line(text: str) -> str:
    """Text at the begin of a line, where a dot or a quote would be a request."""
    return re.sub(r"^(?=[.'])", r"\\&", _safe(text))


def _safe(text: str) -> str:
    """What roff would take for its own, and characters that must be copied as they are."""
    for plain, roff in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("~", "\\(ti"), ("^", "\\(ha")):
        text = text.replace(plain, roff)
    return text
