"""What all tests share: which of them run, a HOME, servers, and a look at what was left running."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from dmtools.house import components
from dmtools.house.leftovers import end_all
from tests import warm
from tests.support import ROOT, TEST_MARK, Result, Server, command, environment, port_base, run, wait_until

pytest_plugins = ("tests.real_components", "tests.real_batch", "tests.real_catalogues")
BIG_ROOMS = ("journeys", "faults", "peers")
# A fixture that stands on a component brings the marker with it.
FIXTURE_NEEDS = {
    "htcondor": ("htcondor", "root"),
    "mariadb": ("mariadb",),
    "mariadb_server": ("mariadb",),
    "slurm": ("slurm", "root"),
    "xrootd_server": ("xrootd",),
}
MANY_HANDLES = 300  # of 1024 that most machines allow: databases that a test left open are closed by the collector of cycles
TEMPLATE_PORTS = 18700  # of a HOME that is only copied; not the default, which dm-config init would leave out
WITHOUT = pytest.StashKey[tuple[str, ...]]()
# A busy machine is no reason to fail.
settings.register_profile("dmtools", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dmtools")


# ---- which tests run -------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--without", default="", metavar="NAME,...", help="components whose tests are left out")
    parser.addoption("--quick", action="store_true", help="unit tests only")
    parser.addoption("--report", metavar="FILE", help="write there what dm-test wants to know of the run, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[WITHOUT] = components.parse_names(config.getoption("--without"))
    except components.UnknownComponent as problem:
        raise pytest.UsageError(str(problem)) from None


def needs(item: pytest.Item) -> set[str]:
    """The components that a test needs, by its markers and its fixtures."""
    marked = {str(name) for marker in item.iter_markers("needs") for name in marker.args}
    return marked | {name for fixture in getattr(item, "fixturenames", ()) for name in FIXTURE_NEEDS.get(fixture, ())}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    without, quick = config.stash[WITHOUT], config.getoption("--quick")
    kept: list[pytest.Item] = []
    out: list[pytest.Item] = []
    for item in items:
        wanted = needs(item)
        for name in wanted:
            try:
                components.find(name)
            except components.UnknownComponent as problem:
                raise pytest.UsageError(f"{item.nodeid}: {problem}") from None
        folder = item.path.relative_to(ROOT).parts[1]
        big = wanted or folder in BIG_ROOMS or item.get_closest_marker("slow")
        (out if wanted.intersection(without) or (quick and big) else kept).append(item)
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tells dm-test which tests failed, whether the others ran, and how many seconds the tests of each file took."""
    place = session.config.getoption("--report")
    if not place or hasattr(session.config, "workerinput"):
        return
    stats = session.config.pluginmanager.getplugin("terminalreporter").stats
    failed = sorted({one.nodeid for kind in ("failed", "error") for one in stats.get(kind, ())})
    seconds: dict[str, float] = {}
    for one in (one for reports in stats.values() for one in reports if isinstance(one, pytest.TestReport)):
        file = one.nodeid.partition("::")[0]
        seconds[file] = seconds.get(file, 0) + one.duration
    whole = not (session.shouldfail or session.shouldstop)
    Path(place).write_text(json.dumps({"failed": failed, "whole": whole, "seconds": seconds}))


@cache
def present(name: str) -> bool:
    return components.find(name).present()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    lacking = [components.find(name) for name in sorted(needs(item)) if not present(name)]
    if lacking:
        ways = "; ".join(f"{one.name}: {one.how()}, or leave it out: --without {one.name}" for one in lacking)
        pytest.fail(f"a component is missing on this machine: {ways}", pytrace=False)


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """A test that leaves a process of its own behind has failed."""
    mark = str(uuid.uuid4())
    os.environ[TEST_MARK] = mark
    yield
    os.environ.pop(TEST_MARK, None)
    left = end_all(TEST_MARK, mark)
    if len(os.listdir("/proc/self/fd")) > MANY_HANDLES:
        gc.collect()
    if left:
        pytest.fail("left running (killed now):\n" + "\n".join(left), pytrace=False)


# ---- waiting, places, commands ------------------------------------------------------------------------------------------


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., Any]:
    """`wait_until(condition, seconds=60, what="...")`."""
    return wait_until


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """An own directory with a short path (a socket's path may have 107 bytes), that other users may look into."""
    place = Path(tempfile.mkdtemp(prefix="dmt-", dir="/tmp"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(name="run")
def run_fixture() -> Callable[..., Result]:
    """`run("dm-config", "show", "--json", home=home)` -> Result with .code .out .err .json .ok() .gave(75)."""
    return run


@pytest.fixture(scope="session")
def home_template() -> Iterator[Path]:
    """A HOME that dm-config init made, to be copied: that costs a hundredth."""
    place = Path(tempfile.mkdtemp(prefix="dmt-", dir="/tmp"))
    run("dm-config", "init", place / "home", "--port-base", TEMPLATE_PORTS).ok()
    yield place / "home"
    shutil.rmtree(place)


@pytest.fixture
def home(home_template: Path, short_tmp: Path) -> Path:
    """A fresh HOME as dm-config init makes it, on the embedded defaults; its ports lie apart from other tests'."""
    place = short_tmp / "home"
    shutil.copytree(home_template, place)
    file = place / "dmtools.toml"
    text = file.read_text().replace(str(home_template), str(place))
    file.write_text(text.replace(f"port_base = {TEMPLATE_PORTS}\n", f"port_base = {port_base()}\n"))
    with closing(sqlite3.connect(place / "dmtools.db", isolation_level=None)) as raw:
        new = (str(uuid.uuid4()), f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}")
        raw.execute("UPDATE installation SET uuid = ?, created = ?", new)
    return place


# ---- servers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def serve(short_tmp: Path) -> Iterator[Callable[..., Server]]:
    """`serve("dm-web", "--port", 0, home=home)`: starts it, waits for `listening` lines, stops it after the test."""
    started: list[Server] = []

    def start(
        name: str,
        *args: object,
        home: Path | None = None,
        env: Mapping[str, str] | None = None,
        listening: int = 1,
        seconds: float = 60,
        prefix: tuple[object, ...] = (),
    ) -> Server:
        log = short_tmp / f"server-{len(started)}.log"
        argv, around = [*map(str, prefix), *command(name, *args)], environment(home, env)
        with log.open("wb") as out, Path(os.devnull).open("rb") as nothing:
            if warm.can(argv, around):
                process = warm.Process(argv, around, (nothing.fileno(), out.fileno(), out.fileno()))
            else:
                process = subprocess.Popen(argv, env=around, stdin=nothing, stdout=out, stderr=out)
        server = Server(process, log)
        started.append(server)

        def ready() -> bool:
            if not server.alive:
                pytest.fail(f"{' '.join(argv)} ended with {process.returncode} before it listened:\n{server.said}")
            whole = server.said.rpartition("\n")[0].splitlines()
            server.urls = [line.partition("listening on ")[2].strip() for line in whole if "listening on " in line]
            return len(server.urls) >= listening

        wait_until(ready, seconds, f"{listening} x `listening on` from {' '.join(argv)}:\n{server.said}")
        return server

    yield start
    for server in reversed(started):
        server.stop()


@pytest.fixture
def sim(serve: Callable[..., Server]) -> Callable[..., Server]:
    """`sim(home)` starts dm-sim fts with both servers; `sim(home, "fts", "--name", "fts1")` or `sim(home, "dqm")` one."""

    def start(home: Path, kind: str = "fts", *args: object, **options: Any) -> Server:
        both = kind == "fts" and "--name" not in args
        port = () if "--port" in args else ("--port", 0)
        return serve("dm-sim", kind, *args, *port, home=home, **{"listening": 2 if both else 1, **options})

    return start


# ---- MariaDB ---------------------------------------------------------------------------------------------------------
