"""daq's entry in the register of pipelines."""

from __future__ import annotations

from dmtools.control import figures
from dmtools.control.entry import Component, Pipeline
from dmtools.daq.states import AT_SITE, BAD, COPIED, FOUND, FREED, ON_TAPE, STATES, TO_TAPE, ZIPPED, ZIPPING
from dmtools.ledger import tables

PIPELINE = Pipeline(
    name="daq",
    meaning="from full DAQ disks to proved copies at the site and on tape, and back",
    states=STATES,
    open=(FOUND, COPIED, AT_SITE, ZIPPING, ZIPPED, TO_TAPE, ON_TAPE),
    done=(FREED,),
    bad=(BAD,),
    components=(
        Component("transfer", "full DAQ disks -> site storage; what is safe leaves its disk", "*/5 * * * *"),
        Component("archive", "site storage -> zips on tape, proved", "*/5 * * * *"),
        Component("audit", "a sample of what is on tape is read again", "30 1 * * *", "--seconds 18000"),
        Component("restore", "files back from tape, each proved"),
        Component("zip", "the body of a zip job, on a batch node"),
    ),
    oldest=lambda connection, states: figures.oldest(connection, tables.daq_file, states),
    trace="dmtools.daq.traces:trace",
    search="dmtools.daq.traces:search",
    near="dmtools.daq.traces:near",
    check="dmtools.daq.check:check",
    probes="dmtools.daq.probes:figures",
    repair="dmtools.daq.repair:repair",
    buffers="dmtools.daq.outlook:buffers",
    stuck="dmtools.daq.outlook:stuck",
    duplicates="dmtools.daq.outlook:duplicates",
    notes="dmtools.daq.outlook:notes",
    person="dm-monitoring daq",
)
