"""Ten days of crons that are missed, a logger that is down, and answers that go wrong: what became of each second is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py

from tests.datalogger.steps import Plant
from tests.datalogger.ten_days import HOLES, TenDays
from tests.support import Server, run


def test_of_every_second_the_tables_say_had_empty_or_lost_and_it_is_true(home: Path, sim: Callable[..., Server]) -> None:
    days = TenDays(Plant(home, sim), seed=3)
    days.run()
    sums = days.prove()
    assert all(sums.values()), sums
    assert len(days.missed) > 5
    query = 'SELECT g.start, g."end", g.kind, g.why FROM datalogger_gap g JOIN datalogger_window w ON w.id = g.window_id'
    for kind in ("empty", "lost"):  # the widest; and dm-trace tells it of its day
        start, end, _, why = days.plant.sql(query + " WHERE g.kind = ? AND w.name = ? AND w.rows ORDER BY 1", kind, HOLES)[0]
        told = run("dm-trace", f"{HOLES} {start[:19]}Z", home=home).ok().out
        assert f"{start[:10]}T{start[11:19]}" in told
        assert f"{end[:10]}T{end[11:19]}" in told
        assert f"{kind}: {why}" in told
    texts = [lacks(days.plant.out / name) for name in days.plant.files()]
    assert all(any(words in text for text in texts) for words in ("empty at the logger", "lost"))


def lacks(path: Path) -> str:
    """What a file says of the device with holes."""
    with h5py.File(path) as file:
        return str(file[HOLES].attrs["without_samples"]) if HOLES in file else ""
