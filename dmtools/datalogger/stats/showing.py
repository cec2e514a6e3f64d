"""The figures of files that a person names, on the console or as JSON; nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.datalogger import wall
from dmtools.datalogger.hdf5 import Damaged
from dmtools.datalogger.home import Home
from dmtools.datalogger.stats import store, summing


def show(this: Pass, paths: Sequence[Path]) -> None:
    """Reads each file once; one that can't be read is told, and holds up no other."""
    home, shown = Home.of(this), []
    scratch = home.draft if home.draft.is_dir() else this.home
    for path in paths:
        try:
            found = list(summing.of_file(path, scratch, clock.now().timestamp()))
        except (Damaged, FileNotFoundError, IsADirectoryError, PermissionError) as problem:
            why = problem.strerror or "" if isinstance(problem, OSError) else str(problem)
            this.problem("not read", str(path), why=why, left="nothing of it is shown", next="look at it: h5ls may say more")
            continue
        shown.append({"file": str(path), "tables": [asdict(one) for one in found]})
        for line in _lines(path, found):
            this.context.say(line)
    if this.context.as_json and not this.report.errors:
        this.context.answer = {"files": shown}


def _lines(path: Path, found: Sequence[store.Statistics]) -> list[str]:
    lines = [str(path)] if found else [f"{path}: no tables"]
    for one in found:
        start, end = (wall.text(datetime.fromtimestamp(at, UTC)) for at in (one.start, one.end))
        share = f", {100 * one.complete:.2f} % of what there should be" if one.complete is not None else ""
        lines += [f"  {one.name}  {start} to {end}  {one.state}: {one.count} rows{share}"]
        gaps = f"{one.gaps} gaps of {one.gap_seconds:.3f} s" if one.gap_seconds is not None else "gaps: not known"
        said = f"{one.doubles} doubles, {one.stars} *****, {one.non_finite} not finite, longest run of one value {one.stuck}"
        lines += [f"    {gaps}, {said}"]
        lines += [f"    {_spread(f'value [{one.units}]' if one.units else 'value', one.value)}"]
        lines += [f"    {_spread('interval [s]', one.interval)}"]
    return lines


def _spread(what: str, spread: store.Spread) -> str:
    figures: dict[str, Any] = asdict(spread)
    return f"{what}: " + "  ".join(f"{name} {'-' if value is None else format(value, '.9g')}" for name, value in figures.items())
