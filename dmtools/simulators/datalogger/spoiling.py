"""What goes wrong with an answer, on demand: errors as text, truncations, rows that are no rows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime

from dmtools.simulators.datalogger.acl import Answer
from dmtools.simulators.faults import LOGGER_OPS, Fault, FaultsFile

FEW = 487  # points, whatever was asked for
WHOLE = ("say", "say-after", "html", "header")
HEADER = """\

                    Clock events
  date        time         microseconds of the supercycle
  ------------------------------------------------------

"""


def spoiled(answer: Answer, faults: FaultsFile, subjects: list[str]) -> Iterator[bytes]:
    """The answer as the faults in force leave it, in pieces."""
    found = [fault for op in sorted(LOGGER_OPS) if (fault := faults.find(subjects, frozenset({op}))) is not None]
    if not found:
        yield from answer.pieces
        return
    text = b"".join(answer.pieces)
    for fault in found:
        text = _whole(text, fault) if fault.op in WHOLE else _rows(text, fault, answer)
    yield text


def _whole(text: bytes, fault: Fault) -> bytes:
    said = (fault.reason or "Error reading device - DIO_NOSCALE").encode()
    if fault.op == "say":
        return said + b"\n"
    if fault.op == "header":
        return HEADER.encode() + text
    if fault.op == "say-after":
        return text + said + b"\n"
    return b"<html><head><title>ACL</title></head>\n<body><pre>\n" + text + b"</pre>\n</body></html>\n"


def _rows(text: bytes, fault: Fault, answer: Answer) -> bytes:
    rows = text.splitlines(keepends=True)
    if not (answer.samples or answer.events) or not rows:
        return text
    if fault.op == "tail":
        at = _event_at if answer.events else _sample_at
        last = at(rows[-1]) - (fault.seconds or 10.0)
        return b"".join(row for row in rows if at(row) < last)
    if fault.op == "hole":
        return b"".join(rows[: len(rows) // 3] + rows[2 * len(rows) // 3 :])
    if fault.op == "few":
        return b"".join(rows[:FEW])
    if fault.op == "early-end":
        return text[: len(text) // 2]
    if fault.op == "cut-line":
        return text[:-4]
    return b"".join(_odd_rows(rows, fault.op, events=answer.events))


def _sample_at(row: bytes) -> float:
    return float(row.split()[0])


def _event_at(row: bytes) -> float:
    """As the clock on the wall shows it."""
    return datetime.strptime(row[:24].decode(), "%d-%b-%Y %H:%M:%S.%f").replace(tzinfo=UTC).timestamp()


def _odd_rows(rows: list[bytes], op: str, *, events: bool) -> list[bytes]:
    middle = len(rows) // 2
    if op == "unsorted":
        random.Random(1).shuffle(rows)  # noqa: S311 - no secret
    elif op == "twice":
        rows[middle:middle] = rows[max(0, middle - 5) : middle]
    elif op == "glue":
        rows[middle] = rows[middle].rstrip(b"\n")
    elif op == "stars":
        rows[::10] = [row.rsplit(maxsplit=1)[0] + b"  *****\n" for row in rows[::10]]
    elif events:
        if op == "clock":
            rows[middle] = rows[middle].replace(b"-20", b"-19", 1)
    elif op == "not-finite":
        rows[::10] = [row.split()[0] + (b" nan\n", b" inf\n")[n % 2] for n, row in enumerate(rows[::10])]
    elif op == "clock":
        rows[middle] = b"%.3f %s\n" % (float(rows[middle].split()[0]) - 86_400 * 365, rows[middle].split()[1])
    return rows
