"""The command line of `dm-sim fts`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dmtools.command import Context, Refused, tool

SECONDS = click.FloatRange(min=0)
COUNT = click.IntRange(min=1)


@tool("dm-sim fts", pipeline="sim", component="fts", example="dm-sim fts --name fts1 --port 0")
@click.option("--name", type=click.Choice(["fts1", "fts2"]), help="One server; without it both run in this process.")
@click.option("--port", type=click.IntRange(0, 65535), help="The (first) port, 0: any free one; else from the settings.")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False), help="file:// below this only; else HOME/demo.")
@click.option("--vo", help="The virtual organisation of the one user; else [credentials] vo, else `demo`.")
@click.option("--instant", is_flag=True, help="Link the files at submit and answer when all is finished (for benches).")
@click.option("--running", type=COUNT, default=8, show_default=True, help="Copies at once.")
@click.option("--link-limit", type=COUNT, default=60, show_default=True, help="Copies at once between two storages.")
@click.option("--retries", type=int, default=0, show_default=True, help="For jobs that leave retries to the server.")
@click.option("--retry-delay", type=SECONDS, default=120, show_default=True, help="For jobs without a retry_delay, seconds.")
@click.option("--staging", type=SECONDS, default=0.5, show_default=True, help="Seconds to bring a file online.")
@click.option("--archiving", type=SECONDS, default=0.5, show_default=True, help="Seconds until a file is on tape.")
@click.option("--cancel-delay", type=SECONDS, default=0, show_default=True, help="Seconds that a canceled copy goes on.")
@click.option("--keep", type=SECONDS, default=604800, show_default=True, help="Seconds until a finished job is archived.")
@click.option("--check-duplicates", is_flag=True, help="Refuse a second live transfer to a destination (409).")
@click.option("--plain-user", is_flag=True, help="The user is no operator: 403 for cancel-all and bans.")
def command(context: Context, **options: Any) -> None:
    """FTS3 servers: the REST protocol of the real one, real copies of file:// and root://.

    \b
    GET /sim/copies       each copy that opened its destination, and how it ended
    GET /sim/submissions  each submission that was accepted
    POST /sim/archive/ID  the clean-up of a finished job, now
    The three want the server's token, as all else does.
    """  # noqa: D301 - click wants the character itself
    from dmtools.simulators.fts import running
    from dmtools.simulators.fts.changes import Pace
    from dmtools.simulators.fts.server import Choices

    settings = context.settings
    root: Path = options["root"] or settings.home / "demo"
    names = (options["name"],) if options["name"] else running.NAMES
    if options["root"] and not root.is_dir():
        raise Refused(f"the directory {root} of --root is not there; make it first")
    if context.dry_run:
        context.plan(f"would serve {' and '.join(names)} for files below {root}")
        return
    root.mkdir(parents=True, exist_ok=True)
    pace = Pace(options["staging"], options["archiving"], options["retry_delay"], options["retries"], options["keep"])
    choices = Choices(
        root=root,
        port=0,
        vo=options["vo"] or settings.credentials.vo or "demo",
        pace=pace,
        running=options["running"],
        link_limit=options["link_limit"],
        cancel_delay=options["cancel_delay"],
        instant=options["instant"],
        operator=not options["plain_user"],
        check_duplicates=options["check_duplicates"],
    )
    running.serve(settings, names, options["port"], choices)
