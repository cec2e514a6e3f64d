"""What dm-train-ok asks of a pipeline that uses FTS: does its proxy or token live, and did its renewal work?"""

from __future__ import annotations

from collections.abc import Iterator

from dmtools import clock
from dmtools.control import probes
from dmtools.control.entry import Figure, Probing
from dmtools.transfers import credentials, renewal


def figure(look: Probing, pipeline: str) -> Iterator[Figure]:
    """The life of the proxy; only where a real FTS server needs one."""
    settings, labels = look.settings, {"pipeline": pipeline}
    if all(server.url.startswith("sim:") for server in settings.fts.servers):
        return
    wanted = settings.credentials
    if wanted.renew and (last := renewal.last(settings)) is not None and not last.worked:
        ago = clock.age(look.age(last.at))
        said = f"the renewal of the proxy failed {ago} ago: {wanted.renew[0]}: {last.said}; its output is in HOME/log"
        yield Figure("renewal", labels, 0, said, state=probes.WARNING)
    try:
        if wanted.token_file:
            credentials.read_token(settings.path(wanted.token_file))
            yield Figure("token", labels, 1, "the token can be read")
            return
        path = credentials.proxy_path(settings)
        if path is None:
            raise credentials.Unusable("there is neither a proxy nor a token; see [credentials]")
        proxy = credentials.read_proxy(path)
        left = (proxy.expires - look.at).total_seconds()
        credentials.judge(settings, proxy)
    except credentials.Unusable as problem:
        yield Figure("credentials", labels, 0, str(problem), state=probes.CRITICAL)
        return
    said = f"the proxy {path} lives {clock.age(left)} more"
    limits = (probes.under(wanted.warn_seconds), probes.under(wanted.refuse_seconds))
    yield Figure("proxy_life", labels, round(left), said, "s", *limits)
