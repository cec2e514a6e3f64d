"""What datalogger-declare does: what is to be declared where, by which catalogues, with credentials that live."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dmtools import clock
from dmtools.control.passes import Pass
from dmtools.datalogger import declarations, declaring
from dmtools.datalogger.catalogues.entry import Catalogue
from dmtools.datalogger.declarations import D, Declaration
from dmtools.datalogger.declaring import Line
from dmtools.datalogger.states import BEGUN, HALF, UNDECLARED
from dmtools.settings import Settings
from dmtools.spool import folders

OPEN = (UNDECLARED, BEGUN, HALF)


def declare(this: Pass, *, reconcile: bool) -> None:
    """One pass: over what is not declared yet, or, to reconcile, over all. Raises Unavailable when all catalogues are away."""
    home = folders.id_for(this.home, dry_run=this.dry_run)
    catalogues = of_settings(this)
    if not this.dry_run:
        declarations.make(this, home, [one.name for one in catalogues], clock.now())
    lines = [line for one in catalogues if (line := _line(this, home, one, reconcile=reconcile)).due]
    if any(line.catalogue.name != "journal" for line in lines):
        renew(this.settings)
    declaring.run(lines)
    declaring.tell_away(lines)


def of_settings(this: Pass) -> list[Catalogue]:
    """The catalogues of [datalogger] catalogues, not opened yet."""
    from dmtools.datalogger.catalogues.journal import Journal
    from dmtools.datalogger.catalogues.metacat import MetacatCatalogue
    from dmtools.datalogger.catalogues.rucio import RucioCatalogue

    found: dict[str, Catalogue] = {
        "journal": Journal(this.home / "datalogger" / "declared.ndjson"),
        "rucio": RucioCatalogue(this.settings, None if this.dry_run else this.home / "secrets"),
        "metacat": MetacatCatalogue(this.settings),
    }
    return [found[name] for name in this.settings.datalogger.catalogues]


def _line(this: Pass, home: str, catalogue: Catalogue, *, reconcile: bool) -> Line:
    """What is due there: of a dry run, what would be booked, too."""
    now = clock.now()
    mine = (D.home == home, D.catalogue == catalogue.name)
    which = mine if reconcile else (*mine, D.state.in_(OPEN), D.ready <= now)
    found = this.settings.datalogger
    with this.ledger.read() as connection:
        due: list[Declaration] = declarations.read(connection, *which)
        if this.dry_run:
            due += declarations.lacking(connection, home, catalogue.name, now)
        entries = dict(declarations.entries(connection, {one.file_id for one in due}, found.timezone, found.url))
    return Line(this, catalogue, due, entries)


def renew(settings: Settings) -> None:
    """Has [credentials] renew run, unless it is known that nothing runs out soon; at most once an hour.

    How long a Kerberos ticket lives nobody tells us, so with Rucio it is run each hour that something is to be declared.
    """
    from dmtools.transfers import credentials, renewal

    if not settings.credentials.renew:
        return
    if "rucio" not in settings.datalogger.catalogues and token_seconds(settings) >= settings.credentials.warn_seconds:
        return
    proxy = credentials.proxy_path(settings) or Path(f"/tmp/x509up_u{os.geteuid()}")  # noqa: S108 - its place by custom
    renewal.try_it(settings, proxy)


def token_seconds(settings: Settings) -> float:
    """How long MetaCat's token lives; 0 when it can't be told, infinite when it has no end or is a simulator's."""
    import base64
    import json

    found = settings.datalogger.metacat
    if not found.token_file:
        return float("inf")
    try:
        part = settings.path(found.token_file).read_bytes().strip().split(b".")[1]
        ends = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))).get("exp")
        return float("inf") if ends is None else float(ends) - time.time()
    except (OSError, ValueError, IndexError, AttributeError, TypeError):
        return 0.0
