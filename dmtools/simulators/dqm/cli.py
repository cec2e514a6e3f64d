"""The command line of `dm-sim dqm`."""

from __future__ import annotations

import secrets
from typing import Any

import click

from dmtools.command import Context, tool

SECONDS = click.FloatRange(min=0.05)


@tool("dm-sim dqm", pipeline="sim", component="dqm", example="dm-sim dqm --run-seconds 60 --seed 1")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, 0: any free one; else from the settings.")
@click.option("--jobs", type=click.IntRange(1, 500), default=12, show_default=True, help="Jobs of a run.")
@click.option("--runs", type=click.IntRange(0, 1000), default=20, show_default=True, help="Old runs that are kept.")
@click.option("--run-seconds", type=SECONDS, default=300, show_default=True, help="Seconds until the next run begins.")
@click.option("--lumi-seconds", type=SECONDS, default=5, show_default=True, help="Seconds of a lumi section.")
@click.option("--every", type=SECONDS, default=1, show_default=True, help="Seconds between two news of the jobs.")
@click.option("--still", is_flag=True, help="Nothing is there and nothing moves, but for what is uploaded.")
@click.option("--seed", type=int, help="The same runs again, but for the times.")
def command(context: Context, **options: Any) -> None:
    """The page of DQM^2: a production and a playback cluster, whose runs, jobs and logs move by themselves.

    \b
    GET  /static/index.html  the page; behind it #/lumi/?trackRun&hosts=production_local&run=&showFiles&showJobs&...
    GET  /sync               the websocket that fills it: sync_request, request_documents
    POST /sync_proxy         {"messages": ["<json>"]}: the same by plain HTTP
    POST /_upload/           {"docs": [...]}: documents with _id, type, run, tag, hostname, timestamp
    GET  /info               host, cluster, db_size
    POST /sim/next-run       the run ends and the next begins, now
    All but the page know ?hosts=playback_local; without it production_local is meant. They want the server's token: cookie
    dm-sim, header X-Dm-Token, or ?token= that sets the cookie.

    Faults in run/sim/dqm.faults.toml: match is a part of "GET /sync?hosts=production_local", "POST /sync_proxy", ...; op cut
    (the websocket is closed), deaf (it is open and says nothing), half (half of the documents), busy (the page's script never
    ends), alert (a box that waits), markup (other classes); those of requests as in the other simulators.
    """  # noqa: D301 - click wants the character itself
    from dmtools.simulators.dqm import running
    from dmtools.simulators.dqm.clockwork import Pace

    settings = context.settings
    port = settings.port("dqm") if options["port"] is None else options["port"]
    if context.dry_run:
        context.plan(f"would serve the page at 127.0.0.1, port {port or 'any that is free'}")
        return
    keys = ("jobs", "runs", "run_seconds", "lumi_seconds", "every")
    seed = secrets.token_hex(8) if options["seed"] is None else options["seed"]
    running.serve(settings.home, Pace(**{key: options[key] for key in keys}), port, seed, still=options["still"])
