"""daq-archive on MariaDB: passes at once share the work, from the site to the tape."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from tests.daq.archive_steps import DAY, Archive
from tests.support import ROOT, Server, environment, run


@dataclass
class Shared(Archive):
    """An Archive whose tables are in MariaDB."""

    url: str = ""

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        finally:
            engine.dispose()


def test_passes_at_once_on_mariadb(mariadb: str, home: Path, serve: Callable[..., Server]) -> None:
    site = Shared(home, serve, url=mariadb)
    site.only()
    site.settings(f'[database]\nurl = "{mariadb}"\n')
    run("dm-db", "upgrade", home=home).ok()
    site.start()
    site.at_site(*(f"{DAY}{n}_20250131T010101.dat" for n in range(9)))
    for _ in range(5):
        argv = [sys.executable, str(ROOT / "bin/daq-archive"), "-q"]
        passes = [subprocess.Popen(argv, env=environment(home), stderr=subprocess.PIPE) for _ in range(3)]
        said = "".join(one.communicate(timeout=120)[1].decode() for one in passes)
        assert {one.returncode for one in passes} <= {0}, said
        site.jobs_over()
        site.over()
        if site.sql("SELECT COUNT(*) FROM daq_zip WHERE state = 'Cleaned'") == [(9,)]:
            break
    assert site.sql("SELECT state, COUNT(*), MAX(attempt), MAX(failures) FROM daq_zip GROUP BY state") == [("Cleaned", 9, 1, 0)]
    assert site.sql("SELECT state, COUNT(*) FROM daq_file GROUP BY state") == [("OnTape", 9)]
    assert site.zips() == []
    assert len(site.copies()) == 9
