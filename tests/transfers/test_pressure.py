"""Who gets the next job, how many, when, and with which options: weights, limits, windows, tape."""

from __future__ import annotations

import random
from collections import Counter
from datetime import time
from types import SimpleNamespace
from typing import Any

import pytest

from dmtools.transfers.pressure import in_hours
from dmtools.transfers.servers import choose
from tests.support import free_port
from tests.transfers.conftest import Scripted
from tests.transfers.fake_fts import FakeFts, Job, fake_fts


def rules(scripted: Scripted, **limits: str) -> str:
    """One rule for each name, with these limits."""
    return "".join(
        f'[[migrate.rules]]\nmatch = "/{name}"\nsource = "file://{scripted.home}/demo/castor/{name}"\n'
        f'destination = "file://{scripted.home}/demo/echo/{name}"\n{limit}\n'
        for name, limit in limits.items()
    )


def lists(scripted: Scripted, *lfns: str, data: bytes = b"x" * 300) -> None:
    """A list for each file."""
    scripted.master(scripted.files(*lfns, data=data), f"{lfns[0].replace('/', '-')}.txt")
    scripted.run("migrate-producer", "--lists", 0, "--lfns", 1).ok()


def of_rule(scripted: Scripted, name: str) -> list[Job]:
    return [job for job in scripted.fts.jobs.values() if f"/echo/{name}/" in job.files[0].destination]


def test_no_more_jobs_are_open_than_max_open_jobs(scripted: Scripted) -> None:
    scripted.configure("max_open_jobs = 2\n")
    lists(scripted, *(f"/a/{n}" for n in range(5)))
    for wanted in (2, 2):
        scripted.consume()
        assert len(scripted.fts.jobs) == wanted
    scripted.fts.job(0).finish()
    scripted.monitor()
    scripted.consume()
    assert len(scripted.fts.jobs) == 3
    assert scripted.tally() == {"Okay": 1, "DOING": 2, "TODO": 2}


def test_a_rules_max_open_jobs_holds_within_one_pass_and_holds_up_no_other_rule(scripted: Scripted) -> None:
    scripted.configure(rules(scripted, slow="max_open_jobs = 1", quick=""))
    lists(scripted, *(f"/slow/{n}" for n in range(4)), *(f"/quick/{n}" for n in range(3)))
    scripted.consume()
    assert (len(of_rule(scripted, "slow")), len(of_rule(scripted, "quick"))) == (1, 3)
    scripted.consume()
    assert len(of_rule(scripted, "slow")) == 1
    of_rule(scripted, "slow")[0].finish()
    scripted.monitor()
    scripted.consume()
    assert len(of_rule(scripted, "slow")) == 2


def test_bytes_per_hour(scripted: Scripted) -> None:
    scripted.configure(rules(scripted, thin="bytes_per_hour = 700", wide=""))
    lists(scripted, *(f"/thin/{n}" for n in range(4)), "/wide/1")
    scripted.consume()
    assert (len(of_rule(scripted, "thin")), len(of_rule(scripted, "wide"))) == (2, 1)
    waits = scripted.sql("SELECT waits_for FROM filelist WHERE next_try IS NOT NULL")
    assert len(waits) == 2
    assert "bytes_per_hour of the rule /thin" in waits[0][0]
    scripted.later("migrate-consumer", "--lists", 0, seconds=1800).ok()
    assert len(of_rule(scripted, "thin")) == 2
    scripted.later("migrate-consumer", "--lists", 0, seconds=3700).ok()
    assert len(of_rule(scripted, "thin")) == 4


def test_a_list_larger_than_an_hour_goes_alone(scripted: Scripted) -> None:
    scripted.configure(rules(scripted, thin="bytes_per_hour = 100"))
    lists(scripted, "/thin/1", "/thin/2")
    scripted.consume()
    assert len(scripted.fts.jobs) == 1
    scripted.later("migrate-consumer", "--lists", 0, seconds=3700).ok()
    assert len(scripted.fts.jobs) == 2


@pytest.mark.parametrize(
    ("window", "at", "inside"),
    [
        ("08:00-18:00", "08:00", True),
        ("08:00-18:00", "17:59", True),
        ("08:00-18:00", "18:00", False),
        ("08:00-18:00", "07:59", False),
        ("22:00-06:00", "22:00", True),
        ("22:00-06:00", "00:00", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
        ("22:00-06:00", "12:00", False),
    ],
)
def test_windows_may_go_over_midnight(window: str, at: str, inside: bool) -> None:
    assert in_hours(window, time.fromisoformat(at)) is inside


def test_tape_options_and_priority_reach_the_job(scripted: Scripted) -> None:
    options = "bring_online = 3600\npin_lifetime = 7200\narchive_timeout = 86400\npriority = 5\n"
    tokens = 'source_spacetoken = "IN"\ndestination_spacetoken = "OUT"\n'
    scripted.configure(rules(scripted, tape=options + tokens, disk=""))
    lists(scripted, "/tape/1", "/disk/1")
    scripted.consume()
    tape, disk = of_rule(scripted, "tape")[0].params, of_rule(scripted, "disk")[0].params
    keys = ("bring_online", "copy_pin_lifetime", "archive_timeout", "priority", "source_spacetoken", "destination_spacetoken")
    assert [tape[key] for key in keys] == [3600, 7200, 86400, 5, "IN", "OUT"]
    assert [disk[key] or "" for key in keys] == [-1, -1, -1, 3, "", ""]


# ---- servers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [(50, 50), (3, 1), (0.1, 0.9), (1, 0), (0, 7)])
def test_servers_get_their_share(weights: tuple[float, float]) -> None:
    dice, up = random.Random(7), {str(n): SimpleNamespace(name=str(n), weight=w) for n, w in enumerate(weights)}
    found = Counter(choose(up, dice).name for _ in range(4000))  # type: ignore[arg-type]
    for number, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(found[str(number)] - 4000 * share) <= 4 * (4000 * share * (1 - share)) ** 0.5, found


def two(scripted: Scripted, other: FakeFts | str, weights: tuple[Any, Any] = (1, 1)) -> None:
    """Settings with two servers."""
    url = other if isinstance(other, str) else other.url
    scripted.configure()
    text = (scripted.home / "dmtools.toml").read_text()
    servers = "".join(
        f'[[fts.servers]]\nname = "{name}"\nurl = "{url}"\nweight = {weight}\n'
        for name, url, weight in zip(("one", "two"), (scripted.fts.url, url), weights, strict=True)
    )
    (scripted.home / "dmtools.toml").write_text(
        "\n".join(x for x in text.splitlines() if not x.startswith("servers")) + "\n" + servers
    )


def test_about_half_of_the_lists_go_to_each_and_come_back_from_each(scripted: Scripted) -> None:
    with fake_fts() as other:
        two(scripted, other)
        lists(scripted, *(f"/a/{n}" for n in range(40)))
        scripted.consume()
        assert len(scripted.fts.jobs) + len(other.jobs) == 40
        assert 6 <= len(other.jobs) <= 34  # less than one in 100,000 times outside
        for job in [*scripted.fts.jobs.values(), *other.jobs.values()]:
            job.finish()
        two(scripted, other, (1, 0))  # no new ones, and those it has are asked for
        scripted.monitor()
        assert scripted.states() == {"Okay": 40}
        before = len(other.jobs)
        lists(scripted, *(f"/b/{n}" for n in range(8)))
        scripted.consume()
        assert len(other.jobs) == before


def test_a_server_away_is_left_out_and_said(scripted: Scripted) -> None:
    two(scripted, f"http://127.0.0.1:{free_port()}")
    lists(scripted, *(f"/a/{n}" for n in range(6)))
    said = scripted.run("migrate-consumer", "--lists", 0, "--json").gave(0)
    assert len(scripted.fts.jobs) == 6
    assert [(e["what"], e["subject"]) for e in said.json["errors"]] == [("FTS server away", "two")]
    assert said.json["state"] == "done"
    for job in scripted.fts.jobs.values():
        job.finish()
    said = scripted.run("migrate-monitor").gave(0)
    assert said.err == "", "it holds nothing of ours"
    assert scripted.states() == {"Okay": 6}


def test_all_away_is_75_and_changes_nothing(scripted: Scripted) -> None:
    lists(scripted, "/a/1")
    scripted.consume()
    lists(scripted, "/a/2")
    before = scripted.snapshot()
    scripted.fts.url = f"http://127.0.0.1:{free_port()}"
    scripted.configure()
    for name in ("migrate-consumer", "migrate-monitor"):
        said = scripted.run(name, "--json").gave(75)
        assert said.json["state"] == "unavailable"
        assert scripted.snapshot() == before, name
