"""The figures as Prometheus reads them: things by state, sites, requests of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from dmtools.lta.api.sites import ListSites, Status
from dmtools.lta.books import Who
from dmtools.lta.server.answers import Desks

KIND = "text/plain; version=0.0.4; charset=utf-8"
_SITE = ("free", "quota", "reserved", "queue", "age")


class Counts:
    """Requests of this process, and the seconds they took, by method, route and status."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str, int], list[float]] = {}
        self._lock = threading.Lock()

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request more."""
        method = method if method in ("GET", "HEAD", "POST") else "other"
        with self._lock:
            found = self._of.setdefault((method, route, status), [0, 0.0])
            found[0] += 1
            found[1] += seconds

    def lines(self) -> Iterator[str]:
        """Two lines each."""
        with self._lock:
            found = sorted((*key, *value) for key, value in self._of.items())
        yield "# TYPE lta_http_requests_total counter"
        yield "# TYPE lta_http_request_seconds_total counter"
        for method, route, status, n, seconds in found:
            labels = _labels(method=method, route=route, status=status)
            yield f"lta_http_requests_total{labels} {n:.0f}"
            yield f"lta_http_request_seconds_total{labels} {seconds:.6f}"


def text(desks: Desks, who: Who, counts: Counts) -> str:
    """All of them."""
    figures = msgspec.json.decode(desks.do(who, Status()))
    sites = msgspec.json.decode(desks.do(who, ListSites()))["sites"]
    return "\n".join([*_things(figures), *_sites(sites), *counts.lines(), ""])


def _things(figures: dict[str, Any]) -> Iterator[str]:
    names = {"counts": "lta_bundles", "bytes": "lta_bundle_bytes", "disks": "lta_disks", "directories": "lta_directories"}
    for key, name in {**names, "errands": "lta_errands"}.items():
        yield f"# TYPE {name} gauge"
        for state, n in figures[key].items():
            yield f"{name}{_labels(state=state)} {n}"
    yield "# TYPE lta_duplicates gauge"
    yield f"lta_duplicates {figures['duplicates']}"


def _sites(sites: list[dict[str, Any]]) -> Iterator[str]:
    for key in _SITE:
        yield f"# TYPE lta_site_{key} gauge"
        for site in sites:
            if site[key] is not None:
                yield f"lta_site_{key}{_labels(site=site['name'])} {site[key]}"
    yield "# TYPE lta_site_error gauge"
    for site in sites:
        yield f"lta_site_error{_labels(site=site['name'])} {int(site['state'] == 'Error')}"


def _labels(**values: object) -> str:
    escaped = {name: str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name, value in values.items()}
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
