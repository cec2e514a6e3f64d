"""One machine a worker: a copy of the tree and the templates of all stages, made once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import sweep
from tests.faults.machine import Machine, copy_tree
from tests.support import TEST_MARK


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A compiled copy of bin and dmtools: the same text for all points, whatever is edited meanwhile."""
    place = tmp_path_factory.mktemp("tree")
    yield copy_tree(place)
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def _machine(tree: Path) -> Iterator[Machine]:
    mark = os.environ.pop(TEST_MARK, None)  # its process outlives the test that came first
    machine = Machine(tree)
    try:
        sweep.prepare(machine, list(sweep.BY_NAME))
        if mark:
            os.environ[TEST_MARK] = mark
        yield machine
    finally:
        machine.close()


@pytest.fixture
def machine(_machine: Machine) -> Iterator[Machine]:
    """A HOME with its servers and passes, and a template for each stage."""
    yield _machine
    _machine.stop_servers(kill=True)
