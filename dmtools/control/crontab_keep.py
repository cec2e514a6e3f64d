"""What dm-crontab does with a crontab: puts our blocks in, takes them out, says what differs."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from dmtools.command.run import Context, Refused
from dmtools.control import crontabs
from dmtools.control.crontab_of import CrontabOf
from dmtools.control.crontabs import Block, Damaged, Place
from dmtools.control.entry import Pipeline

NOT_IN_CRON = {"DMTOOLS_DATABASE_URL": "[database] url", "X509_USER_PROXY": "[credentials] proxy"}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be: what, which, why, and what to do."""

    what: str
    subject: str
    why: str
    next: str


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """No other dm-crontab of this HOME works meanwhile."""
    with (home / "run" / "dm-crontab.lock").open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def owner_problem(table: CrontabOf, home: Path) -> str:
    """Why the lines of this HOME don't belong into this user's crontab; empty when they do."""
    uid = home.stat().st_uid
    if uid == table.entry.pw_uid:
        return ""
    try:
        owner = pwd.getpwuid(uid).pw_name
    except KeyError:
        owner = f"the user {uid}"
    return f"HOME {home} belongs to {owner}, and these lines would run as {table.user}"


def read(table: CrontabOf, home: Path) -> tuple[str, list[Block]]:
    """The crontab and our blocks in it. Raises Unavailable, and Refused when our marks are damaged."""
    text = table.read()
    try:
        return text, crontabs.blocks(text, home)
    except Damaged as problem:
        raise Refused(f"the crontab of {table.user} was left as it is: {problem}") from None


def difference(before: str, after: str) -> list[str]:
    """What would change, as a diff without its head."""
    lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def findings(table: CrontabOf, text: str, found: list[Block], entries: dict[str, Pipeline], place: Place) -> Iterator[Finding]:
    """What is not as `install` would make it."""
    home = place.settings.home
    if found and (why := owner_problem(table, home)):
        yield Finding("wrong user", table.user, why, "take them out: dm-crontab remove; then install them as HOME's owner")
    for name, entry in entries.items():
        yield from _of_pipeline(name, entry, [block for block in found if block.pipeline == name], place)
    commands = {f"{name}-{component.name}" for name, entry in entries.items() for component in entry.components if component.cron}
    for number, command in crontabs.strays(text, home, commands):
        why = f"line {number} runs it outside of our block"
        yield Finding("a line of its own", command, why, "if it is for this HOME, take it out: crontab -e")
    if said := table.proof(text):
        yield Finding("cron refuses it", f"the crontab of {table.user}", said, "mend that line: crontab -e")
    for variable, key in NOT_IN_CRON.items():
        if os.environ.get(variable):
            yield Finding("not in cron", f"${variable}", "it is set here, and cron's commands won't see it", f"set {key} instead")


def _of_pipeline(name: str, entry: Pipeline, found: list[Block], place: Place) -> Iterator[Finding]:
    if not found:
        yield Finding("not installed", name, "the crontab has no lines of it", f"dm-crontab install {name}")
        return
    often = f" --every {found[0].every}" if found[0].every else ""
    step = f"dm-crontab install {name}{often}"
    if len(found) > 1:
        yield Finding("installed twice", name, f"its block stands there {len(found)} times", step)
    for line in difference(found[0].text, crontabs.render(entry, place, found[0].every)):
        if line[:1] in "+-" and line[1:].strip():
            word = "lacks" if line[0] == "+" else "has"
            yield Finding("differs", name, f"the crontab {word}: {line[1:]}", step)


def twice(table: CrontabOf, home: Path, blocks: dict[str, str]) -> list[tuple[int, str]]:
    """(line, command) of the crontab's lines outside our blocks that run what these blocks run."""
    mine = {name for text in blocks.values() for name in re.findall(r"/run/([a-z0-9-]+)\.lock", text)}
    return crontabs.strays(table.read(), home, mine)


def chosen_blocks(found: Iterable[Block], names: tuple[str, ...]) -> dict[str, str]:
    """The pipelines whose blocks go, each with an empty block in its place."""
    return {block.pipeline: "" for block in found if not names or block.pipeline in names}


def change(context: Context, table: CrontabOf, action: str, blocks: dict[str, str]) -> bool:
    """Writes the crontab with each of these blocks in its place (an empty one: taken out) and says what it did.

    Gives whether it changed. Raises Refused, Unavailable; then the crontab is as it was.
    """
    with nullcontext() if context.dry_run else alone(context.home):
        before = after = read(table, context.home)[0]
        for pipeline, block in blocks.items():
            after = crontabs.put(after, context.home, pipeline, block)
        if before == after:
            context.say(f"nothing to {action}: the crontab of {table.user} is as it should be")
            return False
        if said := table.proof(after):
            raise Refused(f"cron would refuse the crontab of {table.user}, so it was left as it is: {said}")
        context.plan(f"{action} {', '.join(blocks)} in the crontab of {table.user}")
        if context.dry_run:
            for line in difference(before, after):
                context.say(line)
            return False
        table.write(after)
    context.say(f"the crontab of {table.user}: {action} of {', '.join(blocks)} is done, every other line is as it was")
    return True


def check(context: Context, table: CrontabOf, entries: dict[str, Pipeline]) -> dict[str, str]:
    """Says what differs, as problems of the report; gives the blocks that are there. Raises Refused, Unavailable."""
    text, found = read(table, context.home)
    for finding in findings(table, text, found, entries, crontabs.here(context.settings)):
        context.problem(finding.what, finding.subject, why=finding.why, left="nothing was changed", next=finding.next)
    if not context.report.errors:
        context.say(f"the crontab of {table.user} is as it should be: {', '.join(entries)}")
    return {block.pipeline: block.text for block in found}


def record(context: Context, table: CrontabOf, action: str, blocks: dict[str, str], *, changed: bool) -> dict[str, Any]:
    """The object for --json."""
    return {
        "schema": 1,
        "user": table.user,
        "home": str(context.home),
        "action": action,
        "changed": changed,
        "pipelines": {name: {"lines": [t for t in text.splitlines() if t[:1] != "#"]} for name, text in blocks.items()},
        "errors": [error.record() for error in context.report.errors],
    }
