"""The sweep over datalogger-declare: two files to three catalogues, one a real Rucio; killed or failed, then plain passes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tests.datalogger.depot import DATASETS, FILES
from tests.faults import calls, judge
from tests.faults.calls import Call
from tests.faults.datalogger_params import Plants
from tests.faults.sweep import KILL, Row, Stage, argv
from tests.faults.warm import Done
from tests.real_catalogues import Rucio
from tests.support import environment

OWN = """\
datalogger.catalogues = ["journal", "rucio", "metacat"]
datalogger.retry_minutes = 1
datalogger.rucio.config = "{config}"
datalogger.rucio.scope = "{scope}"
datalogger.rucio.rse = "{rse}"
datalogger.rucio.pfn = "root://se.example:1094//data/out/{{name}}"
datalogger.metacat.url = "sim:metacat"
datalogger.metacat.make_dataset = true
"""
STAGES = (Stage("out", ("datalogger-declare",)),)  # two files are out, nothing is declared


@dataclass
class Depots(Plants):
    """A HOME with two files that are out, its MetaCat, and a scope of its own of the shared Rucio at each point."""

    rucio: Rucio | None = None
    scope: str = ""
    rse: str = ""

    def fill(self, name: str) -> None:
        """HOME as it was kept, with a scope that is empty."""
        super().fill(name)
        assert self.rucio is not None
        self.scope, self.rse = self.rucio.storage()
        settings = self.home / "dmtools.toml"
        own = OWN.format(config=self.rucio.config, scope=self.scope, rse=self.rse)
        settings.write_text(own + settings.read_text("utf-8"), "utf-8")

    def start_metacat(self) -> None:
        """The simulated MetaCat."""
        env = environment(self.home, {"PYTHONPATH": str(self.tree)})
        self._sim = self.warm.serve("dm-sim", "metacat", "--port", "0", env=env, listening=1)

    def round(self) -> list[Done]:
        """A plain pass, an hour later."""
        self.rounds += 1
        return [self.run("datalogger-declare")]

    def open(self) -> list[str]:
        """What is not declared."""
        with closing(self.tables()) as db:
            found = list(db.execute("SELECT file_id, catalogue, state FROM datalogger_declaration WHERE state != 'declared'"))
            number = db.execute("SELECT COUNT(*) FROM datalogger_declaration").fetchone()[0]
        return [f"file {one[0]} at {one[1]}: {one[2]}" for one in found] + [f"{number} declarations"] * (number != 6)


def prepare(machine: Depots) -> None:
    """The template of the one stage."""
    machine.init()
    settings = machine.home / "dmtools.toml"
    settings.write_text('datalogger.since = "2026-11-03"\n' + settings.read_text("utf-8"), "utf-8")
    machine.start_servers()
    machine.expect(machine.run(*machine.command), 0)
    machine.stop_servers()
    machine.keep("out")


def points(machine: Depots, stage: Stage) -> list[Call]:
    """Every call of the pass that matters."""
    machine.fill(stage.name)
    machine.start_metacat()
    return calls.relevant(argv(machine, stage.command), machine.environment(), machine.home, machine.place / "trace")


def run(machine: Depots, stage: Stage, call: Call, fault: str = KILL) -> Row:
    """One point."""
    machine.fill(stage.name)
    machine.start_metacat()
    log = machine.place / "trace"
    outcome = calls.disturbed(argv(machine, stage.command), machine.environment(), machine.home, log, call, fault)
    wrong = [] if outcome.code == -9 else judge.said_badly(stage.command[0], outcome.code, outcome.err)
    wrong += judged(machine, machine.to_the_end())
    return Row(stage.name, outcome.hit or call, fault, outcome.hit is not None, outcome.code, 0, 0, tuple(wrong))


def judged(machine: Depots, passes: Sequence[Done]) -> list[str]:
    """What is wrong: each file is at each catalogue once, as a client of others sees it; the books agree."""
    found = [f"still open: {what}" for what in machine.open()] + judge._talk(machine, passes)
    lines = [json.loads(line)["name"] for line in (machine.home / "datalogger/declared.ndjson").read_bytes().splitlines()]
    found += [] if lines == list(FILES) else [f"the journal has {lines}"]
    found += [f"Rucio: {what}" for what in _rucio(machine)] + [f"MetaCat: {what}" for what in _metacat(machine)]
    with closing(machine.tables()) as db:
        leases = db.execute("SELECT resource FROM lease").fetchall()
        ends = db.execute("SELECT COUNT(*) FROM journal WHERE kind='datalogger-declaration' AND to_state='declared'").fetchone()[
            0
        ]
    found += [] if ends == 6 else [f"{ends} ends in the journal"]
    return found + [f"a lease is left: {leases}"] * bool(leases)


def _rucio(machine: Depots) -> list[str]:
    assert machine.rucio is not None
    client, scope = machine.rucio.client, machine.scope
    names = sorted(one["name"] for one in client.list_content(scope, DATASETS["rucio"]))
    rules = [one["rse_expression"] for one in client.list_did_rules(scope, DATASETS["rucio"])]
    dids = [{"scope": scope, "name": name} for name in FILES]
    replicas = {one["name"]: {rse: len(pfns) for rse, pfns in one["rses"].items()} for one in client.list_replicas(dids)}
    wanted: list[Any] = [list(FILES), [machine.rse], {name: {machine.rse: 1} for name in FILES}]
    return [] if [names, rules, replicas] == wanted else [f"{names}, {rules}, {replicas}"]


def _metacat(machine: Depots) -> list[str]:
    kept = json.loads((machine.home / "run/sim/metacat.kept.json").read_text())
    inside = {name: sorted(one["files"]) for name, one in kept["datasets"].items()}
    wanted = {DATASETS["metacat"]: [f"datalogger:{name}" for name in FILES]}
    return [] if (inside, len(kept["files"])) == (wanted, 2) else [f"{inside}, {len(kept['files'])} files"]
