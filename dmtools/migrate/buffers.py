"""The disk that the consumer fills: that of the destination, when it is a directory here."""

from __future__ import annotations

from pathlib import Path

from dmtools.names import path_of
from dmtools.settings import Settings


def destinations(settings: Settings) -> list[Path]:
    """The one destination of all rules; none when there are several, for one that is full holds up no other.

    One on HOME's own disk is left out: HOME is looked at by every pass.
    """
    urls = {rule.destination for rule in settings.migrate.rules}
    if any(not url.startswith("file://") for url in urls):
        return []
    disks: dict[int, Path] = {}
    for path in map(path_of, sorted(urls)):
        try:
            disks.setdefault(path.stat().st_dev, path)
        except OSError:
            return []
    return list(disks.values()) if len(disks) == 1 and settings.home.stat().st_dev not in disks else []
