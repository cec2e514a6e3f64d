"""Files of the older layouts -> the layout of today, beside them or where you say; the old ones stay as they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dmtools import __version__, durable
from dmtools.control.passes import Pass
from dmtools.datalogger import files, hdf5, older
from dmtools.datalogger.older import Series
from dmtools.datalogger.windows import DEVICE

if TYPE_CHECKING:
    from dmtools.datalogger.hdf5 import Rows


def convert_files(this: Pass, old: Sequence[Path], out: Path) -> None:
    """Each file by itself; one that can't be read is told and holds up no other."""
    for path in old:
        try:
            target = _one(this, path, out)
        except (hdf5.Damaged, FileNotFoundError) as problem:
            why = f"{path} is not there" if isinstance(problem, FileNotFoundError) else str(problem)
            left = "it is as it was; nothing was written"
            this.problem("not converted", str(path), why=why, left=left, next="look at it with h5dump, or leave it out")
            continue
        if target is not None:
            this.context.say(str(target))


def _one(this: Pass, path: Path, out: Path) -> Path | None:
    found = [series for series in older.read(path) if len(series.seconds)]
    if not found:
        raise hdf5.Damaged(f"{path} holds no samples")
    start = math.floor(min(float(series.seconds[0]) for series in found))
    end = math.floor(max(float(series.seconds[-1]) for series in found)) + 1
    first, last = (datetime.fromtimestamp(at, UTC) for at in (start, end))
    target = out / files.name(DEVICE, first, last, 0)
    samples, doubles = sum(len(series.seconds) for series in found), sum(series.doubles for series in found)
    this.plan(f"{path} -> {target}: {len(found)} devices, {samples} samples, {doubles} doubled rows left out")
    if this.dry_run:
        return None
    draft = target.with_name(f".{target.name}.converted")
    about = {"start": first.isoformat(), "end": last.isoformat(), "source": path.name, "origin": "converted"}
    hdf5.write(draft, [_table(series) for series in found], {**about, "made_by": f"dmtools {__version__}"})
    try:
        if target.exists() and hdf5.adler32(target) == hdf5.adler32(draft):
            return target
        durable.rename_new(draft, target)
    except FileExistsError:
        raise hdf5.Damaged(f"{target} is there already, and is another one") from None
    finally:
        draft.unlink(missing_ok=True)
    durable.fsync_dir(out)
    return target


def _table(series: Series) -> hdf5.Table:
    import numpy as np

    rows = np.empty(len(series.seconds), hdf5.row_type())
    rows["utc_seconds"], rows["value"] = series.seconds, series.values

    def pieces() -> Iterator[Rows]:
        yield rows

    return hdf5.Table(series.device, len(rows), pieces, {"device": series.device, "doubles": series.doubles})
