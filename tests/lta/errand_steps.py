"""The source's half of an errand, as its asks make it."""

from __future__ import annotations

from dmtools.lta.api import answer
from dmtools.lta.api.errands import AdvanceErrands, ClaimErrands, Errand, ErrandMove, Errands
from dmtools.lta.direct import Direct


def fetched(books: Direct, errand: Errand) -> Errand:
    """ExportReady -> Downloading -> DownloadDone."""
    for to in ("Downloading", "DownloadDone"):
        ask = ClaimErrands(states=(errand.state,), destination=errand.destination, holder="h", ids=(errand.id,))
        [errand] = answer(books, ask, Errands).errands
        move = ErrandMove(id=errand.id, fence=errand.fence, before=errand.state, to=to)
        [errand] = answer(books, AdvanceErrands(moves=(move,)), Errands).errands
    return errand
