"""What the tests of datalogger-declare share: a HOME with files that are out, its catalogues, and a look into these."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.datalogger.steps import HERTZ, NOW, Plant
from tests.real_catalogues import PASSWORD, Rucio
from tests.support import Result, Server, command, environment, run, wait_until

FILES = ("params-20261103T060000Z-20261104T060000Z.h5", "params-20261104T060000Z-20261105T060000Z.h5")
FILE = FILES[0]
DATASETS = {"rucio": "params-2026-11", "metacat": "datalogger:params"}


@pytest.fixture(scope="module")
def filled(home_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A HOME with two days that are out, to be copied."""
    home = tmp_path_factory.mktemp("depot") / "home"
    shutil.copytree(home_template, home)
    file = home / "dmtools.toml"
    file.write_text(file.read_text().replace(str(home_template), str(home)))
    plant = Plant(home, lambda *_: pytest.fail("not used"))
    plant.log("B:VIMIN", "B:VIMAX")
    plant.set(since="2026-11-03")
    env = environment(home, plant.clock(NOW))
    with (home / "sim.log").open("wb") as out:
        sim = subprocess.Popen(command("dm-sim", "datalogger", "--hertz", HERTZ, "--port", 0), env=env, stdout=out, stderr=out)
    try:
        wait_until(lambda: "listening on" in (home / "sim.log").read_text(), 60, "the logger listens")
        plant.cron().ok()
    finally:
        sim.terminate()
        sim.wait(60)
    assert plant.files() == list(FILES)
    yield home
    shutil.rmtree(home)


@pytest.fixture
def depot(filled: Path, short_tmp: Path, sim: Any) -> Depot:
    """A HOME with two files that are to be declared, to the journal alone."""
    home = short_tmp / "home"
    shutil.copytree(filled, home)
    for path in (home / "dmtools.toml", home / "dmtools.first"):
        path.write_text(path.read_text().replace(str(filled), str(home)))
    found = Depot(home, sim)
    found.log("B:VIMIN", "B:VIMAX")
    return found


class Depot(Plant):
    """A HOME with files that are out."""

    scope = rse = ""

    def declare(self, *options: object, **more: Any) -> Result:
        """datalogger-declare."""
        env = self.clock(more.pop("at", self.at)) | more.pop("env", {})
        return run("datalogger-declare", *options, home=self.home, env=env, **more)

    def use(self, *catalogues: str) -> None:
        """These catalogues."""
        self.set(catalogues=list(catalogues))

    def rucio(self, server: Rucio, **keys: object) -> None:
        """This Rucio, with a scope and a storage element of the test's own."""
        self.scope, self.rse = server.storage()
        own = {
            "config": str(server.config),
            "scope": self.scope,
            "rse": self.rse,
            "pfn": "root://se.example:1094//data/out/{name}",
        }
        for key, value in {**own, "connect_seconds": 3, "call_seconds": 20, **keys}.items():
            self.set(**{f"rucio.{key}": value})

    def metacat(self, **keys: object) -> Server:
        """The simulated MetaCat."""
        for key, value in {"url": "sim:metacat", "make_dataset": True, "connect_seconds": 3, "call_seconds": 20, **keys}.items():
            self.set(**{f"metacat.{key}": value})
        return self.sim(self.home, "metacat")

    def metacat_client(self) -> Any:
        """A client of the test's own."""
        from metacat.webapi import MetaCatClient

        url = json.loads((self.home / "run/sim/metacat.json").read_text())["url"]
        token = (self.home / "run/sim/metacat.token").read_text().strip()
        return MetaCatClient(url, token=token, token_library=f"{__file__}/none", timeout=20)

    def metacat_faults(self, *found: str) -> None:
        """Its faults: `op="http500" match="declare"`, a line each."""
        text = "".join("[[fault]]\n" + one.replace("; ", "\n") + "\n" for one in found)
        (self.home / "run/sim/metacat.faults.toml").write_text(text)

    def lines(self) -> list[dict[str, Any]]:
        """What the journal of declarations holds."""
        return [json.loads(line) for line in (self.home / "datalogger/declared.ndjson").read_bytes().splitlines()]

    def stand(self) -> dict[str, str]:
        """`rucio 2026-11-03` -> its state."""
        query = "SELECT catalogue, start, d.state FROM datalogger_declaration d JOIN datalogger_file f ON f.id = d.file_id"
        return {f"{catalogue} {start[:10]}": state for catalogue, start, state in self.sql(query)}

    def checksum(self, name: str = FILE) -> tuple[int, str]:
        """Size and adler32 of a file that is out, by zlib."""
        import zlib

        data = (self.out / name).read_bytes()
        return len(data), f"{zlib.adler32(data):08x}"


@dataclass(frozen=True)
class There:
    """What a real Rucio says of a file, asked by the test's own client."""

    replicas: list[tuple[str, int, str, list[str]]]
    datasets: list[str]
    rules: list[str]


def there(server: Rucio, depot: Depot, name: str = FILE) -> There:
    """All of it."""
    client, did = server.client, [{"scope": depot.scope, "name": name}]
    replicas = [
        (rse, one["bytes"], one["adler32"], pfns) for one in client.list_replicas(did) for rse, pfns in one["rses"].items()
    ]
    datasets = [one["name"] for one in client.list_parent_dids(depot.scope, name)]
    rules = [one["rse_expression"] for dataset in datasets for one in client.list_did_rules(depot.scope, dataset)]
    return There(replicas, datasets, rules)


def said_nowhere(depot: Depot, *results: Result) -> None:
    """No password and no token in what was said or logged."""
    logs = "".join(path.read_text(errors="replace") for path in (depot.home / "log").rglob("*") if path.is_file())
    told = logs + "".join(one.out + one.err for one in results)
    secrets = [PASSWORD] + [p.read_text().strip() for p in (depot.home / "run/sim").glob("metacat.token")]
    assert not [one for one in secrets if one in told]
