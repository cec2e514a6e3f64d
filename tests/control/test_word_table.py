"""The whole table of words: none, halt or drain, at all, the pipeline, the component, by the calendar and by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path

import msgspec
import pytest

from dmtools import clock, pipelines
from dmtools.command import Context
from dmtools.control import holds, orders
from dmtools.control.automatic import ERRORS
from dmtools.control.holds import AUTOMATIC, PERSON, Hold
from dmtools.control.orders import Order
from dmtools.control.passes import Pass
from dmtools.ledger import Ledger, open_ledger
from dmtools.settings import Outage, Settings, load

WORDS = ("run", "drain", "halt")  # from the weakest to the strongest
HOUR = timedelta(hours=1)
COMPONENTS = ("producer", "consumer", "monitor")
# What a pass makes of the word: may it go on with what is under way, may it take something new, its state.
GATE = {"run": (True, True, ""), "drain": (True, False, "draining"), "halt": (False, False, "halted")}


@pytest.fixture
def settings(home: Path) -> Settings:
    return load(home=home)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    made = open_ledger(settings)
    yield made
    made.close()


def planned(settings: Settings, *outages: Outage) -> Settings:
    """These settings with this calendar."""
    return msgspec.structs.replace(settings, control=msgspec.structs.replace(settings.control, calendar=outages))


def outage(scope: str, word: str) -> tuple[Outage, ...]:
    """One that is on now; none for run."""
    now = clock.now()
    span = (clock.iso(now - HOUR), clock.iso(now + HOUR))
    return () if word == "run" else (Outage(scope=scope, state=word, start=str(span[0]), end=str(span[1])),)


def gate(settings: Settings, component: str) -> tuple[bool, bool, str]:
    """What a pass of the component may do now."""
    options = {"config": None, "home": settings.home, "dry_run": False, "as_json": False, "verbose": False, "quiet": True}
    context = Context(f"migrate-{component}", "migrate", component, options)
    context._settings = settings
    try:
        this = Pass(context)
        old, state = this.goes(new=False), this.report.state
        return old, this.goes(), state
    finally:
        context.close()


def strongest(*words: str) -> str:
    """halt beats drain beats run."""
    return WORDS[max(WORDS.index(word) for word in words)]


@pytest.mark.parametrize(("calendar_word", "automatic_word"), list(product(WORDS, WORDS)))
def test_the_strongest_word_is_in_force_whoever_says_it(
    settings: Settings, ledger: Ledger, calendar_word: str, automatic_word: str
) -> None:
    """27 cases each: three scopes of a person's words; the calendar speaks for the pipeline, the automatic for the consumer."""
    settings = planned(settings, *outage("migrate", calendar_word))
    entries = list(pipelines.present(settings)[0].values())
    now = clock.now()
    if automatic_word != "run":
        by_itself = Hold("migrate/consumer", automatic_word, AUTOMATIC, "a test", "", now, now + HOUR)
        ledger.transact(lambda c: holds.place(c, by_itself))
    for of_all, of_migrate, of_consumer in product(WORDS, WORDS, WORDS):
        said = (("all", of_all), ("migrate", of_migrate), ("migrate/consumer", of_consumer))
        for scope, word in said:  # the wide ones first: `run` ends what is below it
            kept = [h for h in _open(ledger) if h.kind == PERSON and h.scope == scope]
            ledger.transact(lambda c, kept=kept: holds.clear(c, kept, by="test", at=now))  # type: ignore[misc]
            if word != "run":
                ledger.transact(lambda c, s=scope, w=word: orders.obey(c, Order(w, (s,), "test"), now))  # type: ignore[misc]
        wide = strongest(of_all, of_migrate, calendar_word)
        wanted = {
            "producer": wide,
            "consumer": strongest(wide, of_consumer, automatic_word),
            "monitor": wide,
        }
        with ledger.read() as connection:
            found = orders.standing(connection, settings, entries, now)
        assert found["state"] == of_all
        assert found["pipelines"]["migrate"]["state"] == wide
        shown = found["pipelines"]["migrate"]["components"]
        assert {name: shown[name] for name in COMPONENTS} == wanted, said
        kinds = sorted((h["kind"], h["scope"], h["state"]) for h in found["holds"])
        expected = [("person", scope, word) for scope, word in said if word != "run"]
        expected += [("calendar", "migrate", calendar_word)] if calendar_word != "run" else []
        expected += [("automatic", "migrate/consumer", automatic_word)] if automatic_word != "run" else []
        assert kinds == sorted(expected)
        if of_all == of_migrate or of_consumer == "run":  # the gate itself costs more: not each of them
            assert {name: gate(settings, name) for name in COMPONENTS} == {n: GATE[w] for n, w in wanted.items()}, said


def _open(ledger: Ledger) -> list[Hold]:
    with ledger.read() as connection:
        return holds.uncleared(connection)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("scope", ["all", "migrate", "migrate/producer", "migrate/monitor", "migrate/triage", "lta"])
def test_a_word_binds_what_it_names_and_nothing_beside_it(settings: Settings, ledger: Ledger, scope: str, word: str) -> None:
    at = clock.now()
    ledger.transact(lambda c: orders.obey(c, Order("halt", ("migrate/consumer",), "test"), at))
    ledger.transact(lambda c: orders.obey(c, Order(word, (scope,), "test"), at))
    ended = word == "run" and scope in ("all", "migrate")
    bound = [name for name in COMPONENTS if scope in ("all", "migrate", f"migrate/{name}")]
    wanted = dict.fromkeys(COMPONENTS, "run") | dict.fromkeys(bound, word)
    wanted["consumer"] = "run" if ended else "halt"
    assert {name: gate(settings, name) for name in COMPONENTS} == {name: GATE[state] for name, state in wanted.items()}


def test_two_outages_at_once_and_one_that_ends_in_the_other(settings: Settings) -> None:
    both = (*outage("migrate", "drain"), *outage("all", "halt"), *outage("migrate/monitor", "drain"))
    assert gate(planned(settings, *both), "monitor") == GATE["halt"]
    over = msgspec.structs.replace(both[1], end=str(clock.iso(clock.now())))
    assert gate(planned(settings, both[0], over, both[2]), "monitor") == GATE["drain"]
    assert gate(planned(settings, over), "monitor") == GATE["run"]


def test_that_it_could_not_run_is_no_reason_not_to_try(settings: Settings, ledger: Ledger) -> None:
    """The drain of the error limit is for the others' eyes; a person's word beside it counts."""
    at = clock.now()
    ledger.transact(lambda c: holds.place(c, Hold("migrate/consumer", "drain", AUTOMATIC, ERRORS, "", at)))
    assert gate(settings, "consumer") == GATE["run"]
    ledger.transact(lambda c: holds.place(c, Hold("migrate/consumer", "drain", PERSON, "anna@host", "", at)))
    assert gate(settings, "consumer") == GATE["drain"]
    assert [hold.kind for hold in _open(ledger)] == [AUTOMATIC, PERSON]
