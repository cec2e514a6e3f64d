"""One comparison from the options to the published lists."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from dmtools import clock
from dmtools.command import Context, Refused
from dmtools.migrate.compare import tell
from dmtools.migrate.compare.guard import Guard, list_time
from dmtools.migrate.compare.judge import Comparison, Tally
from dmtools.migrate.compare.lists import NameList, form_of, refuse_missing
from dmtools.migrate.compare.merge import TOLD
from dmtools.migrate.compare.results import LISTS, SUMMARY, Results, workplace
from dmtools.settings import Migrate, find

_STOCK = Path("/etc/dmtools/dmtools.toml")


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """The command's options as they were given."""

    out: Path | None = None
    tmp: Path | None = None
    min_age: float | None = None
    dump_time: str | None = None
    catalogue_time: str | None = None
    dump_columns: str = "name"
    catalogue_columns: str = "name"
    dump_separator: str = "tab"
    catalogue_separator: str = "tab"
    strip: str = ""
    percent_encoded: str = "none"
    allow_empty: bool = False


def run(context: Context, dump: Path, catalogue: Path, wishes: Wishes) -> bool:
    """Compares, publishes, tells. True when all is equal. Raises Refused or Unavailable; then nothing was published."""
    for path in (dump, catalogue):
        refuse_missing(path)
    dump_form = form_of(wishes.dump_columns, wishes.dump_separator, wishes.strip, wishes.percent_encoded in ("dump", "both"))
    catalogue_form = form_of(
        wishes.catalogue_columns, wishes.catalogue_separator, "", wishes.percent_encoded in ("catalogue", "both")
    )
    home, default_age = _home(context)
    out = wishes.out or (home / "migrate" / "compare" if home else Path("compare"))
    out = out.absolute()
    temporary = wishes.tmp or (home / "run" if home else out)
    _refuse_places(out, (dump, catalogue))
    dump_time, dump_from = list_time(dump, wishes.dump_time, "dump")
    catalogue_time, catalogue_from = list_time(catalogue, wishes.catalogue_time, "catalogue")
    hours = default_age if wishes.min_age is None else wishes.min_age
    guard = Guard(dump_time, catalogue_time, hours * 3600)
    if context.dry_run:
        judged = f"none is called dark: {guard.blocked}" if guard.blocked else f"dark: {hours:g} h older than the dump"
        context.plan(
            f"compare {dump} ({_when(dump_time, dump_from)}) with {catalogue} ({_when(catalogue_time, catalogue_from)}); {judged}"
        )
        context.plan(f"leave {', '.join(LISTS)} and {SUMMARY} in {out}; sort below {temporary}")
        return True
    made_here = not out.exists()
    try:
        with workplace(out) as place, workplace(temporary) as sorting, closing(Results(out, place)) as results:
            empty = wishes.allow_empty
            stored = NameList(dump, dump_form, "dump", BadLines(context, results), may_be_empty=empty)
            known = NameList(catalogue, catalogue_form, "catalogue", BadLines(context, results), may_be_empty=empty)
            sides = tell.Listing(stored, dump_time, dump_from), tell.Listing(known, catalogue_time, catalogue_from)
            return _compared(context, *sides, guard, results, sorting)
    finally:
        if made_here:
            _remove_if_empty(out)


def _compared(
    context: Context, dump: tell.Listing, catalogue: tell.Listing, guard: Guard, results: Results, sorting: Path
) -> bool:
    tally: Tally = Comparison(dump.names, catalogue.names, guard, results).run(sorting)
    tell.warnings(context, dump, catalogue, tally, guard)
    found = tell.answer(dump, catalogue, tally, guard, results)
    found["started"] = clock.iso(context.report.started)
    found["seconds"] = round((clock.now() - context.report.started).total_seconds(), 3)
    found["errors"] = [error.record() for error in context.report.errors]
    results.publish(found)
    context.answer = found
    tell.summary(context, found)
    counts = ", ".join(f"{count} {kind}" for kind, count in found["counts"].items())
    context.log(f"compared {dump.names.path} with {catalogue.names.path}: {counts}; lists in {results.directory}")
    return bool(found["equal"])


def _home(context: Context) -> tuple[Path | None, float]:
    """(HOME or None, compare_min_age_hours). No HOME named and none at the usual place: the default. Raises SettingsError."""
    _, file = find(context.config, context.home_option)
    if file == _STOCK and not file.exists() and context.config is None and context.home_option is None:
        return None, float(Migrate().compare_min_age_hours)
    return context.home, float(context.settings.migrate.compare_min_age_hours)


def _refuse_places(out: Path, lists: tuple[Path, ...]) -> None:
    if "ListOfLFNs" in out.parts:
        raise Refused(f"{out} is where master lists are taken from; dark files would be copied: name another --out")
    targets = {os.path.realpath(out / name) for name in (*LISTS, SUMMARY)}
    for path in lists:
        if os.path.realpath(path) in targets:
            raise Refused(f"{path} would be replaced by the result; name another --out")


class BadLines:
    """Sets bad lines aside and tells the first few by number."""

    def __init__(self, context: Context, results: Results) -> None:
        self._context, self._results, self._count = context, results, 0

    def __call__(self, title: str, number: int, why: str, line: bytes) -> None:
        """One line that can't be used."""
        self._results.bad_line(title, number, why, line)
        self._count += 1
        if self._count <= TOLD:
            subject, left = f"{title} line {number}", "set aside in invalid.txt, the rest was compared"
            self._context.problem("bad line", subject, why=why, left=left, next="mend the list, then compare again", failed=False)


def _when(time: object, source: str) -> str:
    return f"{time or 'time unknown'}, {source}"


def _remove_if_empty(out: Path) -> None:
    try:
        out.rmdir()
    except OSError:
        pass
