"""The command line of `dm-sim metacat`."""

from __future__ import annotations

import click

from dmtools.command import Context, tool


@tool("dm-sim metacat", pipeline="sim", component="metacat", example="dm-sim metacat --port 0")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, 0: any free one; else from the settings.")
@click.option("--namespace", default="datalogger", show_default=True, help="A namespace that is there from the first.")
@click.option("--token-seconds", type=float, default=604800, show_default=True, help="How long the token lives.")
def command(context: Context, port: int | None, namespace: str, token_seconds: float) -> None:
    """A catalogue that answers MetaCat's own client, metacat-client, in its own words.

    MetaCat's server is on no registry, so this one is made from what the client sends and what it makes of the answers; where
    the client doesn't tell, the real server may differ. It knows namespaces, datasets, declare_files, add_files, remove_files,
    get_file, get_files, update, retire, delete, and queries `files from NAMESPACE:NAME [where KEY = VALUE]`.

    \b
    run/sim/metacat.token   a token, as `metacat auth token -o FILE` writes one; login_ldap takes any user with the address
                            file's token as the password
    GET /sim/asked          every request that it got
    What it holds stays over a restart. Faults in run/sim/metacat.faults.toml: those of requests, as in the others; match is a
    part of "METHOD /data/...".
    """  # noqa: D301 - click wants the character itself
    from dmtools.simulators.metacat import running

    if context.dry_run:
        context.plan(f"would answer as a MetaCat with the namespace {namespace}")
        return
    at = context.settings.port("metacat") if port is None else port
    running.serve(context.settings.home, namespace, token_seconds, at)
