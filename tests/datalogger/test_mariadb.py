"""Passes that meet on MariaDB: each window once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import create_engine, text

from tests.datalogger.steps import Plant, devices, rows, should, when
from tests.support import run

DAY = (when("2026-11-04T06:00"), when("2026-11-05T06:00"))


def test_three_passes_at_once_on_mariadb_make_each_window_once(mariadb: str, plant: Plant) -> None:
    file = plant.home / "dmtools.first"
    file.write_text(f'database.url = "{mariadb}"\n' + file.read_text())
    plant.set()
    run("dm-db", "upgrade", home=plant.home).ok()
    plant.start()
    with ThreadPoolExecutor(3) as crew:
        done = list(crew.map(lambda _: plant.cron(), range(3)))
    assert {one.code for one in done} == {0}, done
    plant.cron().ok()
    held = [(name, file) for file in plant.files() for name in devices(plant.out / file)]
    assert sorted(name for name, _ in held) == ["B:VIMAX", "B:VIMIN"]
    for name, file_name in held:
        assert rows(plant.out / file_name, name) == should(name, *DAY)
    engine = create_engine(mariadb)
    try:
        with engine.connect() as connection:
            found = [connection.execute(text(f"SELECT state, COUNT(*) FROM {t} GROUP BY state")).all() for t in TABLES]
            leases = connection.execute(text("SELECT COUNT(*) FROM lease")).scalar()
    finally:
        engine.dispose()
    assert (found, leases) == ([[("done", 2)], [("published", len(plant.files()))]], 0)


TABLES = ("datalogger_window", "datalogger_file")
