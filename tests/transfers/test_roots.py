"""An unmounted source or destination is trouble of the storage, never thousands of missing files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support import run


def counts(home: Path) -> dict[str, int]:
    return {k: n for k, n in run("dm-monitoring", "--json", home=home).json["pipelines"]["migrate"]["counts"].items() if n}


def test_a_source_root_that_is_gone_makes_lists_wait_and_calls_nothing_missing(home: Path, sim: Any) -> None:
    sim(home)
    (home / "migrate/TODO/ListOfLFNs/m").write_text("/a\n/b\n")
    (home / "demo/castor/a").write_text("a")
    (home / "demo/castor").rename(home / "demo/unmounted")
    run("migrate-producer", home=home).ok()
    told = run("migrate-consumer", "--json", home=home)
    assert told.code == 0
    assert told.json["errors"][0]["what"] == "source storage in trouble"
    assert counts(home) == {"TODO": 2}
    (home / "demo/unmounted").rename(home / "demo/castor")
    later = {"DMTOOLS_CLOCK_OFFSET": "700"}
    run("migrate-consumer", home=home, env=later).gave(1)  # /b is really missing
    assert counts(home)["Missing"] == 1
