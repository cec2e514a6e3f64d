"""What the shell completes beyond options: words, and names that are looked up only when somebody presses Tab."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from dmtools.command.named import named

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def one_of(*words: str) -> Complete:
    """These words."""
    return lambda _context, _parameter, begun: [word for word in words if word.startswith(begun.lower())]


def names(place: str) -> Complete:
    """What `module:function` gives: it is called with the options given so far, and loaded only then. No error is ever shown."""

    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        try:
            found: Iterable[str] = named(place)(context.params)
            return [name for name in found if name.startswith(begun.lower())]
        except Exception:  # noqa: BLE001 - a person who types can't read it here; the command itself will tell
            return []

    return complete
