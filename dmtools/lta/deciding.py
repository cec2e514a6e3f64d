"""What an operator of lta must decide before anything runs, with what each choice risks: the questions of `dm-config init`."""

from __future__ import annotations

import sys
from pathlib import Path

from dmtools.command import Context

NEVER, VERIFIED = "never", "verified"
FREE_LOCAL = {
    NEVER: (
        "a person deletes shipped bundles, with lta-manual-bundle. "
        "The risk: while nobody does, outbound fills up, and no new bundle fits."
    ),
    VERIFIED: (
        "lta-bundle-scanner deletes a bundle here as soon as so many copies are proved on tape. "
        "The risk: what is lost on tape afterwards is lost, unless its files are still in the warehouse."
    ),
}
COPIES = (
    "A bundle and its files may be deleted here when so many remote sites have proved it on tape, read back by size and sha512. "
    "The risk of 1: the tape has the only copy from then on."
)
DEFAULTS: dict[str, object] = {"lta.destination": "nersc", "lta.copies": 1, "lta.free_local": NEVER}


def wanted(context: Context, home: Path, is_lta: bool) -> dict[str, object]:
    """The keys of a new settings file: as a person at the terminal says; a script gets the safer ones, written out to be read."""
    if not is_lta or (home / "dmtools.toml").exists():
        return {}
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not context.as_json and not context.quiet
    return ask() if at_terminal else dict(DEFAULTS)


def ask() -> dict[str, object]:
    """Asks the person at the terminal; Enter is what a script gets."""
    import click

    click.echo("What is the remote site called? Bundles, its token and dm-monitoring's lines have that name.")
    destination = click.prompt("destination", default="nersc", value_proc=_site)
    click.echo(click.wrap_text(COPIES, 100))
    copies = click.prompt("copies", default=1, type=click.IntRange(min=1))
    click.echo("Who deletes the zip of a bundle here when it is proved there?")
    for number, (name, text) in enumerate(FREE_LOCAL.items(), 1):
        click.echo(click.wrap_text(f"{number}  {name}: {text}", 100, "  ", "     "))
    known = {str(number): name for number, name in enumerate(FREE_LOCAL, 1)} | {name: name for name in FREE_LOCAL}
    answer = click.prompt("free_local", default=NEVER, type=click.Choice([*known], case_sensitive=False), show_choices=False)
    return {"lta.destination": destination, "lta.copies": copies, "lta.free_local": known[answer]}


def _site(text: str) -> str:
    import re

    import click

    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", text) or text == "local":
        raise click.BadParameter("a site's name is small letters, digits and -, and not local")
    return text
