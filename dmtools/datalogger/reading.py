"""The text of an answer -> samples. A line that is not understood is never skipped: the whole answer is refused, by name.

Lines of two plain numbers that look alike are read by whole columns; other such lines by pyarrow's CSV reader, all at once; every
other line is looked at by itself.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dmtools.datalogger.columns import columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

LONGEST = 65_536  # bytes of a line
SHOWN = 120  # characters of a line that is told
SAID, CUT, UNREAD = "said", "cut", "unread"  # the classes of a trouble

_PLAIN = b"0123456789.+-eE \n"
_ODD = re.compile(rb"^[^\n]*[^0-9.+\-eE \n][^\n]*\n", re.MULTILINE)
_NUMBER = rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_SAMPLE = re.compile(rb"(%s)\s+(%s|[+-]?(?:nan|inf|infinity)|\*+)" % (_NUMBER, _NUMBER), re.IGNORECASE)
_WORDED = re.compile(rb"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_NO_VALUES = re.compile(rb"no values\.?", re.IGNORECASE)
ERROR = re.compile(rb"!|.*\s-\s*[A-Z][A-Z0-9]*_[A-Z0-9_]+$", re.DOTALL)
_HIDDEN = re.compile(rb"<(title|style|script)\b[^>]*>.*?</\1\s*>|<!--.*?-->", re.IGNORECASE)
_TAG = re.compile(rb"</?[A-Za-z!][^<>]*>")


class Trouble(Exception):
    """An answer of which nothing is kept. `kind`: said (the logger gave an error), cut, or unread (not understood)."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Reading:
    """The samples of [start, end) by time, each once.

    `seconds`: UTC since 1970; `values`: as given, NaN and inf among them. `stars`: `*****`, which are no numbers; `twice`: rows
    that were there already; `differing`: of these, those with another value, of which the first was kept; `outside`: rows of
    other times; `beyond`: one of them, or a cut line, was past the end; `before`: the last of them that was before the start;
    `none`: the logger said that there are no values; `starred`: when the `*****` were.
    """

    seconds: Floats
    values: Floats
    stars: int = 0
    twice: int = 0
    differing: int = 0
    outside: int = 0
    beyond: bool = False
    before: float = -math.inf
    none: bool = False
    starred: tuple[float, ...] = ()
    unknown: int = 0  # samples have UTC seconds, a rate, and are taken whole: for these see EventReading
    astray: int = 0
    full: bool = False


class Reader:
    """Takes an answer piece by piece; `close` gives the samples of [start, end), in seconds. Both raise Trouble."""

    def __init__(self, start: float, end: float) -> None:
        self._start, self._end = start, end
        self._rest = b""
        self._seconds: list[Floats] = []
        self._values: list[Floats] = []
        self._starred: list[float] = []
        self._outside = 0
        self._beyond = False
        self._before = -math.inf
        self._none = False
        self._any = False

    def feed(self, piece: bytes) -> None:
        """The next bytes."""
        text = self._rest + piece
        whole = text.rfind(b"\n") + 1
        if whole:
            self._lines(text[:whole])
        self._rest = text[whole:]
        if len(self._rest) > LONGEST:
            raise Trouble(UNREAD, f"a line of more than {LONGEST} bytes: {shown(self._rest)}")

    def close(self) -> Reading:
        """The end of the answer. Raises Trouble when it held nothing, or both samples and `No values`."""
        import numpy as np

        self._last(self._rest)
        seconds = np.concatenate(self._seconds) if self._seconds else np.empty(0)
        values = np.concatenate(self._values) if self._values else np.empty(0)
        if self._none and (self._any or self._starred):
            raise Trouble(UNREAD, "it says that there are no values, and gives some")
        if not (self._none or self._any or self._starred):
            raise Trouble(CUT, "the answer is empty: no samples, and not said that there are none")
        kept, twice, differing = once(seconds, values)
        stars = tuple(sorted(set(self._starred)))
        counts = (len(stars), twice, differing, self._outside)
        return Reading(*kept, *counts, self._beyond, self._before, self._none, stars)

    def _last(self, rest: bytes) -> None:
        """A line without its end may be cut anywhere, so its numbers are not taken; what it says otherwise is."""
        text = bare(rest)
        if not text:
            return
        if ERROR.match(text) or _NO_VALUES.fullmatch(text):
            self._odd(text)
            return
        if not re.match(rb"[0-9.+\-]", text):
            raise Trouble(UNREAD, f"not understood: {shown(text)}")
        self._any = True
        self._beyond |= (found := _SAMPLE.fullmatch(text)) is not None and self._end <= float(found[1])

    def _lines(self, text: bytes) -> None:
        """Whole lines: mostly all are two plain numbers."""
        import numpy as np

        plain = columns(text)
        if plain is not None:
            self._keep(*plain)
            return
        if b"\r" not in text and not text.startswith(b"\xef"):  # the CSV reader would take both for something else
            found = _fast(_tidy(text))
            if found is not None and np.isfinite(found[0]).all() and np.isfinite(found[1]).all():
                self._keep(*found)
                return
        self._looked_at(text)

    def _looked_at(self, text: bytes) -> None:
        """Lines of which some are not."""
        if b"\t" in text or b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\t", b" ")
        if text.translate(None, _PLAIN):
            for odd in _ODD.findall(text):
                self._odd(bare(odd))
            text = _ODD.sub(b"", text)
        if not text.isspace() and text:
            self._keep(*_numbers(_tidy(text)))

    def _odd(self, text: bytes) -> None:
        """One line that is not two plain numbers."""
        import numpy as np

        if not text:
            return
        if ERROR.match(text):
            raise Trouble(SAID, shown(text))
        if _NO_VALUES.fullmatch(text):
            self._none = True
            return
        at, value = _sample(text)
        if value is not None:
            self._keep(np.array([at]), np.array([value]))
        elif self._start <= at < self._end:
            self._starred.append(at)
        else:
            self._elsewhere(np.array([at]))

    def _keep(self, seconds: Floats, values: Floats) -> None:
        self._any |= len(seconds) > 0
        inside = (seconds >= self._start) & (seconds < self._end)
        if not inside.all():
            self._elsewhere(seconds[~inside])
            seconds, values = seconds[inside], values[inside]
        self._seconds.append(seconds)
        self._values.append(values)

    def _elsewhere(self, seconds: Floats) -> None:
        self._any = True
        self._outside += len(seconds)
        self._beyond |= bool((seconds >= self._end).any())
        self._before = max([self._before, *(seconds[seconds < self._start].max(initial=-math.inf, keepdims=True).tolist())])


def bare(line: bytes) -> bytes:
    """Without HTML and the blanks around."""
    return _TAG.sub(b" ", _HIDDEN.sub(b" ", line)).strip() if b"<" in line else line.strip()


def _tidy(text: bytes) -> bytes:
    """One blank between two numbers, none around: what the CSV reader takes. Six times as fast as bytes.replace here."""
    import numpy as np

    if b"  " not in text and b" \n" not in text and b"\n " not in text and not text.startswith(b" "):
        return text
    array = np.frombuffer(text, np.uint8)
    blank, end = array == ord(" "), array == ord("\n")
    spare = np.empty(len(array), bool)
    spare[0] = False
    np.logical_or(blank[:-1], end[:-1], out=spare[1:])
    spare[:-1] |= end[1:]
    spare &= blank
    found: bytes = array[~spare].tobytes()
    return found.lstrip(b" ")


def _numbers(text: bytes) -> tuple[Floats, Floats]:
    """Lines `NUMBER NUMBER`. Raises Trouble that shows the first that is none."""
    import numpy as np

    found = _fast(text)
    if found is not None and not np.isinf(found[0]).any() and not np.isinf(found[1]).any():
        return found
    rows = [_sample(line.strip()) for line in text.splitlines() if line.strip()]
    return np.array([at for at, _ in rows]), np.array([value for _, value in rows], np.float64)


def _fast(text: bytes) -> tuple[Floats, Floats] | None:
    """By pyarrow; None when it does not take every line."""
    import pyarrow as pa
    from pyarrow import csv

    number = pa.float64()
    try:
        found: Any = csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(column_names=["s", "v"], use_threads=False, block_size=len(text) + 1),
            parse_options=csv.ParseOptions(delimiter=" ", quote_char=False, escape_char=False),
            convert_options=csv.ConvertOptions(column_types={"s": number, "v": number}, null_values=[], check_utf8=False),
        )
    except pa.ArrowInvalid:
        return None
    return found.column(0).to_numpy(), found.column(1).to_numpy()


def _sample(line: bytes) -> tuple[float, float | None]:
    """(seconds, value) of one line; a value of stars is None. Raises Trouble."""
    found = _SAMPLE.fullmatch(line)
    if found is None:
        raise Trouble(UNREAD, f"not understood: {shown(line)}")
    at = float(found[1])
    value = None if found[2].startswith(b"*") else float(found[2])
    if math.isinf(at) or (value is not None and math.isinf(value) and not _WORDED.fullmatch(found[2])):
        raise Trouble(UNREAD, f"a number too large: {shown(line)}")
    return at, value


def once(seconds: Floats, values: Floats) -> tuple[tuple[Floats, Floats], int, int]:
    """(seconds, values) by time, one row a time, the first that came; how many were dropped, how many of these differed."""
    import numpy as np

    if len(seconds) < 2:
        return (seconds, values), 0, 0
    steps = np.diff(seconds)
    if (steps > 0).all():
        return (seconds, values), 0, 0
    if (steps < 0).any():
        order = np.argsort(seconds, kind="stable")
        seconds, values = seconds[order], values[order]
    first = np.concatenate(([True], np.diff(seconds) > 0))
    kept = values[first][np.cumsum(first) - 1]
    same = (values == kept) | (np.isnan(values) & np.isnan(kept))
    return (seconds[first], values[first]), int((~first).sum()), int((~same).sum())


def shown(text: bytes) -> str:
    """The begin of it, for people."""
    words = text[:SHOWN].decode("ascii", "backslashreplace").strip()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
