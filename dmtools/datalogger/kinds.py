"""What tells devices from events: how each is asked for, how its rows look, what its table is called. All else is alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmtools.datalogger.asking import Logger
    from dmtools.datalogger.event_reading import EventReading
    from dmtools.datalogger.reading import Floats, Reading

DEVICE, EVENT = "device", "event"


@dataclass(frozen=True)
class Kind:
    """`columns`: name and type of each; `noun`: what people call its rows; `component`: the command that asks for it."""

    name: str
    noun: str
    component: str
    columns: tuple[tuple[str, str], ...]
    row_bytes: int

    def row_type(self) -> Any:
        """The type of a row."""
        import numpy as np

        return np.dtype(list(self.columns))

    def empty(self) -> Any:
        """No rows."""
        import numpy as np

        return np.empty(0, self.row_type())


SAMPLES = Kind(DEVICE, "samples", "params", (("utc_seconds", "<f8"), ("value", "<f8")), 16)
EVENTS = Kind(EVENT, "events", "events", (("SCmicrosec", "<i8"), ("datetime", "S28"), ("epoch", "<f8")), 44)
KINDS = {DEVICE: SAMPLES, EVENT: EVENTS}


def table(kind: str, name: str) -> str:
    """The table of a device or event in a file, which is also how people call it: `B:VIMIN`, `Event0c`."""
    return f"Event{name}" if kind == EVENT else name


def ask(logger: Logger, kind: str, name: str, node: str, start: float, end: float, margin: float) -> Reading | EventReading:
    """One question. Raises Trouble, Away."""
    if kind == EVENT:
        return logger.events(name, start, end, margin)
    return logger.samples(node, name, start, end, margin)


def times(readings: Sequence[Any]) -> Floats:
    """When the rows of several answers are, UTC seconds, in order; those whose time is known."""
    import numpy as np

    if not readings:
        return np.empty(0)
    return readings[0].seconds if len(readings) == 1 else np.unique(np.concatenate([reading.seconds for reading in readings]))


def rows(kind: str, readings: Sequence[Any], sure: float) -> tuple[Any, int]:
    """(rows before `sure` by time, each once; how many were dropped as doubled) of several answers."""
    import numpy as np

    from dmtools.datalogger.event_reading import once as events_once
    from dmtools.datalogger.reading import once

    if kind == EVENT:
        made, keys = [np.concatenate([getattr(r, name) for r in readings]) for name in ("rows", "keys")]
        (made, keys), twice = events_once(made, keys)
        return made[: int(np.searchsorted(keys, sure))], twice
    columns = [np.concatenate([getattr(r, name) for r in readings]) for name in ("seconds", "values")]
    (seconds, values), twice, _ = once(*columns)
    found = np.empty(int(np.searchsorted(seconds, sure)), SAMPLES.row_type())
    found["utc_seconds"], found["value"] = seconds[: len(found)], values[: len(found)]
    return found, twice
