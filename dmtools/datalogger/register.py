"""datalogger's entry in the register of pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from dmtools.control.entry import Component, Pipeline
from dmtools.datalogger.states import DONE, EMPTY, OPEN, STATES
from dmtools.ledger import tables


def oldest(connection: Connection, states: Sequence[str]) -> dict[str, datetime]:
    """When the oldest window of each state came into it: one look into the index `datalogger_window_state` for each."""
    column = tables.datalogger_window.c
    found = {}
    for state in states:
        if (since := connection.execute(select(func.min(column.since)).where(column.state == state)).scalar()) is not None:
            found[state] = since
    return found


PLACES = '--days 1 --draftdir "$DMTOOLS_HOME/datalogger/draft" --outdir "$DMTOOLS_HOME/datalogger/out"'

PIPELINE = Pipeline(
    name="datalogger",
    meaning="every window of every device of the DataLogger, exactly once, to HDF5",
    states=STATES,
    open=OPEN,
    done=(DONE, EMPTY),
    bad=(),  # nobody can bring back what is lost: dm-train-ok tells it for a week
    components=(Component("params", "time series of devices, day by day -> HDF5", "0 1 * * *", PLACES),),
    oldest=oldest,
    trace="dmtools.datalogger.traces:trace",
    search="dmtools.datalogger.traces:search",
    near="dmtools.datalogger.traces:near",
    probes="dmtools.datalogger.probes:figures",
    buffers="dmtools.datalogger.outlook:buffers",
    stuck="dmtools.datalogger.outlook:stuck",
    notes="dmtools.datalogger.outlook:notes",
    person="dm-monitoring datalogger",
)
