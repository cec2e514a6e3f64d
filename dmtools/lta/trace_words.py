"""How lta calls things in a trace: the engine's states of a push, what a person says next, what keeps a command from work."""

from __future__ import annotations

import shlex

from dmtools import names
from dmtools.control import traces
from dmtools.control.entry import Question
from dmtools.control.hindrances import Hindrance


def advice(error_class: str) -> str:
    """What helps against an error class, of the engine or of a remote site."""
    own = {
        "checksum": "look at the storage and the network between: what arrived is not what was sent",
        "credentials": "renew the proxy or token",
        "full": "make room in the remote buffer",
        "missing": "look for the zip: where is it?",
        "occupied": "look at both files; move the one that is wrong away",
        "quota": "raise the quota of the remote site, or make a smaller bundle",
        "tape": "ask those who run the tape",
        "name": "the tape system can't take this name: give the bundle another",
    }
    if error_class in own:
        return own[error_class]
    from dmtools.transfers import errors

    return errors.advice(error_class)


WORDS = traces.Words(
    *("lta", "TODO", "DOING", "Okay", "bundle-scanner", "bundle-scanner", "lta-bundle-scanner"),
    advice=advice,
    abandon="lta-bundle-scanner --abandon",
)


def waits(q: Question, component: str, said: list[str], step: str = "", *, see: str = "") -> Hindrance:
    """It waits for a pass of `component`: what keeps that from it comes first."""
    step = step or f"nothing: the next pass of lta-{component} goes on with it"
    return traces.kept(q, WORDS, component, said, step, see=see)


def say(what: str, name: str) -> str:
    """The command with which a person takes a bundle up again or gives it up; `name` is encoded."""
    return f"lta-bundle-scanner --{what} {shlex.quote(names.shown(name))} --reason TEXT"
