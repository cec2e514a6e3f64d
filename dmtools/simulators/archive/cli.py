"""The command line of `dm-sim archive`."""

from __future__ import annotations

from pathlib import Path

import click

from dmtools.command import Context, Refused, tool

SECONDS = click.FloatRange(min=0)


@tool("dm-sim archive", pipeline="sim", component="archive", example="dm-sim archive --mount 5 --rate 300")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, 0: any free one; else from the settings.")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False), help="Where it keeps its files; else HOME/demo.")
@click.option("--mount", type=SECONDS, default=0.2, show_default=True, help="Seconds until a tape is mounted.")
@click.option(
    "--rate", type=SECONDS, default=300, show_default=True, help="Megabytes a second of the tape; 0: as fast as it goes."
)
def command(context: Context, port: int | None, root: Path | None, mount: float, rate: float) -> None:
    """The remote host's tape: HPSS as hsi shows it.

    ROOT/lta/remote/bin/hsi and hpss_avail talk to it: put that directory first in PATH and set [lta] tape = "hsi". They know put,
    get, ls -l, hashlist, hashverify, mkdir -p, mv and rm.

    \b
    GET  /sim/files            each file on tape: path, size, sha512 as read now, and the one that was kept
    POST /sim/flip?path=PATH   one bit of it rots
    They want the server's token. Faults in run/sim/archive.faults.toml: match is a part of "put /path", "hashverify /path",
    "hpss_avail archive", ...; op fail, stall or slow, and of a put: corrupt (reason "on the way": before its checksum was made),
    truncate, nothing (it says that it stored it), no-checksum; those of requests as in the other simulators.
    """  # noqa: D301 - click wants the character itself
    from dmtools.simulators.archive import running
    from dmtools.simulators.archive.vault import Vault

    settings = context.settings
    place = root or settings.home / "demo"
    if not place.is_dir():
        raise Refused(f"the directory {place} is not there; make it first")
    if context.dry_run:
        context.plan(f"would keep its files below {place / 'lta/remote'}")
        return
    at = settings.port("archive") if port is None else port
    running.serve(settings.home, place, lambda vault, faults: Vault(vault, faults, mount, rate * 1e6), at)
