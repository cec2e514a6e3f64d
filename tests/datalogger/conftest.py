"""A HOME at a fixed instant, and its logger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.datalogger.steps import Plant
from tests.support import Server


@pytest.fixture
def plant(home: Path, sim: Callable[..., Server]) -> Plant:
    """A HOME that logs two devices slowly; its logger is not started yet."""
    found = Plant(home, sim)
    found.log("B:VIMIN", "B:VIMAX")
    return found
