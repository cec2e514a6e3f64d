"""The settings of the datalogger pipeline."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from dmtools.settings.catalogues import Metacat, Rucio

Positive = Annotated[int, Meta(ge=1)]


class Device(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device that is logged.

    name: as the control system calls it, B:VIMIN; its table in the files has the name
    node: the node that logs it; when it moved, the logger is asked where to
    hertz: how many samples a second there should be; 0: not known, so what is cut off the end may go unnoticed
    units: of its values, for those who read the files
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z]:[A-Za-z0-9_\[\]@.,$-]{1,60}$")]
    node: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,30}$")] = "MLrn"
    hertz: Annotated[float, Meta(ge=0, le=1000)] = 15.0
    units: str = ""


class Datalogger(Struct, frozen=True, kw_only=True):
    """The datalogger pipeline: every window of every device of an accelerator's DataLogger, exactly once, to HDF5.

    url: the address of the ACL page, http://HOST/cgi-bin/acl.pl, or sim:datalogger for the simulator
    timezone: the logger's: it takes and gives wall-clock times of it, and days begin at its midnight
    since: the first day that is owed, YYYY-MM-DD; empty: the last whole day before the first pass
    devices: what is logged
    events: the clock events that are logged, two lower-case hex digits each, as "0c"; empty: all from 00 to ff
    paramfile: a file of lines `node device [hertz [units]]`, which is used in place of devices
    draft: where files are drafted, a local disk; empty: HOME/datalogger/draft
    out: where finished files go; empty: HOME/datalogger/out
    site: where the plot site goes; empty: HOME/datalogger/site
    publish: where the plot site is brought by rsync besides, a directory or HOST:PATH; empty: nowhere
    site_hours: a plot site that was not looked through for so long is old: it says so itself, and dm-train-ok does
    stats_url: where statistics go, sqlite:////ABSOLUTE/PATH or mysql+pymysql://USER@HOST/NAME; empty: HOME/datalogger/GMPSAI.db
    stats_password_file: the file of its password, which only you may read
    keep_days: how long the logger remembers; what was not had by then is lost
    settle_minutes: a day is asked for so long after its end
    publish_after_hours: a file goes out so long after its end, with what it has; what comes later gets a file of its own
    draft_days: a draft whose file is out is kept at most so long for the statistics
    chunk_minutes: a day is asked for in pieces of this length
    connections: how many questions the logger gets at once
    connect_seconds: a logger that does not accept a connection so long is away
    silence_seconds: an answer that stands still for so long is given up
    answer_seconds: an answer that takes longer is given up
    tries: how often a question is asked again within a pass
    retry_minutes: a window that failed waits so long before it is asked for again, and longer each time; a declaration, too
    timeline_silence_seconds: a datalogger-timeline of which nothing is heard for so long is ended and started again
    timeline_restarts: it is started at most so often within an hour
    timeline_grace_seconds: one that hangs has so long to end before it is killed, and then to be gone
    timeline_start_seconds: so long the supervisor looks whether the one that it started records
    catalogues: where finished files are declared: "journal" (HOME/datalogger/declared.ndjson), "rucio", "metacat"
    rucio: what Rucio is told
    metacat: what MetaCat is told
    """

    url: str = "sim:datalogger"
    timezone: str = "America/Chicago"
    since: Annotated[str, Meta(pattern=r"^(\d{4}-\d\d-\d\d)?$")] = ""
    devices: tuple[Device, ...] = (
        Device(name="B:VIMIN", units="A"),
        Device(name="B:VIMAX", units="A"),
        Device(name="B:IMINER"),
        Device(name="B:LINFRQ", units="mHz"),
        Device(name="I:IB", units="A"),
        Device(name="I:MDAT40"),
    )
    events: tuple[Annotated[str, Meta(pattern=r"^[0-9a-f]{2}$")], ...] = ()
    paramfile: str = ""
    draft: str = ""
    out: str = ""
    site: str = ""
    publish: Annotated[str, Meta(pattern=r"^([^-\s][^\s]*)?$")] = ""
    site_hours: Annotated[float, Meta(gt=0)] = 26.0
    stats_url: str = ""
    stats_password_file: str = ""
    keep_days: Annotated[float, Meta(gt=0)] = 10.0
    settle_minutes: Annotated[float, Meta(ge=0)] = 10.0
    publish_after_hours: Annotated[float, Meta(ge=0)] = 6.0
    draft_days: Annotated[float, Meta(ge=0)] = 3.0
    chunk_minutes: Positive = 60
    connections: Annotated[int, Meta(ge=1, le=16)] = 2
    connect_seconds: Annotated[float, Meta(gt=0)] = 10.0
    silence_seconds: Annotated[float, Meta(gt=0)] = 60.0
    answer_seconds: Annotated[float, Meta(gt=0)] = 600.0
    tries: Positive = 3
    retry_minutes: Annotated[float, Meta(gt=0)] = 10.0
    timeline_silence_seconds: Annotated[float, Meta(gt=0)] = 300.0
    timeline_restarts: Positive = 6
    timeline_grace_seconds: Annotated[float, Meta(gt=0)] = 10.0
    timeline_start_seconds: Annotated[float, Meta(gt=0)] = 30.0
    catalogues: tuple[str, ...] = ("journal",)
    rucio: Rucio = Rucio()
    metacat: Metacat = Metacat()
