"""lta's entry in the register of pipelines."""

from __future__ import annotations

from dmtools.control import figures
from dmtools.control.entry import Component, Pipeline
from dmtools.ledger import tables
from dmtools.lta import states as s

PIPELINE = Pipeline(
    name="lta",
    meaning="arriving disks to the warehouse, full directories to bundles, bundles to the tape of a remote site, and back",
    states=s.STATES,
    open=(
        s.UNTOUCHED, s.JSON_MADE, s.PUSH_PROBLEM, s.PUSH_DONE, s.NERSC_RUNNING, s.NERSC_DONE, s.NERSC_PROBLEM, s.RETRY,
    ),
    done=(s.NERSC_CLEAN,),
    bad=(s.QUARANTINED,),
    components=(  # all optional: the source and the remote site run different ones, and a site may have no disks to dump
        Component("bundle-scanner", "new bundles -> the buffer of the remote site, through FTS", "*/10 * * * *", optional=True),
        Component("nersc-client", "at the remote site: buffer -> tape, each bundle proved", "*/10 * * * *", optional=True),
        Component("dump-control", "arriving disks in their slots -> the warehouse", "*/10 * * * *", optional=True),
        Component("glue", "full directories -> bundles", "5-55/10 * * * *", optional=True),
        Component("audit", "a sample of what is on tape is read again", "30 2 * * *", optional=True),
        Component("restore", "a bundle, or one file of it, back"),
        Component("manual-bundle", "bundles that are proved on tape leave the outbound directory"),
        Component("manual-files", "the source files of such bundles leave the warehouse"),
    ),
    oldest=lambda connection, states: figures.oldest(connection, tables.lta_bundle, states),
    trace="dmtools.lta.traces:trace",
    search="dmtools.lta.traces:search",
    near="dmtools.lta.traces:near",
    check="dmtools.lta.check:check",
    repair="dmtools.lta.repair:repair",
    probes="dmtools.lta.probes:figures",
    buffers="dmtools.lta.outlook:buffers",
    stuck="dmtools.lta.outlook:stuck",
    duplicates="dmtools.lta.outlook:duplicates",
    notes="dmtools.lta.outlook:notes",
    person="dm-monitoring lta",
    held="dmtools.lta.holding:held",
    hand_back="dmtools.lta.holding:hand_back",
)  # fmt: skip
