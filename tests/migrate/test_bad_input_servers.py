"""FTS servers that answer as none should: told once, by name; the other works, nothing is lost (more: tests/transfers)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.migrate.steps import Site
from tests.migrate.told import one_problem
from tests.support import Server
from tests.transfers import fake_fts as odd
from tests.transfers.fake_fts import Answer, FakeFts, fake_fts

SECONDS = 2
AWAY = "did not answer as an FTS server does"
AT_FIRST: dict[str, tuple[Answer, str]] = {
    "HTML": (odd.HTML, AWAY),
    "truncated JSON": (odd.TRUNCATED, AWAY),
    "JSON of something else": ((200, b'{"name": "grafana"}'), "no FTS server"),
    "a list": ((200, b"[]"), AWAY),
    "500": (odd.BROKEN, AWAY),
    "503": (odd.BUSY, AWAY),
    "a redirect": ((302, b""), AWAY),
    "no answer": (odd.nothing, AWAY),
    "silence": (odd.silence, AWAY),
    "a byte now and then": (odd.drip, AWAY),
}


@pytest.fixture
def liar() -> Iterator[FakeFts]:
    with fake_fts() as fake:
        yield fake


@pytest.fixture
def site(home: Path, serve: Callable[..., Server], liar: FakeFts) -> Site:
    """Two servers: one that lies, and a good one."""
    return Site(home, serve)


def configure(site: Site, liar: FakeFts, *good: str) -> None:
    """The settings, whole: the liar, and good servers."""
    token = site.home / "secrets/token"
    token.write_text("t0ken")
    token.chmod(0o600)
    servers = "".join(
        f'{{ name = "{name}", url = "{url}" }}, ' for name, url in [("liar", liar.url), *((one, f"sim:{one}") for one in good)]
    )
    times = f"connect_seconds = {SECONDS}\ncall_seconds = {SECONDS}\n"
    text = f'[credentials]\ntoken_file = "secrets/token"\n[fts]\n{times}servers = [{servers}]\n'
    (site.home / "dmtools.toml").write_text(text)


def test_each_server_that_is_away_is_told_once(site: Site) -> None:
    site.only()
    site.start()
    site.master(site.files("/a/1", "/a/2"))
    site.produce(lfns=1)
    site.run("migrate-consumer").ok()
    with site.database() as db:
        db.execute("UPDATE ftsjob SET server = 'gone' WHERE id = 2")
    site.servers["fts1"].kill()
    told = site.run("migrate-monitor", "--json").gave(75).json["errors"]
    assert sorted((one["what"], one["subject"]) for one in told) == [
        *(("FTS server away", name) for name in ("fts1", "gone")),
        ("no FTS server", "fts1, gone"),
    ]


def test_the_other_server_takes_the_work(site: Site, liar: FakeFts) -> None:
    configure(site, liar, "fts1")
    site.start()
    site.master(site.files(*(f"/a/{n}" for n in range(len(AT_FIRST)))))
    site.produce(lfns=1)
    for how, (answer, why) in AT_FIRST.items():
        liar.odd.clear()
        liar.answers("GET /$", answer)
        found = site.run("migrate-consumer", "--lists", 1, "--json")
        one_problem(
            found,
            *(0, "done"),
            what="FTS server away",
            subject="liar",
            why=("liar", why),
            left="its jobs stay as they are",
            next="asked again at each pass",
        )
        assert found.json["counts"] == {"TODO>DOING": 1}, how
        assert found.seconds < SECONDS + 20, how
    site.over()
    site.monitor()
    assert site.tally() == {"Okay": len(AT_FIRST)}
    assert len(site.copies()) == len(AT_FIRST)
    assert liar.jobs == {}


def test_no_server_at_all(site: Site, liar: FakeFts) -> None:
    """Nothing can be done: 75, all stays; and the monitor, whose only job is at the liar, says the same."""
    configure(site, liar)
    site.master(site.files("/a/1"), "1.txt")
    site.produce()
    site.consume()
    job = liar.job()
    site.master(site.files("/a/2"), "2.txt")
    site.produce()
    todo, doing = site.lines("TODO"), site.lines("DOING")
    for how in ("HTML", "truncated JSON", "500", "silence"):
        answer, why = AT_FIRST[how]
        liar.odd.clear()
        liar.answers("GET /$", answer)
        for name in ("migrate-consumer", "migrate-monitor"):
            found = site.run(name, "--json").gave(75)
            assert found.json["state"] == "unavailable"
            told = {one["what"]: one for one in found.json["errors"]}
            assert "liar" in told["no FTS server"]["subject"], how
            assert why in told["FTS server away"]["why"] + told["no FTS server"]["why"], how
            assert "the next pass asks again" in told["no FTS server"]["next"]
        assert (site.lines("TODO"), site.lines("DOING")) == (todo, doing) == (["/a/2"], ["/a/1"]), how
    liar.odd.clear()
    site.consume()
    job.finish()
    liar.job().finish()
    site.monitor()
    assert site.lines("DONE/Okay") == ["/a/1", "/a/2"]
    assert len(liar.jobs) == 2


def test_a_refused_job_is_halved_until_the_bad_file_stands_alone(site: Site, liar: FakeFts) -> None:
    """400 for every job that holds one file: the others arrive, that one is Bad with the server's own words."""
    configure(site, liar)
    honest, said = liar.handle, "Invalid value within the request: Unacceptable name"

    def picky(method: str, path: str, body: bytes) -> tuple[int, Any]:
        if method == "POST" and b"/bad" in body:
            return 400, {"status": "400 Bad Request", "message": said}
        return honest(method, path, body)

    liar.handle = picky  # type: ignore[method-assign]
    good = [f"/a/{n}" for n in range(6)]
    site.master(site.files(*good[:2], "/a/bad", *good[2:]))
    site.produce(lfns=20)
    for _ in range(5):
        site.consume()
        for job in liar.jobs.values():
            job.finish()
        site.monitor()
        site.due()
    assert site.lines("DONE/Okay") == good
    assert site.lines("DONE/Bad") == ["/a/bad"]
    assert said in "".join((site.home / "migrate/DONE/Bad" / name).read_text() for name in site.names("DONE/Bad"))
    sent = [path for job in liar.jobs.values() for path in job.paths]
    assert sorted(sent) == [lfn.rpartition("/")[2] for lfn in good], "each once"
    assert (site.names("TODO"), site.names("DOING")) == ([], [])
