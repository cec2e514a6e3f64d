"""The command line of `dm-sim datalogger`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from dmtools import clock
from dmtools.command import Context, Refused, tool


@tool("dm-sim datalogger", pipeline="sim", component="datalogger", example="dm-sim datalogger --hertz 1")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, 0: any free one; else from the settings.")
@click.option("--hertz", default="15", show_default=True, help="How often its devices are logged; a fraction like 1/10, too.")
@click.option("--keep-days", type=click.FloatRange(min=0), default=10, show_default=True, help="How long it remembers.")
@click.option("--supercycle", default="60.066666", show_default=True, help="Its length in seconds.")
@click.option("--moved", multiple=True, metavar="DEVICE=NODE", help="A device that another node than MLrn logs.")
@click.option(
    "--fold", type=click.IntRange(0, 1), default=0, help="Which of two equal hours a time means: 0 the first, 1 the second."
)
@click.option("--gap", "gaps", multiple=True, metavar="DEVICE=FROM/TO", help="Between these it has no samples.")
@click.option(
    "--clock", "clock_file", type=click.Path(dir_okay=False, path_type=Path), help="A file that says what time it is, for drills."
)
def command(
    context: Context,
    port: int | None,
    hertz: str,
    keep_days: float,
    supercycle: str,
    moved: tuple[str, ...],
    fold: int,
    gaps: tuple[str, ...],
    clock_file: Path | None,
) -> None:
    """An accelerator's DataLogger as its ACL page shows it: /cgi-bin/acl.pl?acl=...

    \b
    logger_get   samples of a device of the node MLrn: any name like B:VIMIN, but none of N: (there is no such device);
                 names that end in 720HZ or _1HZ are logged so often
    event_log    events 0c, 0f (15 Hz), 07 (720 Hz), 8f (1 Hz), 00 (each supercycle)
    read, tlg_info/all_event_info, show/whereLogged
    GET /sim/asked   every query it got
    --clock FILE: FILE holds seconds that are added to the machine's clock, and is read at each question.
    It wants the server's token. Times are those of America/Chicago. What a device reads is computed:
    dmtools/simulators/datalogger/signals.py. Faults in run/sim/datalogger.faults.toml; match is a part of the query; op say or
    say-after (reason: the text, with status 200), html, tail (the last seconds are lost), hole, few (487 points), early-end,
    cut-line, unsorted, twice, glue, stars, not-finite, clock (one sample is a year early, one event a century),
    header (five lines before it); those of requests as in the others.
    """  # noqa: D301 - click wants the character itself
    from fractions import Fraction

    from dmtools.simulators.datalogger import running, signals
    from dmtools.simulators.datalogger.acl import Logger

    try:
        rate, cycle = Fraction(hertz), Fraction(supercycle).limit_denominator(1_000_000)
    except (ValueError, ZeroDivisionError):
        rate, cycle = Fraction(0), signals.SUPERCYCLE
    if not Fraction(1, 10) <= cycle <= 3600:
        raise Refused(f"--supercycle {supercycle!r} is no length from 0.1 to 3600 s")
    if not 0 < rate <= 1000:
        raise Refused(f"--hertz {hertz!r} is no number of samples a second between 0 and 1000; write 15, 0.1 or 1/10")
    if wrong := [text for text in moved if not text.partition("=")[2]]:
        raise Refused(f"--moved {wrong[0]!r} is not DEVICE=NODE")
    holes = _holes(gaps)
    if context.dry_run:
        context.plan(f"would answer for devices of {rate} Hz")
        return
    at = context.settings.port("datalogger") if port is None else port
    nodes = dict(text.split("=", 1) for text in moved)
    logger = Logger(rate, keep_days, nodes, cycle, fold, holes, _clock_of(clock_file) if clock_file else clock.now)
    running.serve(context.settings.home, logger, at)


def _holes(gaps: tuple[str, ...]) -> dict[str, list[tuple[int, int]]]:
    """`B:VIMIN=2026-11-01T00:00Z/2026-11-01T03:00Z` -> by device, in milliseconds. Raises Refused."""
    found: dict[str, list[tuple[int, int]]] = {}
    for text in gaps:
        name, _, span = text.partition("=")
        try:
            start, end = (round(clock.parse_date(at).timestamp() * 1000) for at in span.split("/"))
        except ValueError:
            raise Refused(f"--gap {text!r} is not DEVICE=FROM/TO; write B:VIMIN=2026-11-01T00:00Z/2026-11-01T03:00Z") from None
        found.setdefault(name, []).append((start, end))
    return found


def _clock_of(file: Path) -> Callable[[], datetime]:
    """A clock that is so many seconds ahead of the machine's as the file says, read at each look; none: not at all."""

    def now() -> datetime:
        try:
            return datetime.now(UTC) + timedelta(seconds=float(file.read_text()))
        except (OSError, ValueError):
            return clock.now()

    return now
