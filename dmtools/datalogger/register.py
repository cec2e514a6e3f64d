"""datalogger's entry in the register of pipelines."""

from __future__ import annotations

from dmtools.control import figures
from dmtools.control.entry import Component, Pipeline
from dmtools.datalogger.states import DONE, EMPTY, OPEN, STATES
from dmtools.ledger import tables

PLACES = '--days 1 --draftdir "$DMTOOLS_HOME/datalogger/draft" --outdir "$DMTOOLS_HOME/datalogger/out"'

PIPELINE = Pipeline(
    name="datalogger",
    meaning="every window of every device of the DataLogger, exactly once, to HDF5",
    states=STATES,
    open=OPEN,
    done=(DONE, EMPTY),
    bad=(),  # nobody can bring back what is lost: dm-train-ok tells it for a week
    components=(
        Component("params", "time series of devices, day by day -> HDF5", "0 1 * * *", PLACES),
        Component("distill", "files -> statistics of each device and window", "30 * * * *"),
        Component("events", "clock events, day by day -> HDF5", "1 2 * * *", PLACES, optional=True),
        Component("json", "statistics -> Plotly JSON and the plot site", "45 * * * *", optional=True),
        Component("timeline", "events of each supercycle, as they are played", optional=True, loop=True),
        Component("supervise", "starts datalogger-timeline when it is gone or silent", "*/5 * * * *", optional=True),
        Component("declare", "finished files -> the journal, Rucio, MetaCat", "15 * * * *"),
    ),
    oldest=lambda connection, states: figures.oldest(connection, tables.datalogger_window, states),
    trace="dmtools.datalogger.traces:trace",
    search="dmtools.datalogger.traces:search",
    near="dmtools.datalogger.traces:near",
    probes="dmtools.datalogger.probes:figures",
    buffers="dmtools.datalogger.outlook:buffers",
    stuck="dmtools.datalogger.outlook:stuck",
    check="dmtools.datalogger.check:check",
    repair="dmtools.datalogger.repair:repair",
    notes="dmtools.datalogger.outlook:notes",
    person="dm-monitoring datalogger",
    site="dmtools.datalogger.plots.where:directory",
)
