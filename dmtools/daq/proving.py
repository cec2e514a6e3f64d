"""Copied -> AtSite: only by size and checksum as the storage says them. Unknown is neither."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dmtools import names
from dmtools.control.passes import Pass
from dmtools.daq import files, outcomes
from dmtools.daq.files import File
from dmtools.daq.states import AT_SITE, COPIED
from dmtools.ledger.journal import Move
from dmtools.storage.answers import Absent, Look, Present, StorageError, Store, Unknown

LEAST_SECONDS, SLOWEST = 600.0, 50e6  # a storage reads a file to sum it; bytes a second


def prove(this: Pass, store: Store, copied: Sequence[File], trusted: Collection[int], *, wrote: bool) -> StorageError | None:
    """Books each as what the storage says of it. Gives the trouble of a storage that can't be asked now.

    `trusted`: ids whose bytes at the site were read back already. `wrote`: this pass wrote what stands there, so it may take
    away what is not as it was read; else that is left to a person.
    """
    asked = [file for file in copied if file.id not in trusted]
    urls = {file.id: this.settings.daq.site.rstrip("/") + file.lfn for file in asked}
    seconds = LEAST_SECONDS + sum(file.size for file in asked) / SLOWEST
    looks = store.look_many(list(urls.values()), deadline=seconds) if urls else []
    answers: dict[int, Look] = dict(zip(urls, looks, strict=True))
    proved = [file for file in copied if file.id in trusted or answers[file.id] == Present(file.size, file.checksum)]
    clean = (("failures", 0), ("next_try", None), ("error_class", None), ("reason", None))  # the next step counts its own
    files.advance(this, [Move(file.id, COPIED, AT_SITE, size=file.size, values=clean) for file in proved], proved)
    done = {file.id for file in proved}
    trouble = None
    for file in copied:
        if file.id not in done:
            trouble = _unproved(this, store, file, answers[file.id], urls[file.id], wrote) or trouble
    return trouble


def _unproved(this: Pass, store: Store, file: File, look: Look, url: str, wrote: bool) -> StorageError | None:
    if isinstance(look, Unknown):
        if look.wide:
            return StorageError("io", look.reason, wide=True)
        outcomes.not_proved_yet(this, file, look.reason)
        return None
    if isinstance(look, Absent):
        if wrote:
            outcomes.failed(this, file, "io", f"{names.shown(url)} was gone after its copy")
        else:
            files.again(this, [file], "nothing stood at the site: it is copied again")
        return None
    says = f"the storage says {look.size} bytes and {look.checksum} of {names.shown(url)}"
    why = f"{says}; read were {file.size} and {file.checksum}"
    if not wrote:
        outcomes.failed(this, file, "checksum", f"{why}; it was left", bad=True)
        return None
    try:
        store.delete(url, mark=store.mark(url))
    except StorageError as problem:
        outcomes.failed(this, file, "checksum", f"{why}, and it could not be taken away: {problem.reason}", bad=True)
        return problem if problem.wide else None
    outcomes.failed(this, file, "checksum", f"{why}; it was taken away")
    return None
