"""How daq calls things in a trace: the engine's states of a copy to tape, and what keeps each of its two commands from work."""

from __future__ import annotations

from dmtools.control import traces
from dmtools.control.entry import Question
from dmtools.control.hindrances import Hindrance


def advice(error_class: str) -> str:
    """What helps against an error class, of the engine or of a storage."""
    own = {
        "changed": "look at the file: was it written to after its copy?",
        "credentials": "renew the proxy or token",
        "full": "make room at the site",
        "held": "look at why the batch system held its job",
        "invalid": "look at its name, and at [daq] pattern and lfn",
        "job": "look at the job in the batch system: memory, time, scratch",
        "lost": "look at the batch system, or at the tape if it was there already",
        "missing": "put the file back, or say: daq-transfer --forget LFN",
        "occupied": "look at both files; move the one that is wrong away",
        "permission": "make it readable for the user who runs the commands",
    }
    if error_class in own:
        return own[error_class]
    from dmtools.transfers import errors

    return errors.advice(error_class)


WORDS = traces.Words(
    *("daq", "TODO", "DOING", "Okay", "archive", "archive", "daq-archive"), advice=advice, abandon="daq-archive --abandon"
)


def waits(q: Question, component: str, said: list[str], step: str = "", *, resource: str = "", see: str = "") -> Hindrance:
    """It waits for a pass of `component`: what keeps that from it comes first."""
    step = step or f"nothing: the next pass of daq-{component} goes on with it"
    return traces.kept(q, WORDS, component, said, step, resource=resource, see=see)
