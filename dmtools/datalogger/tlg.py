"""What the logger says of the timeline: numbers, and the entries of a supercycle. Any other text is a trouble, never a row."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from itertools import pairwise

from dmtools.datalogger.asking import CUT, Logger
from dmtools.datalogger.reading import UNREAD, Trouble

LONGEST = 36_000.0  # seconds of a supercycle
MOST = 4000  # entries of one
_NUMBER = re.compile(r"\d+\.?\d*|\.\d+")
_HEAD = re.compile(r"event information\s*:", re.IGNORECASE)
_ENTRY = re.compile(
    r"(\d{1,5})\)\s*Event\s*:\s*([0-9A-Fa-f]{2})\s+State ID\s*:\s*(\d{1,6})\s+"
    r"Time\s*:\s*(\d+\.?\d*|\.\d+)\s+Machine\s*:\s*(\w[\w /()+.-]{0,60})",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Entry:
    """One event of a supercycle: two lower-case hex digits, `offset` seconds after its start."""

    number: int
    event: str
    state: int
    offset: float
    machine: str


def seconds(text: str) -> float:
    """An answer that is one number and nothing else. Raises Trouble."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        raise Trouble(UNREAD, f"no number of seconds: {_shown(text)}")
    value = float(found[0])
    if not math.isfinite(value) or value > LONGEST:
        raise Trouble(UNREAD, f"no supercycle is so long: {_shown(text)}")
    return value


def entries(text: str) -> tuple[Entry, ...]:
    """The entries of an answer to tlg_info. Raises Trouble when a line is none, or the last one has no end."""
    lines = [line.strip() for line in text.split("\n")]
    said = [line for line in lines if line]
    if not said or not _HEAD.fullmatch(said[0]):
        raise Trouble(UNREAD if said else CUT, f"no timeline: {_shown(text)}" if said else "the answer is empty")
    if lines[-1] and _HEAD.fullmatch(said[0]):
        raise Trouble(CUT, f"the last line has no end: {_shown(lines[-1])}")
    found = [_entry(line) for line in said[1:]]
    if not found or len(found) > MOST:
        raise Trouble(CUT if not found else UNREAD, f"a timeline of {len(found)} entries")
    if any(one.number >= other.number for one, other in pairwise(found)):
        raise Trouble(UNREAD, "its entries are not in order")
    return tuple(found)


def _entry(line: str) -> Entry:
    found = _ENTRY.fullmatch(line)
    if found is None:
        raise Trouble(UNREAD, f"no entry of a timeline: {_shown(line)}")
    offset = float(found[4])
    if offset > LONGEST:
        raise Trouble(UNREAD, f"no supercycle is so long: {_shown(line)}")
    return Entry(int(found[1]), found[2].lower(), int(found[3]), offset, found[5].strip())


def digest(found: tuple[Entry, ...]) -> str:
    """Names a timeline by its content."""
    text = "\n".join(f"{one.number} {one.event} {one.state} {one.offset!r} {one.machine}" for one in found)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def length(logger: Logger) -> float:
    """Seconds of a supercycle, as it is set. Raises Trouble, Away."""
    found = seconds(logger.text("read/no_name/no_units/setting%20G:SCTIME"))
    if found < 0.05:
        raise Trouble(UNREAD, f"no supercycle is so short: {found:g} s")
    return found


def over(logger: Logger) -> float:
    """How many seconds of this one are over. Raises Trouble, Away."""
    return seconds(logger.text("read/no_name/no_units/G:SCTIME"))


def played(logger: Logger) -> tuple[Entry, ...]:
    """What is played. Raises Trouble, Away."""
    return entries(logger.text("tlg_info/all_event_info"))


def _shown(text: str) -> str:
    return " ".join(text.split())[:120]
