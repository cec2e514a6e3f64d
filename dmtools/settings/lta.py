"""The settings of the lta pipeline."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]


class Lta(Struct, frozen=True, kw_only=True):
    """The lta pipeline: bundles -> a remote archive, disks -> the warehouse, and back.

    url: the lta-rest-server whose tables are worked on; empty: the tables of this installation's own database
    token_file: the token for it, in a file of mode 0600; empty: HOME/secrets/lta-worker.token
    ca_file: the certificate authority of its https, a PEM file; empty: the system's
    server_seconds: a server that gives no answer for so long is away; the next pass asks it again
    destination: the name of the remote site, as bundles, tokens and lines of dm-monitoring have it
    outbound: where bundles appear that are to be shipped, a directory; empty: HOME/demo/lta/outbound
    outbound_url: URL of outbound, as FTS knows it; empty: file:// and outbound
    buffer: URL of the remote site's buffer, as FTS knows it; empty: file:// and remote_buffer
    settle_seconds: a bundle that was written less than so long ago is not taken yet
    max_pushes: at most so many bundles are on their way to the buffer
    max_attempts: a bundle is Quarantined after so many failed attempts of one step
    retry_seconds: how long after a failed attempt, and longer each time
    lease_seconds: a claim that is not extended for so long may be taken by another
    silent_minutes: a site that posts nothing for so long is told
    copies: bundles and their files may be deleted here when so many copies are proved on tape
    free_local: whether lta-bundle-scanner deletes shipped bundles: "never" or "verified"
    delete_roots: lta-manual-files deletes below these directories only; empty: the warehouse
    keep: paths, and the trees below them, that are never deleted
    trash_bytes: a file up to this size goes into .dm-trash of its root instead of being deleted
    trash_days: how long it stays there
    remote_buffer: at the remote site: the directory that buffer names; empty: HOME/demo/lta/remote/buffer
    remote_export: at the remote site: where bundles that are wanted back are laid; empty: HOME/demo/lta/remote/export
    export: URL of remote_export as FTS knows it; empty: file:// and remote_export
    remote_quota_bytes: at the remote site: how much may lie in the buffer; 0: what is free there
    remote_free_bytes: at the remote site: with less free than this the site posts Error
    tape: at the remote site: "directory" or "hsi", or "commands", the templates below
    tape_root: the directory of the tape, or the path in the tape system; empty: HOME/demo/lta/remote/tape
    tape_commands: of "commands": available, put, list, checksum, ... -> its words, with {local} and {tape} among them
    tape_seconds: a command of the tape system that takes longer is ended, with all that it started
    tape_jobs: at most so many tape jobs are open
    batch: where tape jobs run: "local", "htcondor" or "slurm"
    batch_options: lines or options that the batch system gets as they are
    warehouse: where disks are dumped to, a directory; empty: HOME/demo/lta/warehouse
    slots: directories into which arriving disks are mounted; empty: HOME/demo/lta/slots/slot1 to slot4
    slots_reserved: slots that are left alone
    wanted: the trees of a disk that are dumped; YEAR stands for any four digits; empty: all
    dump_copies: at most so many disks are dumped at once
    dump_hours: a dump that takes longer is told
    disk_seconds: an arriving disk, or a file, that shows no sign of life for so long is given up until a person looks
    ideal_bytes: lta-glue packs bundles of about this size
    audit_percent: how much of what is archived lta-audit has read again each night
    audit_days: nothing is read again before so many days
    rate: requests a second that one token may make of lta-rest-server; 0: any number
    """

    url: str = ""
    token_file: str = ""
    ca_file: str = ""
    server_seconds: Positive = 15
    destination: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,30}$")] = "nersc"
    outbound: str = ""
    outbound_url: str = ""
    buffer: str = ""
    settle_seconds: Annotated[int, Meta(ge=0)] = 60
    max_pushes: Positive = 3
    max_attempts: Positive = 4
    retry_seconds: Positive = 60
    lease_seconds: Positive = 600
    silent_minutes: Positive = 120
    copies: Positive = 1
    free_local: Annotated[str, Meta(pattern=r"^(never|verified)$")] = "never"
    delete_roots: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    trash_bytes: Annotated[int, Meta(ge=0)] = 1_000_000_000
    trash_days: Positive = 14
    remote_buffer: str = ""
    remote_export: str = ""
    export: str = ""
    remote_quota_bytes: Annotated[int, Meta(ge=0)] = 0
    remote_free_bytes: Annotated[int, Meta(ge=0)] = 0
    tape: Annotated[str, Meta(pattern=r"^(directory|hsi|commands)$")] = "directory"
    tape_root: str = ""
    tape_commands: dict[str, tuple[str, ...]] = {}
    tape_seconds: Positive = 43200
    tape_jobs: Positive = 14
    batch: Annotated[str, Meta(pattern=r"^(local|htcondor|slurm)$")] = "local"
    batch_options: tuple[str, ...] = ()
    warehouse: str = ""
    slots: tuple[str, ...] = ()
    slots_reserved: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    dump_copies: Positive = 2
    dump_hours: Positive = 72
    disk_seconds: Positive = 120
    ideal_bytes: Positive = 107_374_182_400
    audit_percent: Annotated[float, Meta(ge=0, le=100)] = 1.0
    audit_days: Annotated[int, Meta(ge=0)] = 90
    rate: Annotated[int, Meta(ge=0)] = 0
