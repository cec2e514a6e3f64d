"""All tables, one file a pipeline. The migrations under `migrations/` make them; these are how the code names them."""

from dmtools.ledger.tables.common import component, flow, hold, installation, journal, lease, sighting, tally
from dmtools.ledger.tables.daq import daq_disk, daq_file, daq_zip
from dmtools.ledger.tables.datalogger import datalogger_declaration, datalogger_file, datalogger_gap, datalogger_window
from dmtools.ledger.tables.datalogger_timeline import (
    datalogger_restart,
    datalogger_supercycle,
    datalogger_timeline,
    datalogger_timeline_event,
)
from dmtools.ledger.tables.dqm import dqm_page
from dmtools.ledger.tables.engine import filelist, ftsjob, transfer
from dmtools.ledger.tables.frame import metadata
from dmtools.ledger.tables.lta import (
    lta_answer,
    lta_bundle,
    lta_catalogue,
    lta_directory,
    lta_disk,
    lta_errand,
    lta_expected,
    lta_file,
    lta_site,
    lta_slot,
    lta_token,
)
from dmtools.ledger.tables.migrate import master
from dmtools.ledger.tables.web import web_session, web_user

__all__ = [
    "SCHEMA",
    "component",
    "daq_disk",
    "daq_file",
    "daq_zip",
    "datalogger_declaration",
    "datalogger_file",
    "datalogger_gap",
    "datalogger_restart",
    "datalogger_supercycle",
    "datalogger_timeline",
    "datalogger_timeline_event",
    "datalogger_window",
    "dqm_page",
    "filelist",
    "flow",
    "ftsjob",
    "hold",
    "installation",
    "journal",
    "lease",
    "lta_answer",
    "lta_bundle",
    "lta_catalogue",
    "lta_directory",
    "lta_disk",
    "lta_errand",
    "lta_expected",
    "lta_file",
    "lta_site",
    "lta_slot",
    "lta_token",
    "master",
    "metadata",
    "sighting",
    "tally",
    "transfer",
    "web_session",
    "web_user",
]

SCHEMA = "0009"  # the newest migration: what this program reads and writes
