"""Where a site's page, its old runs and its JSON endpoint are; the cookies that they ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from dmtools.control import simulated
from dmtools.settings import Settings, read_secret
from dmtools.settings.dqm import Site

_SIMULATED = "#/lumi/?trackRun&hosts={}_local&run=&showFiles&showJobs&showTimestampsGraph&showEventsGraph"
_COOKIE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True)
class Address:
    """One site: the page as it is opened, and the cookies without which it refuses."""

    page: str
    cookies: dict[str, str]

    @property
    def origin(self) -> str:
        """https://HOST:PORT."""
        parts = urlsplit(self.page)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def is_routed(self) -> bool:
        """Is its content chosen behind the #, as DQM^2 does, so that old runs have addresses of their own?"""
        return "?" in urlsplit(self.page).fragment

    def of_run(self, run: int) -> str:
        """The page that shows this run and stays with it: run=N, no trackRun."""
        parts = urlsplit(self.page)
        path, _, query = parts.fragment.partition("?")
        kept = [word for word in query.split("&") if word and word.partition("=")[0] not in ("trackRun", "run")]
        return urlunsplit(parts._replace(fragment=f"{path}?{'&'.join([*kept, f'run={run}'])}"))

    def endpoint(self, name: str) -> str:
        """/sync_proxy or /info beside the page's /static, asked for the same hosts."""
        parts = urlsplit(self.page)
        below = parts.path.partition("/static/")[0] if "/static/" in parts.path else ""
        hosts = re.search(r"[?&]hosts=([^&]*)", parts.fragment)
        query = f"hosts={quote(hosts[1], safe='')}" if hosts else ""
        return urlunsplit((parts.scheme, parts.netloc, f"{below.rstrip('/')}/{name}", query, ""))


NOWHERE = Address("", {})  # before it was looked for


def find(site: Site, settings: Settings) -> Address:
    """The site's address now. Raises NotRunning, SettingsError (a cookie file that can't be used)."""
    if site.url.startswith("sim:"):
        base, token = simulated.address(settings.home, "dqm")
        cluster = site.url.partition("/")[2]
        page = f"{base}/static/index.html{_SIMULATED.format(cluster)}"
        return Address(page, {"dm-sim": token, **cookies(settings)})
    return Address(site.url, cookies(settings))


def cookies(settings: Settings) -> dict[str, str]:
    """Those of [dqm] cookie_file. Raises SettingsError; no message shows a value."""
    from dmtools.settings import SettingsError

    if not settings.dqm.cookie_file:
        return {}
    path = settings.path(settings.dqm.cookie_file)
    found = {}
    for number, line in enumerate(read_secret(path, "cookie file").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.strip().partition("=")
        if not equals or not _COOKIE.fullmatch(name.strip()) or re.search(r"[\s;,\"\\]|[^\x21-\x7e]", value.strip()):
            raise SettingsError(path, [f"line {number} of the cookie file {path} is not NAME=VALUE; mend that line"])
        found[name.strip()] = value.strip()
    return found
