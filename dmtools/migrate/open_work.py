"""Is there anything to do? Asked by every pass before it loads what the work needs: mostly there is nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sqlalchemy import select

from dmtools.ledger import tables
from dmtools.spool import folders as at

if TYPE_CHECKING:
    from dmtools.control.passes import Pass
    from dmtools.migrate.home import Home

F, J = tables.filelist.c, tables.ftsjob.c
# Those of transfers.lists and transfers.submit, without loading the engine: dm-trace and dm-monitoring ask, too.
OPEN = ("cut", "TODO", "DOING", "settling")
OPEN_JOBS = ("intent", "submitted")


def has_open_work(this: Pass, home: Home) -> bool:
    """Is there any list that isn't done, or a file in TODO or DOING?"""
    query = select(F.id).where(F.pipeline == "migrate", F.state.in_(OPEN), F.home == home.id).limit(1)
    with this.ledger.read() as connection:
        if connection.execute(query).first() is not None:
            return True
    return any(name != "ListOfLFNs" for name in home.folders.names(at.TODO)) or bool(home.folders.names(at.DOING))


def has_work_for_producer(home: Home) -> bool:
    """Is there a master list that isn't in Done?"""
    try:
        with os.scandir(home.masters) as entries:
            return any(not entry.name.startswith(".") and entry.name != "Done" for entry in entries)
    except FileNotFoundError:
        return False


def has_work_for_consumer(this: Pass, home: Home) -> bool:
    """Is there a file in TODO, or an attempt of whose submission nothing is known?"""
    if any(name != "ListOfLFNs" for name in home.folders.names(at.TODO)):
        return True
    query = select(J.id).where(J.pipeline == "migrate", J.state == "intent").limit(1)
    with this.ledger.read() as connection:
        return connection.execute(query).first() is not None
