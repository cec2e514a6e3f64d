"""The command line of `dm-sim daq`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from dmtools.command import Context, Refused, tool

COUNT = click.IntRange(min=1)
MANY = click.IntRange(min=0)
SECONDS = click.FloatRange(min=0)
DIRECTORY = click.Path(path_type=Path, file_okay=False)


@tool("dm-sim daq", pipeline="sim", component="daq", example="dm-sim daq --files 50 --every 0.1")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, 0: any free one; else from the settings.")
@click.option("--root", type=DIRECTORY, help="Disks must lie below this; else HOME/demo.")
@click.option("--files", type=COUNT, default=20, show_default=True, help="Files until a disk is full.")
@click.option("--file-bytes", type=COUNT, default=100_000, show_default=True, help="A file's size, more or less.")
@click.option("--files-a-run", type=COUNT, default=10, show_default=True, help="Files until a new run begins.")
@click.option("--every", type=SECONDS, default=0.2, show_default=True, help="Seconds between two files.")
@click.option("--disks", type=MANY, default=0, show_default=True, help="Fill so many disks, then only answer; 0: no end.")
@click.option("--notes", is_flag=True, help="Leave run_notes.txt in each run: it has no date and keeps its disk.")
@click.option("--dots", is_flag=True, help="Leave a dot-file in each run: it keeps its disk, too.")
@click.option("--seed", type=int, help="The same files again.")
def command(context: Context, **options: Any) -> None:
    """A detector's data acquisition: writes runs to the disks of [daq] disks and flags those that are full.

    \b
    GET  /sim/files       each file that was finished: path, size, adler32
    GET  /sim/disks       each disk: its flags, and how many files are on it
    POST /sim/fill/DISK   fill this disk now and flag it, as data1; the answer comes when it is done
    They want the server's token. Faults in run/sim/daq.faults.toml: op slow, stall or fail on a file's path hold up its
    writing or end it short; those of requests as in the other simulators.
    """  # noqa: D301 - click wants the character itself
    from dmtools.simulators.daq import running
    from dmtools.simulators.daq.writer import Pace

    settings = context.settings
    root: Path = options["root"] or settings.home / "demo"
    disks = [settings.path(text) for text in settings.daq.disks]
    outside = [disk for disk in disks if not _is_below(disk, root)]
    if outside:
        raise Refused(f"the disk {outside[0]} lies outside {root}; the simulator writes below its root only, see --root")
    if context.dry_run:
        context.plan(f"would write to {', '.join(map(str, disks))}")
        return
    keys = ("files", "file_bytes", "files_a_run", "every", "disks", "notes", "dots")
    port = settings.port("daq") if options["port"] is None else options["port"]
    running.serve(settings.home, disks, Pace(**{key: options[key] for key in keys}), port, options["seed"])


def _is_below(disk: Path, root: Path) -> bool:
    real = os.path.realpath(disk)
    return os.path.commonpath([real, os.path.realpath(root)]) == os.path.realpath(root)
