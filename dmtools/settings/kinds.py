"""What can be set: one class a section. The docstrings are what `dm-config init` writes beside the keys; `key: text`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from dmtools.settings.datalogger import Datalogger
from dmtools.settings.dqm import Dqm
from dmtools.settings.lta import Lta

Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0)]
PORTS = ("dm-web", "dqm-server", "lta-rest-server", "fts1", "fts2", "dqm", "datalogger", "daq", "archive", "metacat")


class Database(Struct, frozen=True, kw_only=True):
    """Where the tables are.

    url: sqlite:////ABSOLUTE/PATH (empty: HOME/dmtools.db) or mysql+pymysql://USER@HOST/NAME; else $DMTOOLS_DATABASE_URL
    password_file: a file with mode 0600 that holds the database's password alone; else $DMTOOLS_DATABASE_PASSWORD
    busy_seconds: how long to wait for another command that writes
    """

    url: str = ""
    password_file: str = ""
    busy_seconds: Positive = 30


class Log(Struct, frozen=True, kw_only=True):
    """HOME/log: what each command did.

    rotate_hours: a new file of each command after so many hours
    keep: how many files of each command stay
    """

    rotate_hours: Positive = 24
    keep: Positive = 14


class CredentialSettings(Struct, frozen=True, kw_only=True):
    """X.509 proxy or bearer token for FTS and storage.

    proxy: the proxy's file, mode 0600; empty: $X509_USER_PROXY, then /tmp/x509up_uUID
    vo: refuse a proxy of another VO
    role: refuse a proxy without this role
    token_file: a file with mode 0600 that holds a bearer token; it goes before a proxy
    warn_seconds: dm-train-ok warns when the proxy has less life left
    refuse_seconds: nothing is begun when the proxy has less life left
    renew: the command, word by word, that renews the proxy; a pass runs it when less than warn_seconds are left
    """

    proxy: str = ""
    vo: str = ""
    role: str = ""
    token_file: str = ""
    warn_seconds: Positive = 172800
    refuse_seconds: Positive = 1000
    renew: tuple[str, ...] = ()


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One FTS server.

    name: how people call it; it stands in the tables, so keep it
    url: https://HOST:PORT, or sim:fts1, sim:fts2 for the simulators
    weight: its share of new jobs; 0 takes no new ones and is still asked about its old ones
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]+$")]
    url: str
    weight: Share = 50


class Fts(Struct, frozen=True, kw_only=True):
    """The FTS servers and how they are asked.

    servers: who gets the jobs
    connect_seconds: a server that does not accept a connection so long is away
    call_seconds: a call that takes longer is given up; what it asked for is looked up later
    retry: how often FTS itself tries a file again within a job
    priority: of the jobs, 1 (low) to 5
    """

    servers: tuple[Server, ...] = (
        Server(name="fts1", url="sim:fts1", weight=50),
        Server(name="fts2", url="sim:fts2", weight=50),
    )
    connect_seconds: Positive = 5
    call_seconds: Positive = 30
    retry: Annotated[int, Meta(ge=0)] = 0
    priority: Annotated[int, Meta(ge=1, le=5)] = 3


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """LFNs below `match` are copied from below `source` to below `destination`.

    match: whole path components; the longest match wins; an LFN without a rule is Bad
    source: a URL: file:///PATH, root://HOST//PATH, srm://..., gsiftp://..., https://..., davs://...
    destination: a URL, as source
    priority: of the jobs, 1 to 5, when not that of [fts]
    max_open_jobs: at most so many jobs at a time
    bytes_per_hour: at most so many bytes an hour
    hours: jobs are submitted only in this window of local time, as "22:00-06:00"
    bring_online: seconds that FTS waits for a tape source; -1: the source is on disk
    pin_lifetime: seconds that a staged file stays on disk; -1: the storage's own
    archive_timeout: seconds that FTS waits for the destination's tape; -1: it does not wait
    source_spacetoken: SRM's
    destination_spacetoken: SRM's
    """

    match: Annotated[str, Meta(pattern=r"^/")]
    source: str
    destination: str
    priority: Annotated[int, Meta(ge=1, le=5)] | None = None
    max_open_jobs: Positive | None = None
    bytes_per_hour: Positive | None = None
    hours: Annotated[str, Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$")] = ""
    bring_online: int = -1
    pin_lifetime: int = -1
    archive_timeout: int = -1
    source_spacetoken: str = ""
    destination_spacetoken: str = ""


class Migrate(Struct, frozen=True, kw_only=True):
    """The migrate pipeline: LFNs of the master lists from one storage to another.

    rules: from where to where
    check_source: ask whether each source is there before its first submission
    max_open_jobs: no new job is submitted while so many are open
    max_attempts: a file is Bad after so many failed attempts
    retry_seconds: a list that failed waits so long before its next attempt, and longer each time
    compare_min_age_hours: migrate-compare calls no younger file dark
    """

    rules: tuple[Rule, ...] = ()
    check_source: bool = True
    max_open_jobs: Positive = 200
    max_attempts: Positive = 4
    retry_seconds: Positive = 60
    compare_min_age_hours: Positive = 168


class Daq(Struct, frozen=True, kw_only=True):
    """The daq pipeline: DAQ disks -> site storage -> zips on tape, and back.

    disks: the DAQ's disks, directories of this machine; empty: HOME/demo/daq/data1 to data4
    site: URL of the site storage; a file's copy is there under its LFN; empty: HOME/demo/site
    tape: URL of the tape; a file's zip is there under its LFN and .zip; empty: HOME/demo/tape, a directory taken for a tape
    zips: URL where zips wait for the tape; empty: zips below the site
    pattern: which files of a disk are data; ** is any number of directories
    lfn: a file's LFN: {path} below its disk, {YYMM} and {YYMMDD} the date in its name
    safety: when a file is removed from its disk: "tape-verified" or "site-verified" (as soon as the site's copy is proved)
    ready_group: the group of the flag ReadyForData; empty: ours
    ready_mode: its mode
    disk_seconds: a disk that shows no sign of life for so long is left alone until the next pass
    keep_site: the site's copy stays when the zip is on tape
    group_bytes: small files share a zip up to this size; 0: each file has its own
    batch: where zip jobs run: "local", "htcondor" or "slurm"
    max_jobs: at most so many zip jobs are open
    memory_mb: what a zip job asks for
    job_seconds: a zip job that takes longer is ended and done again
    held_seconds: a zip job that the batch system holds for longer is ended and done again, as a failed attempt
    batch_options: lines or options that the batch system gets as they are, as "+AccountingGroup = x" or "--partition=long"
    zip_command: a zip job's command on the batch nodes, word by word, before JOB.json; empty: the daq-zip beside daq-archive
    scratch: the directory of a zip job's scratch files; empty: the batch system's, else $TMPDIR
    archive_timeout: seconds that FTS waits for the tape
    max_attempts: a file is Bad after so many failed attempts of one step
    retry_seconds: how long after a failed attempt, and longer each time
    audit_percent: how much of what is on tape daq-audit reads again each night
    audit_days: nothing is read again before so many days
    """

    disks: tuple[str, ...] = ()
    site: str = ""
    tape: str = ""
    zips: str = ""
    pattern: str = "MIG_*/**"
    lfn: str = "/{YYMM}/{YYMMDD}/{path}"
    safety: Annotated[str, Meta(pattern=r"^(tape|site)-verified$")] = "tape-verified"
    ready_group: str = ""
    ready_mode: Annotated[str, Meta(pattern=r"^0?[0-7]{3}$")] = "0660"
    disk_seconds: Positive = 30
    keep_site: bool = True
    group_bytes: Annotated[int, Meta(ge=0)] = 0
    batch: Annotated[str, Meta(pattern=r"^(local|htcondor|slurm)$")] = "local"
    max_jobs: Positive = 150
    memory_mb: Positive = 2000
    job_seconds: Positive = 86400
    held_seconds: Positive = 3600
    batch_options: tuple[str, ...] = ()
    zip_command: tuple[str, ...] = ()
    scratch: str = ""
    archive_timeout: Positive = 86400
    max_attempts: Positive = 4
    retry_seconds: Positive = 60
    audit_percent: Annotated[float, Meta(ge=0, le=100)] = 1.0
    audit_days: Annotated[int, Meta(ge=0)] = 30


class Outage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A planned hold.

    start: a date and time, as "2026-11-24 14:00" (local) or "2026-11-24T14:00Z"
    end: as start
    scope: all, PIPELINE or PIPELINE/COMPONENT
    state: halt or drain
    reason: told to those who ask
    """

    start: str
    end: str
    scope: Annotated[str, Meta(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)?$")] = "all"
    state: Annotated[str, Meta(pattern=r"^(halt|drain)$")] = "halt"
    reason: str = "planned outage"


class Control(Struct, frozen=True, kw_only=True):
    """Holds: who may not work, and when that is told.

    calendar: the planned ones
    forgotten_hours: dm-train-ok warns of a person's hold that is older
    error_limit: a component that fails so often in a row is held until a pass works again
    full_percent: nothing new is begun while less of HOME's disk, or of a destination's, is free; 0: whatever is free
    """

    calendar: tuple[Outage, ...] = ()
    forgotten_hours: Positive = 72
    error_limit: Positive = 50
    full_percent: Annotated[float, Meta(ge=0, le=100)] = 0.5


class TrainOk(Struct, frozen=True, kw_only=True):
    """Thresholds of `dm-train-ok`: *_warning and *_critical, in seconds, per cent or numbers.

    success_warning_seconds: age of a component's last success
    oldest_warning_seconds: age of the oldest open item
    free_warning_percent: free space of each buffer
    lag_warning_seconds: how long the database takes to answer
    bad_warning: items that need a person
    stuck_hours: an item that has not moved so long is stuck
    deadline_seconds: the check itself gives up after so long and says UNKNOWN
    """

    success_warning_seconds: Positive = 14400
    success_critical_seconds: Positive = 43200
    oldest_warning_seconds: Positive = 172800
    oldest_critical_seconds: Positive = 604800
    free_warning_percent: Share = 10
    free_critical_percent: Share = 3
    lag_warning_seconds: Share = 5
    lag_critical_seconds: Share = 20
    bad_warning: Positive = 1
    bad_critical: Positive = 1000
    stuck_hours: Positive = 24
    deadline_seconds: Positive = 10


class Web(Struct, frozen=True, kw_only=True):
    """The status page.

    refresh_seconds: how often it fetches new figures
    session_hours: how long a sign-in lasts
    threads: how many requests are answered at once
    """

    refresh_seconds: Positive = 3
    session_hours: Positive = 12
    threads: Positive = 4


class Settings(Struct, frozen=True, kw_only=True):
    """All that is in force; `home` and `file` are where it was found.

    home: this installation's directory; needed only when this file stands elsewhere (in /etc/dmtools)
    port_base: services take this port and the nine after it: dm-web, dqm-server, lta-rest-server, fts1, fts2, dqm, ...
    pipelines: pipelines of others: a name and the Python module that registers it
    """

    home: Path
    file: Path | None = None
    port_base: Annotated[int, Meta(ge=1, le=65526)] = 18800
    database: Database = Database()
    log: Log = Log()
    credentials: CredentialSettings = CredentialSettings()
    fts: Fts = Fts()
    migrate: Migrate = Migrate()
    daq: Daq = Daq()
    lta: Lta = Lta()
    dqm: Dqm = Dqm()
    datalogger: Datalogger = Datalogger()
    control: Control = Control()
    train_ok: TrainOk = TrainOk()
    web: Web = Web()
    pipelines: dict[str, str] = {}

    def port(self, service: str) -> int:
        """The port of a service (see PORTS): port_base + its place."""
        return self.port_base + PORTS.index(service)

    def path(self, text: str) -> Path:
        """A path of the settings: `~` is the user's home; what is not absolute lies below HOME."""
        return self.home / Path(text).expanduser()


SECTIONS: dict[str, type[Struct]] = {
    "database": Database,
    "log": Log,
    "credentials": CredentialSettings,
    "fts": Fts,
    "migrate": Migrate,
    "daq": Daq,
    "lta": Lta,
    "dqm": Dqm,
    "datalogger": Datalogger,
    "control": Control,
    "train_ok": TrainOk,
    "web": Web,
}
TOP = {"home": str, "port_base": Annotated[int, Meta(ge=1, le=65526)], "pipelines": dict[str, str]}
