"""What lies in the buffer: it leaves only when its bundle is proved on tape; what nobody knows is told."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from dmtools import durable, names
from dmtools.lta.remote.client import Site, place_of
from dmtools.lta.remote.server import Thing

PROVED = ("NERSCClean", "LocalDeleted", "LocalFilesDeleted")
ON_TAPE = ("NERSCDone", *PROVED)
DAY = 86400.0


def ideal_of(path: str) -> str:
    """The ideal name of a file by its path below the buffer."""
    return names.encode(os.fsencode(path))


def remove(site: Site, one: Thing) -> bool:
    """Removes the copy of a bundle that the server says is on tape; True: it is not there any more."""
    assert one["state"] in ON_TAPE
    shown = names.shown(one["ideal"])
    path = place_of(site.settings.remote_buffer, one["ideal"])
    try:
        if not path.parent.resolve().is_relative_to(Path(site.settings.remote_buffer).resolve()):
            return _left(site, shown, f"{path} leads out of the buffer")
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != one["size"]:
            return _left(site, shown, f"{path} is not the {one['size']} bytes that were shipped")
        durable.remove(path)
    except (FileNotFoundError, NotADirectoryError):
        if Path(site.settings.remote_buffer).is_dir():
            return True
        return _left(site, shown, f"the buffer {site.settings.remote_buffer} is not there")
    except OSError as problem:
        return _left(site, shown, f"{path}: {problem.strerror}")
    site.context.log(f"{path} is removed: it is proved on tape")
    return True


def _left(site: Site, shown: str, why: str) -> bool:
    next_step = "look at it; the next pass tries again"
    site.problem("buffer's copy stays", shown, why=why, left="its copy on tape is proved", next=next_step, failed=True)
    return False


def clean(site: Site) -> None:
    """Files that no open bundle needs: those of bundles that are proved go, those that nobody knows are told after a day."""
    lying = {ideal_of(path): path for path in site.health.lying}
    if not lying:
        return
    known = {one["ideal"]: one for one in site.server.known(list(lying))}
    for ideal, path in lying.items():
        if (one := known.get(ideal)) is not None:
            if one["state"] in PROVED:
                remove(site, one)
        elif abs(time.time() - site.health.lying[path].st_mtime) > DAY:
            why = "no bundle of this site has this name"
            step = "remove it by hand when nobody needs it"
            site.problem("unknown file in the buffer", names.shown(ideal), why=why, left="it was left alone", next=step)
