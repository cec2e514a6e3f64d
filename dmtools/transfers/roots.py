"""An unmounted disk is not a disk without files: before "absent" is believed, the root below which it should lie is looked at."""

from __future__ import annotations

from dmtools.settings import Settings
from dmtools.storage import Absent, Look, Unknown, client_for


class Roots:
    """The places that the settings name; each is looked at once, and only when something is missing there."""

    def __init__(self, settings: Settings) -> None:
        urls = [url for rule in settings.migrate.rules for url in (rule.source, rule.destination)]
        urls += [settings.daq.site, settings.daq.zips, settings.daq.tape]
        urls += [settings.lta.outbound_url, settings.lta.buffer, settings.lta.export]
        self._roots = sorted({url.removesuffix("/") for url in urls}, key=len, reverse=True)
        self._settings = settings
        self._said: dict[str, str | None] = {}

    def believe(self, url: str, look: Look) -> Look:
        """The same look; an Absent below a root that is itself not there becomes Unknown."""
        if not isinstance(look, Absent):
            return look
        root = next((root for root in self._roots if url.startswith(root + "/")), None)
        if root is None:
            return look
        if root not in self._said:
            store = client_for(root, self._settings)
            self._said[root] = store.trouble(root) if store is not None else None
        why = self._said[root]
        return look if why is None else Unknown(f"its root can't be used: {why}", wide=True)
