"""The demo's second act: a DAQ writes, cron's lines empty its disks to site and tape, one file comes back; then the proof.

The proof stands on the DAQ's own record of what it wrote. It reads the site's copies and unzips the zips on tape by Python's
zipfile; of dmtools it uses nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dmtools.demo import books, crontab, rounds
from dmtools.demo.display import Display
from dmtools.demo.passes import Ran, Strike
from dmtools.demo.proof import Check
from dmtools.demo.rounds import Act
from dmtools.demo.servers import Fts, Sim

FILES, DISKS = 6, 5  # files until a disk is full; disks that are filled: one of the four twice
COMMANDS = ("daq-transfer", "daq-archive")  # daq-audit has its night
WAY = ("Found", "Copied", "AtSite", "Zipping", "Zipped", "ToTape", "OnTape", "Freed", "Bad", "Skipped")
_DATE = re.compile(r"_(\d{4})(\d{2})T\d{6}\.")


def play(
    home: Path, env: Mapping[str, str], display: Display, servers: Sequence[Fts], table: Path
) -> tuple[list[Check], list[Ran]]:
    """All of it. Gives what was proved, and the passes that ran."""
    argv = ("daq", "--files", str(FILES), "--every", "0.02", "--disks", str(DISKS), "--file-bytes", "200000")
    daq = Sim("daq", argv, home, dict(env), outlives=False)
    for server in servers:
        if not server.pid:
            server.start()
    daq.start()
    try:
        ran, checks = _rounds(home, env, display, daq, table)
        written = daq.record("/sim/files")
        checks += _proof(home, written, [copy for server in servers for copy in server.copies()])
        checks += _restored(home, env, display, written)
    finally:
        daq.stop()
    return checks, ran


def _rounds(home: Path, env: Mapping[str, str], display: Display, daq: Sim, table: Path) -> tuple[list[Ran], list[Check]]:
    lines = [line for line in crontab.read(table).lines if line.label in COMMANDS]
    strikes = [Strike("daq-transfer", 1, _grows(home / "demo/site")), Strike("daq-archive", 1, _grows(home / "daq/jobs"))]
    act = Act("daq", WAY, "Freed", strikes, len(strikes), (0, 1, 137), "all DAQ disks come to their end")
    wanted = FILES * DISKS

    def is_over() -> bool:
        return books.tally(home, "daq").get("Freed", 0) >= wanted and _flags(home) == {"ReadyForData"}

    display.bar("files on tape and off their disks", wanted)
    return rounds.play(act, home, lines, lambda _line: env, is_over, display)


def _flags(home: Path) -> set[str]:
    """All that is on the disks, directories left out: at the end the flags only."""
    return {name for _, _, names in os.walk(home / "demo/daq") for name in names}


def _grows(place: Path) -> Callable[[], bool]:
    """A sign: something new is below the place."""
    before = _count(place)
    return lambda: _count(place) > before


def _count(place: Path) -> int:
    return sum(len(names) + len(directories) for _, directories, names in os.walk(place))


# ---- the proof ----------------------------------------------------------------------------------------------------------


def lfn_of(path: str, disks: Path) -> str:
    """The LFN of a file that the DAQ wrote: the date of its name, and its path below its disk."""
    below = Path(path).relative_to(disks).parts[1:]
    found = _DATE.search(below[-1])
    assert found is not None
    return f"/{found[1]}/{found[1]}{found[2]}/{'/'.join(below)}"


def _fact(data: bytes) -> tuple[int, str]:
    return len(data), f"adler32:{zlib.adler32(data):08x}"


def _proof(home: Path, written: Sequence[Mapping[str, Any]], copies: Sequence[Mapping[str, Any]]) -> list[Check]:
    disks = home / "demo/daq"
    wanted = {lfn_of(one["path"], disks): (one["size"], one["checksum"]) for one in written}
    site, tape = home / "demo/site", home / "demo/tape"
    at_site = {lfn: _fact((site / lfn[1:]).read_bytes()) for lfn in wanted if (site / lfn[1:]).is_file()}
    on_tape = {f"/{path.relative_to(tape)}".removesuffix(".zip"): _unzipped(path) for path in tape.rglob("*") if path.is_file()}
    left = [str(path.relative_to(home)) for path in (site / "zips").rglob("*") if path.is_file()]
    sent = Counter(unquote(one["destination"]) for one in copies if one["outcome"] == "FINISHED")
    twice = [f"{name} was copied {n} times" for name, n in sent.items() if n > 1 and str(tape) in name]
    size = sum(fact[0] for fact in wanted.values())
    tally = books.tally(home, "daq")
    return [
        Check(f"the site has the {len(wanted)} files, {size} bytes, that the DAQ says it wrote", _other(wanted, at_site)),
        Check(
            "each of them is in a zip on tape, unzipped byte for byte the same, and no other zip is there",
            _other(wanted, on_tape),
        ),
        Check("no zip went to tape twice, and none is left at the site", twice + left),
        Check("every disk is empty and has ReadyForData", [] if _flags(home) == {"ReadyForData"} else [f"{_flags(home)}"]),
        Check("the tables say the same", [] if tally == {"Freed": len(wanted)} else [f"{tally}"]),
    ]


def _unzipped(path: Path) -> tuple[int, str]:
    """Size and checksum of the one data file in a zip."""
    with zipfile.ZipFile(path) as found:
        names = [name for name in found.namelist() if name != "MANIFEST.json"]
        return _fact(found.read(names[0])) if len(names) == 1 else (len(names), "no single file")


def _other(wanted: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    return [
        f"{lfn}: {found.get(lfn)}, not {wanted.get(lfn)}"
        for lfn in sorted({*wanted, *found})
        if wanted.get(lfn) != found.get(lfn)
    ]


def _restored(home: Path, env: Mapping[str, str], display: Display, written: Sequence[Mapping[str, Any]]) -> list[Check]:
    """One file comes back from tape, though it is on no DAQ disk any more."""
    one = written[0]
    lfn, place = lfn_of(one["path"], home / "demo/daq"), home / "demo/restored"
    argv = ["daq-restore", lfn, "--to", str(place)]
    display.say("$ " + " ".join(argv))
    done = subprocess.run(argv, env=dict(env), capture_output=True, text=True, check=False)
    back = place / lfn[1:]
    same = back.is_file() and _fact(back.read_bytes()) == (one["size"], one["checksum"])
    against = [] if same and done.returncode == 0 else [f"exit {done.returncode}: {done.stdout.strip()} {done.stderr.strip()}"]
    return [Check("a file that is on no disk any more comes back from tape as the DAQ wrote it", against)]
