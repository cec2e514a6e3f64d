"""Names of hosts as they may be seen: the first and the last part, or nothing of them."""

from __future__ import annotations

import re

from dmtools.dqm.parsing import harvest
from dmtools.dqm.parsing.keys import Keys
from dmtools.dqm.parsing.redacting import Cleaner

_FORM = re.compile(r"([a-z]{2,10}\d{0,2})(?:-[a-z0-9]+)+-([a-z0-9]{1,4})")
_SCHEMES = ("ws", "wss", "http", "https")


def short(host: str, keys: Keys, cleaner: Cleaner) -> str:
    """`fu-c2f11-11-01.cms` -> `fu-...-01`; what has another form becomes a name that tells nothing: `host-9c1e`."""
    found = _FORM.fullmatch(host.partition(".")[0].lower())
    if found and cleaner.is_innocent(found[1]) and cleaner.is_innocent(found[2]):
        return f"{found[1]}-...-{found[2]}"
    return f"host-{keys.of('host', host)[:4]}"


def short_uri(uri: str, keys: Keys, cleaner: Cleaner) -> str:
    """`ws://fu-c2f11-11-01.cms:9215/sync` -> `ws://fu-...-01`."""
    scheme = uri.partition("://")[0]
    name = short(harvest.host_of(uri) or uri, keys, cleaner)
    return f"{scheme}://{name}" if scheme in _SCHEMES else name
