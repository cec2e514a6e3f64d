"""What the options of datalogger-params and -events ask for: the schedule's work, a window by hand, or older files anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dmtools import clock
from dmtools.command.run import Refused
from dmtools.control.passes import Pass
from dmtools.datalogger import byhand, params
from dmtools.datalogger.byhand import Length
from dmtools.datalogger.home import Home, devices, events
from dmtools.datalogger.kinds import DEVICE, EVENT
from dmtools.settings.datalogger import Device


def run(this: Pass, given: Mapping[str, Any], *, adopt: bool) -> None:
    """The schedule's work, or a window by hand. Raises Refused, Unavailable."""
    chosen = devices(this.settings, given["paramfile"], given["logger"])
    if given["maxcount"]:
        chosen = dict(islice(chosen.items(), given["maxcount"]))
    refusal = (
        "the schedule's work goes with no --paramfile, --logger, --maxcount or --adopt: "
        "what is owed stands in [datalogger] devices or paramfile; for a run of your own choose another --outdir"
    )
    own = given["paramfile"] or given["logger"] or given["maxcount"] or adopt
    _run(this, given, DEVICE, lambda: chosen, lambda: chosen, refusal if own else "", adopt=adopt)


def run_events(this: Pass, given: Mapping[str, Any], *, first_only: bool, adopt: bool) -> None:
    """The same for events; `first_only`: by hand, until one of them yields data. Raises Refused, Unavailable."""
    refusal = (
        "the schedule's work goes with no --maxEvt, -o or --adopt: what is owed stands in [datalogger] events; "
        "for a run of your own choose another --outdir"
    )

    def owed() -> dict[str, Device]:
        return events(this.settings.datalogger.events)

    def asked() -> dict[str, Device]:
        return events([code for code in events(()) if code <= f"{_highest(given['maxevt']):02x}"])

    own = given["maxevt"] or first_only or adopt
    _run(this, given, EVENT, owed, asked, refusal if own else "", adopt=adopt, first_only=first_only)


def _run(
    this: Pass,
    given: Mapping[str, Any],
    kind: str,
    owed: Callable[[], dict[str, Device]],
    asked: Callable[[], dict[str, Device]],
    refusal: str,
    *,
    adopt: bool,
    first_only: bool = False,
) -> None:
    """`owed` is the schedule's, unless `refusal` says what it does not go with; `asked` is for by hand."""
    draft, out = _directory(given["draftdir"]), _directory(given["outdir"])
    length = Length(given["days"], given["hours"], given["minutes"], given["seconds"])
    if byhand.is_the_schedules(this, given["startat"], given["stopat"], length, out):
        if refusal:
            raise Refused(refusal)
        params.scheduled(this, Home.of(this, draft), kind, owed())
        return
    zone, now = ZoneInfo(this.settings.datalogger.timezone), clock.now()
    start, end = byhand.window(given["startat"], given["stopat"], length, zone, now)
    byhand.refuse(start, end, now, this.settings.datalogger.keep_days, zone)
    home = Home.of(this, draft or Path.cwd(), out or Path.cwd())
    byhand.grab(this, home, kind, asked(), start, end, adopt=adopt, first_only=first_only)


def _highest(text: str) -> int:
    """Of --maxEvt: a hex number, as the originals took it. Raises Refused."""
    try:
        found = int(text or "ff", 16)
    except ValueError:
        found = -1
    if not 0 <= found <= 0xFF:
        raise Refused(f"--maxEvt {text!r} is no event: write two hex digits, from 00 to ff")
    return found


def convert(this: Pass, old: Sequence[Path], given: Mapping[str, Any]) -> None:
    """Files of the older layouts -> files of today's in outdir. Raises Refused."""
    from dmtools.datalogger.converting import convert_files

    convert_files(this, old, _directory(given["outdir"]) or Path.cwd())


def _directory(path: Path | None) -> Path | None:
    """A directory that a person named. Raises Refused when it isn't there."""
    if path is None:
        return None
    if not path.is_dir():
        raise Refused(f"the directory {path} is not there; make it first")
    return path.resolve()
