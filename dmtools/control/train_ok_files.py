"""The outcome of a check for other monitors: a Prometheus textfile, a Checkmk local-check line; written whole or not at all."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from dmtools import durable
from dmtools.command.report import one_line
from dmtools.control.train_ok import CODES, UNITS, Judged, Outcome, number

PLAIN = re.compile(r"-?\d+(\.\d+)?")


def write(path: Path, text: str) -> None:
    """Replaces the file at once; other users' collectors may read it. Raises OSError."""
    old = os.umask(0o022)
    try:
        durable.write_file(path.absolute(), text.encode("utf-8", "backslashreplace"), 0o644)
    finally:
        os.umask(old)


def prometheus(outcome: Outcome) -> str:
    """All figures as gauges `dmtools_FAMILY_UNIT{home=,...}`, the verdict, and when it was given."""
    families: dict[str, list[str]] = defaultdict(list)
    for one in outcome.figures:
        if one.figure.value is not None:
            name = "_".join(filter(None, ("dmtools", one.figure.family, UNITS[one.figure.unit])))
            families[name].append(_sample(name, outcome, one.figure.labels, number(one.figure.value)))
    for name, value in (("trainok_state", str(CODES[outcome.state])), ("trainok_time_seconds", f"{outcome.at.timestamp():.3f}")):
        families[f"dmtools_{name}"].append(_sample(f"dmtools_{name}", outcome, {}, value))
    lines = ["# written by dm-train-ok; dmtools_trainok_state: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN"]
    for name, samples in families.items():
        lines += [f"# TYPE {name} gauge", *dict.fromkeys(samples)]
    return "\n".join(lines) + "\n"


def _sample(name: str, outcome: Outcome, labels: dict[str, str], value: str) -> str:
    both = {"home": outcome.home, **labels}
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in both.items())
    return f"{name}{{{inside}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def checkmk(outcome: Outcome) -> str:
    """One local-check line: state, service, metrics, text."""
    metrics = "|".join(_metrics(outcome)) or "-"
    service = one_line(f"dmtools TrainOK {outcome.home}").replace('"', "'")
    return f'{CODES[outcome.state]} "{service}" {metrics} {outcome.text()}\n'


def _metrics(outcome: Outcome) -> Iterator[str]:
    for one in outcome.figures:
        if one.figure.value is not None:
            name = re.sub(r"[^A-Za-z0-9_]+", "_", one.label).strip("_")
            yield f"{name}={number(one.figure.value)}{_levels(one)}"


def _levels(one: Judged) -> str:
    """Upper levels; Checkmk has no others for a local check whose state is given."""
    levels = [text if PLAIN.fullmatch(text) else "" for text in (one.figure.warning, one.figure.critical)]
    return f";{';'.join(levels)}".rstrip(";")
