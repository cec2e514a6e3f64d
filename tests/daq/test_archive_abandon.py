"""daq-archive --abandon: what a dead FTS server holds goes to another, and nothing goes to tape twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.daq.archive_steps import DAY, Archive
from tests.support import Server

A = f"{DAY}a_20250131T010101.dat"


def test_a_dead_server_is_given_up_and_its_zip_goes_to_another(home: Path, serve: Callable[..., Server]) -> None:
    site = Archive(home, serve)
    servers = ", ".join(
        f'{{ name = "{name}", url = "sim:{name}", weight = {weight} }}' for name, weight in (("fts1", 1), ("fts2", 0))
    )
    site.settings(f"[fts]\nservers = [{servers}]\n")
    site.start()
    site.faults('[[fault]]\nmatch = "*.zip"\nop = "stall"\n')
    site.at_site(A)
    site.zipped()
    site.archive()
    assert site.sql("SELECT server, state FROM ftsjob") == [("fts1", "submitted")]
    assert "--force" in site.run("daq-archive", "--abandon", "fts1").gave(2).err
    site.servers["fts1"].kill()
    path = home / "dmtools.toml"
    path.write_text(path.read_text().replace('url = "sim:fts2", weight = 0', 'url = "sim:fts2", weight = 1'))
    site.start(names=("fts2",))
    assert "--yes" in site.run("daq-archive", "--abandon", "fts1").gave(2).err
    assert "1 jobs of fts1 were closed" in site.run("daq-archive", "--abandon", "fts1", "--yes").ok().out
    site.settle()
    assert site.files() == {"OnTape": 1}
    jobs = site.sql("SELECT server, state FROM ftsjob ORDER BY id")
    assert [tuple(row) for row in jobs] == [("fts1", "abandoned"), ("fts2", "closed")]
