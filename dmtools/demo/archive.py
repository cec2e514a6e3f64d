"""The demo's third act: disks arrive, are dumped, bundled, shipped to a remote tape, removed here, and come back; then the proof.

The remote site is a HOME of its own that knows the source by lta-rest-server alone; its tape is dm-sim archive, through hsi. The
proof stands on what the demo itself wrote onto the disks. It unzips what lies on the tape by Python's zipfile.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dmtools.demo import archive_site, books, control, crontab, rounds
from dmtools.demo.display import Display
from dmtools.demo.passes import Ran, Strike
from dmtools.demo.proof import Check
from dmtools.demo.rounds import Act
from dmtools.demo.servers import Fts

DAY = "data/exp/2016/1206"
NAMES = ("run 0001.raw", "run_0002.raw", "prüf.raw", "100%.raw")
UUIDS = tuple(f"5b1e3f7a-0001-4c2d-8e9f-00000000000{number}" for number in (1, 2, 3))
WAY = ("Untouched", "JsonMade", "PushProblem", "PushDone", "NERSCRunning", "NERSCDone", "NERSCProblem", "NERSCClean")
AT_NIGHT = "lta-audit"
SPOILT = b"other bytes under a name that another disk has: one of the two is wrong\n"


def play(
    home: Path, env: Mapping[str, str], display: Display, servers: Sequence[Fts], table: Path
) -> tuple[list[Check], list[Ran]]:
    """All of it. Gives what was proved, and the passes that ran."""
    for server in servers:
        if not server.pid:
            server.start()
    wrote = arrive(home)
    display.say(
        f"put {len(UUIDS)} disks into slots: {len(wrote)} files; on the third one a name has other bytes than on the first"
    )
    with archive_site.running(home, dict(env)) as site:
        ran = _expect(home, env, display)
        more, checks = _rounds(home, env, display, site, table)
        lines = control.typed(display, env, "dm-monitoring", "lta").stdout.splitlines()
        checks.append(_monitoring(lines))
        _person(env, display)
        checks += proof(home, wrote, site.on_tape())
        checks += _restored(home, env, display, site, wrote)
    return checks, [*ran, *more]


def arrive(home: Path) -> dict[str, bytes]:
    """Three disks in their slots; the third is bad. Gives name -> content of what must be archived."""
    wrote: dict[str, bytes] = {}
    for number, uuid in enumerate(UUIDS, 1):
        disk = home / f"demo/lta/slots/slot{number}" / uuid
        for name in NAMES if number < 3 else (f"disk1/{NAMES[0]}",):
            path = disk / DAY / (f"disk{number}/{name}" if number < 3 else name)
            path.parent.mkdir(parents=True, exist_ok=True)
            data = SPOILT if number == 3 else hashlib.shake_128(str(path).encode()).digest(150_000)
            path.write_bytes(data)
            if number < 3:
                wrote[f"/{path.relative_to(disk)}"] = data
    return wrote


def _expect(home: Path, env: Mapping[str, str], display: Display) -> list[Ran]:
    """How many files the day has when it is full: nobody else can know."""
    counts = home / "expected.txt"
    counts.write_text(f"/{DAY} {2 * len(NAMES)}\n")
    control.typed(display, env, "lta-glue", "--expect", str(counts))
    return []


def _rounds(
    home: Path, env: Mapping[str, str], display: Display, site: archive_site.Site, table: Path
) -> tuple[list[Ran], list[Check]]:
    lines = [line for line in crontab.read(table).lines if line.label != AT_NIGHT]
    places = {
        "lta-dump-control": home / "demo/lta/warehouse",
        "lta-glue": home / "demo/lta/outbound",
        "lta-bundle-scanner": home / "lta",
        "lta-nersc-client": site.home,
    }
    strikes = [Strike(command, 1, _grows(place)) for command, place in places.items()]
    wanted = "all bundles come to the remote tape"
    act = Act("lta", WAY, "NERSCClean", strikes, len(strikes) - 1, (0, 1, 75, 137), wanted)

    def env_of(line: crontab.Line) -> Mapping[str, str]:
        return site.env if line.label == "lta-nersc-client" else env

    display.bar("bundles on the remote tape", 4)
    return rounds.play(act, home, lines, env_of, lambda: _is_over(home), display)


def _is_over(home: Path) -> bool:
    """All bundles are proved on tape, the day is bundled, two disks are dumped and one is set aside."""
    disks = Counter(row[0] for row in books.ask(home, "SELECT state FROM lta_disk"))
    directories = [row[0] for row in books.ask(home, "SELECT state FROM lta_directory")]
    return set(books.tally(home, "lta")) == {"NERSCClean"} and directories == ["LTArequest"] and disks == {"Done": 2, "Error": 1}


def _grows(place: Path) -> Callable[[], bool]:
    """A sign: something new is below the place."""
    before: list[int] = []

    def sign() -> bool:
        now = sum(len(names) for _, _, names in os.walk(place))
        before.append(now)
        return now > before[0]

    return sign


def _person(env: Mapping[str, str], display: Display) -> None:
    """Room is made here, by a person's word."""
    for words in (("lta-manual-bundle",), ("lta-manual-bundle", "--yes"), ("lta-manual-files", "--yes")):
        control.typed(display, env, *words)


def _monitoring(lines: Sequence[str]) -> Check:
    """The lines of the original, with what the demo knows must stand there."""
    wanted = {
        "NERSCStatus": r"NERSCStatus=   Run \|  \| \d+ \| .*",
        "NERSCToken": r"NERSCToken=   NULL at .*",
        "LocalStatus": r"LocalStatus=   Run \|  \| \d+ \| .*",
        "DiskStatuses": r"DiskStatuses=    \| New:0 \| Inventoried:0 \| Dumping:0 \| Done:2 \| Removed:0 \| Error:1",
        "Duplicate bundle transfers": r"Duplicate bundle transfers=  0",
    }
    told = {line.partition("=")[0]: line for line in lines if "=" in line}
    against = [f"{name}: {told.get(name)}" for name, form in wanted.items() if not re.fullmatch(form, told.get(name, ""))]
    return Check("dm-monitoring has the lines of the original, and what they say is so", against)


# ---- the proof ----------------------------------------------------------------------------------------------------------


def proof(home: Path, wrote: Mapping[str, bytes], on_tape: Sequence[Path]) -> list[Check]:
    """What was written onto the good disks is in zips on tape, each file once, byte for byte, and is gone here."""
    found: Counter[str] = Counter()
    wrong: list[str] = []
    for path in on_tape:
        for name, data in unzipped(path).items():
            found[name] += 1
            if wrote.get(name) != data:
                wrong.append(f"{name} in {path.name}: {len(data)} bytes, other than what was written")
    wrong += [f"{name} is on tape {found[name]} times" for name in wrote if found[name] != 1]
    bundles = len(on_tape)
    here = [str(path) for path in (home / "demo/lta/outbound").rglob("*.zip")]
    left = [name for name in wrote if (home / "demo/lta/warehouse" / name[1:]).exists()]
    slots = [path for path in (home / "demo/lta/slots").rglob("*") if path.is_file()]
    disks = [] if len(slots) == len(wrote) + 1 else [f"the disks hold {len(slots)} files, not {len(wrote) + 1}"]
    told = (
        []
        if books.tally(home, "lta") == {"LocalFilesDeleted": bundles}
        else [f"{books.tally(home, 'lta')}, and {bundles} zips are on tape"]
    )
    return [
        Check(f"each of the {len(wrote)} files of the good disks is in one zip on the remote tape, byte for byte", wrong),
        Check("the bad disk was set aside alone, and what it holds went nowhere", _spoilt(home, on_tape)),
        Check("no zip is left in outbound, and no file of them in the warehouse", here + left),
        Check("the disks are as they came", disks),
        Check("the tables say the same", told),
    ]


def unzipped(path: Path) -> dict[str, bytes]:
    """The files of a zip, without its manifest."""
    with zipfile.ZipFile(path) as found:
        return {f"/{name}": found.read(name) for name in found.namelist() if not name.endswith(".metadata.ndjson")}


def _spoilt(home: Path, on_tape: Sequence[Path]) -> list[str]:
    places = [*(home / "demo/lta/warehouse").rglob("*"), *(home / "demo/lta/outbound").rglob("*")]
    return [str(path) for path in [*places, *on_tape] if path.is_file() and SPOILT.strip() in path.read_bytes()]


def _restored(
    home: Path, env: Mapping[str, str], display: Display, site: archive_site.Site, wrote: Mapping[str, bytes]
) -> list[Check]:
    """One file, and one whole bundle, come back from the tape, though nothing of them is here any more."""
    name, to = next(iter(wrote)), home / "demo/restored"
    bundle = str(books.ask(home, "SELECT min(ideal) FROM lta_bundle")[0][0])
    wanted = [("lta-restore", name, "--to", str(to / "file")), ("lta-restore", bundle, "--zip", "--to", str(to / "bundle"))]
    display.say("and back: the remote site reads it from tape, FTS brings it, it is proved here")
    for _ in range(10):
        codes = [site.command(env, words) for words in wanted]
        if codes == [0, 0]:
            break
        site.command(site.env, ("lta-nersc-client",))
    for words in wanted:
        control.typed(display, env, *words)
    back = to / "file" / name[1:]
    against = [] if back.is_file() and back.read_bytes() == wrote[name] else [f"{back} is not what was written"]
    zips = list((to / "bundle").rglob("*.zip"))
    whole = [path.name for path in zips if {n: wrote.get(n) for n in unzipped(path)} != unzipped(path)]
    return [
        Check("a file that is nowhere here comes back from the remote tape as it was on its disk", against),
        Check("a whole bundle comes back, byte for byte what the tape has", whole if zips else ["no zip came"]),
    ]
