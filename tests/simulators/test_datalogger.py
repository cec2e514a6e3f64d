"""dm-sim datalogger: its answers are those of the ACL page, its values those of the formula, its clock that of the logger."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.datalogger.steps import Plant, should, when
from tests.support import Server, run

AT = when("2026-11-02T15:00")


def ask(home: Path, command: str, token: bool = True) -> bytes:
    """The answer to a command, whose text goes as it is."""
    told = json.loads((home / "run/sim/datalogger.json").read_text())
    headers = {"Authorization": f"Bearer {told['token']}"} if token else {}
    with urlopen(Request(f"{told['url']}/cgi-bin/acl.pl?acl={command}", headers=headers), timeout=20) as answer:
        found: bytes = answer.read()
    return found


def get(start: str, end: str, device: str = "B:VIMIN") -> str:
    return f'logger_get/date_format=\'utc_seconds\'/ignore_db_format/start="{start}"/end="{end}"/node=MLrn+{device}'


def samples(text: bytes) -> list[tuple[float, float]]:
    return [(float(at), float(value)) for at, value in (line.split() for line in text.splitlines())]


def test_it_answers_as_the_page_does(home: Path, sim: Callable[..., Server]) -> None:
    plant = Plant(home, sim)
    plant.start(at=AT)
    # Local days: that of 1 November has 25 hours.
    day = samples(ask(home, get("2026-11-01+00:00:00", "2026-11-02+00:00:00")))
    assert day == should("B:VIMIN", when("2026-11-01T05:00"), when("2026-11-02T06:00"))
    assert len(day) == 9000
    fast = samples(ask(home, get("2026-11-02+00:00:00", "2026-11-02+00:00:02", "B:F720HZ")))
    assert fast == should("B:F720HZ", when("2026-11-02T06:00"), when("2026-11-02T06:00:02"), "720")
    # It remembers ten days, knows nothing of the future, and its errors are text.
    old = samples(ask(home, get("2026-10-20+00:00:00", "2026-10-24+00:00:00")))
    assert when("2026-10-23T15:00").timestamp() <= old[0][0] < when("2026-10-23T15:30").timestamp()
    for start, end in (("2026-10-20", "2026-10-21"), ("2026-11-02", "2026-11-02")):
        assert ask(home, get(f"{start}+12:00:00", f"{end}+13:00:00")) == b"No values\n"
    assert ask(home, get("2026-11-02+00:00:00", "2026-11-02+01:00:00", "N:NO")).endswith(b" - DIO_NO_SUCH")
    assert ask(home, get("today", "2026-11-02+01:00:00")).startswith(b"!")
    local = ask(home, 'logger_get/start="2026-11-02+00:00:00"/end="2026-11-02+00:00:15"/node=MLrn+B:VIMIN').split()
    assert local[:2] == [b"02-NOV-2026", b"00:00:00.000"]
    # Events, the timeline, where a device is logged.
    events = ask(home, 'event_log/start_time="2026-11-02+00:00:00"/stop_time="2026-11-02+00:00:10"/event=0c').splitlines()
    assert len(events) == 150
    assert events[0].startswith(b"02-NOV-2026 00:00:00.000 ")
    assert ask(home, 'event_log/start_time="2026-11-02+00:00:00"/stop_time="2026-11-02+00:00:10"/event=ee').startswith(
        b"No occurr"
    )
    assert ask(home, "read/no_name/no_units/setting%20G:SCTIME") == b"60.066666\n"
    assert 0 <= float(ask(home, "read/no_name/no_units/G:SCTIME")) < 60.066666
    assert ask(home, "tlg_info/all_event_info").startswith(b"Event information :\n  1) Event : 17  State ID :   5  Time :  0 ")
    assert ask(home, "show/whereLogged+B:VIMIN").split()[-1] == b"MLrn"
    with pytest.raises(HTTPError, match="401"):
        ask(home, "show/whereLogged+B:VIMIN", token=False)


def test_a_rate_that_is_none_is_refused(home: Path) -> None:
    for rate in ("0", "x", "1/0", "5000"):
        assert "is no number of samples a second" in run("dm-sim", "datalogger", "--hertz", rate, home=home).gave(2).err
