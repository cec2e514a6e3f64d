"""daq-archive and a batch system that doesn't take its jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daq.archive_steps import DAY, Archive
from tests.real_batch import Slurm
from tests.support import Server, wait_until


def test_a_refused_job_is_told_and_submitted_again_once_the_settings_are_corrected(
    home: Path, serve: Callable[..., Server], slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    site = Archive(home, serve)
    (lfn,) = site.at_site(f"{DAY}a_20250131T010101.dat")
    wrong = 'batch = "slurm"\nmemory_mb = 200\nbatch_options = ["--partition=none"]\n'
    site.settings(f"[daq]\n{wrong}")
    for _ in range(2):
        (told,) = site.archive().json["errors"]
        assert (told["what"], site.files()) == ("zip job refused", {"Zipping": 1})
        assert "Invalid partition name specified" in told["why"]
    path = site.home / "dmtools.toml"
    path.write_text(path.read_text().replace("--partition=none", "--partition=main"))
    wait_until(lambda: site.archive() and "Zipping" not in site.files(), 90, "it is zipped")
    row = site.zip_row(lfn)
    assert (row["attempt"], row["failures"], row["job"] is not None) == (1, 0, True)
