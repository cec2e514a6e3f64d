"""One machine a worker: a copy of the tree and the templates of all stages, made once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.faults import sweep
from tests.faults.machine import Machine, copy_tree
from tests.support import TEST_MARK

M = TypeVar("M", bound=Machine)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A compiled copy of bin and dmtools: the same text for all points, whatever is edited meanwhile."""
    place = tmp_path_factory.mktemp("tree")
    yield copy_tree(place)
    shutil.rmtree(place)


def prepared(tree: Path, make: Callable[[Path], M], prepare: Callable[[M], object]) -> Iterator[M]:
    """A machine with the templates of its stages, closed at the end."""
    mark = os.environ.pop(TEST_MARK, None)  # its process outlives the test that came first
    machine = make(tree)
    try:
        prepare(machine)
        if mark:
            os.environ[TEST_MARK] = mark
        yield machine
    finally:
        machine.close()


@pytest.fixture(scope="session")
def _machine(tree: Path) -> Iterator[Machine]:
    yield from prepared(tree, Machine, lambda machine: sweep.prepare(machine, list(sweep.BY_NAME)))


@pytest.fixture
def machine(_machine: Machine) -> Iterator[Machine]:
    """A HOME with its servers and passes, and a template for each stage."""
    yield _machine
    _machine.stop_servers(kill=True)
