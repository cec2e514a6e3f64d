"""What the simulated devices read: whole numbers only, so that any value can be computed again, anywhere.

Sample k of a device of H hertz stands at floor(1000 k / H) milliseconds since 1970 (UTC). With c = crc32(name),
period = 600 + c mod 4001 and noise = ((k mod 2**32) * 2654435761 + 97 c) mod 2**32 >> 20, its value in units of 0.0001 is

    ((c >> 8) mod 2000 - 1000) * 100 + 37 * | (k + c) mod (2 period) - period | - noise + 2048
"""

from __future__ import annotations

import zlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Whole = npt.NDArray[np.int64]

SUPERCYCLE = Fraction(60_066_666, 1_000_000)  # seconds
# The timeline of supercycle k (k of them since 1970) has the first 5 + (k // 8 mod 3) of these.
_ENTRIES = (
    ("17", 5, "0", "Booster"),
    ("00", 5, "0", "Booster"),
    ("0C", 5, ".0333", "Booster"),
    ("1D", 4, ".0667", "Booster"),
    ("29", 10, "1.4", "Main Injector"),
    ("2A", 11, "2.0667", "Main Injector"),
    ("1D", 4, "2.1333", "Booster"),
)


def timeline(number: int) -> str:
    """What tlg_info says in this supercycle."""
    lines = [
        f"  {n}) Event : {event}  State ID : {state:3d}  Time :  {at:6s} Machine : {machine}\n"
        for n, (event, state, at, machine) in enumerate(_ENTRIES[: 5 + number // 8 % 3], 1)
    ]
    return "Event information :\n" + "".join(lines)


def ticks(hertz: Fraction, start_ms: int, end_ms: int) -> range:
    """The numbers of the samples within [start, end), in milliseconds since 1970."""
    first = -(-start_ms * hertz.numerator // (1000 * hertz.denominator))
    return range(first, max(first, -(-end_ms * hertz.numerator // (1000 * hertz.denominator))))


def times_ms(hertz: Fraction, numbers: Any) -> Any:
    """When these samples are: milliseconds since 1970, of a whole number or of an array of them."""
    return numbers * (1000 * hertz.denominator) // hertz.numerator


def values(name: str, numbers: Whole) -> Whole:
    """The values of these samples, in units of 0.0001."""
    import numpy as np

    c = zlib.crc32(name.encode())
    period = 600 + c % 4001
    noise = ((numbers.astype(np.uint64) & np.uint64(0xFFFFFFFF)) * np.uint64(2654435761) + np.uint64(97 * c)) & np.uint64(
        0xFFFFFFFF
    )
    ramp: Whole = np.abs((numbers + c) % (2 * period) - period)
    return ((c >> 8) % 2000 - 1000) * 100 + 37 * ramp - (noise >> np.uint64(20)).astype(np.int64) + 2048


def lines(name: str, hertz: Fraction, some: range) -> bytes:
    """`1583798400.066   3.4567` a line, for these samples."""
    import numpy as np

    numbers = np.arange(some.start, some.stop, dtype=np.int64)
    at, value = times_ms(hertz, numbers), values(name, numbers)
    size = np.abs(value)
    text = np.full((len(numbers), 25), ord(" "), np.uint8)
    _digits(text, 0, at // 1000, 10)
    text[:, 10] = ord(".")
    _digits(text, 11, at % 1000, 3)
    sign = np.where(value < 0, ord("-"), ord(" ")).astype(np.uint8)
    two = size >= 100_000
    text[:, 16] = np.where(two, sign, ord(" "))
    text[:, 17] = np.where(two, ord("0") + size // 100_000 % 10, sign)
    _digits(text, 18, size // 10_000, 1)
    text[:, 19] = ord(".")
    _digits(text, 20, size % 10_000, 4)
    text[:, 24] = ord("\n")
    return text.tobytes()


def _digits(text: Any, column: int, numbers: Whole, width: int) -> None:
    for place in range(column + width - 1, column - 1, -1):
        text[:, place] = ord("0") + numbers % 10
        numbers = numbers // 10
