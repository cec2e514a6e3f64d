"""The demo from its first file to its last check."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dmtools.demo import accelerator, archive, books, control, crontab, detector, mirror, passes, proof, staged
from dmtools.demo.display import Display
from dmtools.demo.passes import Ran, Strike
from dmtools.demo.proof import Check
from dmtools.demo.servers import NAMES, Fts
from dmtools.demo.tree import Tree, make
from dmtools.house.leftovers import end_all

CHECKOUT = Path(__file__).resolve().parents[2]
COMMANDS = CHECKOUT / ".venv/bin"
CRONTAB = CHECKOUT / "cron/migrate.crontab"
SECONDS = 900  # then it is given up and shown as it is


class Impossible(Exception):
    """The demo can't run here now; the text says why and what to do."""


class WrongUse(Exception):
    """The person asked for what must not be; the text says why and what to do."""


@dataclass(frozen=True)
class Wishes:
    """What the person asked for."""

    files: int
    big: int
    home: Path | None
    keep: bool
    verbose: bool
    acts: Sequence[str]


@dataclass
class Demo:
    """What was made, what ran, and how it ended."""

    wishes: Wishes
    display: Display
    home: Path
    tree: Tree
    env: dict[str, str]
    servers: dict[str, Fts]
    checks: list[Check] = field(default_factory=list)
    ran: list[Ran] = field(default_factory=list)
    staying: bool = False  # the servers go on after the end

    @property
    def destination(self) -> Path:
        """The root of the copies."""
        return self.home / "demo/echo"

    @property
    def good(self) -> bool:
        """Is all accounted for?"""
        return bool(self.checks) and all(check.good for check in self.checks)

    @property
    def total(self) -> int:
        """How many names the lists hold, each counted once."""
        return len(self.tree.files) + 1 + len(staged.WRONG_LINES)


@contextmanager
def stage(wishes: Wishes, display: Display) -> Iterator[Demo]:
    """A HOME and all that runs in it; at the end both are gone, unless the person keeps them. Raises Impossible, WrongUse."""
    home = _place(wishes)
    table = crontab.read(CRONTAB)
    env = passes.environment(home, COMMANDS, table.variables)
    servers = {name: Fts(name, home, env, outlives=wishes.keep) for name in NAMES}
    demo = Demo(wishes, display, home, Tree(home / "demo/castor"), env, servers)
    try:
        yield demo
    finally:
        display.end_bar()
        if not demo.staying:
            for server in demo.servers.values():
                server.stop()
            while end_all(passes.MARK, str(home), grace=0):
                pass  # a signal may have come while one was being started
        if not wishes.keep:
            shutil.rmtree(home, ignore_errors=True)


def _place(wishes: Wishes) -> Path:
    """An empty place with room for all files twice."""
    if wishes.home is None:
        home = Path(tempfile.mkdtemp(prefix="dm-demo-"))
    else:
        home = wishes.home.absolute()
        if os.path.lexists(home):
            raise WrongUse(f"{home} is there already; name a place that isn't, for all that the demo makes it takes away again")
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o750)
    need = 2 * (wishes.big + wishes.files * 16 * 1024) + (256 << 20)
    free = shutil.disk_usage(home).free
    if free < need:
        home.rmdir()
        raise Impossible(
            f"{home.parent} has {free >> 20} MiB of room and the demo takes {need >> 20}; name another place with --home,"
            " or make it smaller with --files and --big"
        )
    return home


def play(demo: Demo) -> None:
    """All of it."""
    _make_home(demo)
    acts = {"migrate": _migration, "daq": _detector, "lta": _archive, "dqm": _mirror, "datalogger": _accelerator}
    for name in demo.wishes.acts:
        acts[name](demo)
    demo.staying = demo.wishes.keep


def _migration(demo: Demo) -> None:
    """The first act."""
    _make_tree(demo)
    _start(demo)
    _rounds(demo)
    _control_room(demo)
    _prove(demo)


def _make_home(demo: Demo) -> None:
    argv = ["dm-config", "init", str(demo.home)]
    done = subprocess.run(argv, env=demo.env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Impossible(f"{' '.join(argv)} did not work: {done.stderr.strip()}")
    settings = demo.home / "dmtools.toml"
    text = settings.read_text("utf-8")
    quick = {"migrate.retry_seconds": (60, 1), "daq.retry_seconds": (60, 1), "lta.retry_seconds": (60, 1)}
    quick |= {"lta.settle_seconds": (60, 0), "lta.ideal_bytes": (107374182400, 300_000), "lta.lease_seconds": (600, 5)}
    for key, (usual, here) in quick.items():
        before, after = f"# {key} = {usual}\n", f"{key} = {here}\n"
        if before not in text:
            raise Impossible(f"{settings} has no line {before.strip()!r}")
        text = text.replace(before, after)
    settings.write_text(text, "utf-8")
    demo.display.head(f"{'A migration' if 'migrate' in demo.wishes.acts else 'What is shown is'} in {demo.home}")
    demo.display.say("made its HOME: dm-config init; a failed file is tried again after 1 s here, not 60")


def _make_tree(demo: Demo) -> None:
    demo.display.bar("files made", demo.wishes.files)
    make(demo.tree, demo.wishes.files, demo.wishes.big, lambda done, of: demo.display.at(done))
    staged.make(demo.tree, demo.destination)
    staged.write_faults(demo.home, NAMES)
    demo.display.end_bar()
    tree = demo.tree
    demo.display.say(f"made {len(tree.files)} files, {tree.volume >> 20} MiB, below {tree.root}")
    demo.display.say(f"among them names with blanks, in Unicode, not UTF-8; an empty one; one of {demo.wishes.big >> 20} MiB")
    lists = staged.master_lists(tree)
    for name, data in lists.items():
        hand_in(demo.home, name, data)
    doomed = len(staged.DOOMED) + len(staged.WRONG_LINES)
    said = f"put {' and '.join(lists)} into TODO/ListOfLFNs: {doomed} names in them can't arrive, one is there three times"
    demo.display.say(said)


def hand_in(home: Path, name: str, data: bytes) -> None:
    """A master list as it should come: made under a hidden name, then renamed."""
    place = home / "migrate/TODO/ListOfLFNs"
    hidden = place / f".{name}"
    hidden.write_bytes(data)
    hidden.rename(place / name)


def _start(demo: Demo) -> None:
    for server in demo.servers.values():
        server.start()
    demo.display.say(f"started {' and '.join(demo.servers)}: servers that speak FTS3's protocol and make real copies")


def _strikes(demo: Demo) -> list[Strike]:
    queue = demo.home / "migrate"
    return [
        Strike("migrate-producer", 1, passes.grows(queue / "TODO")),
        Strike("migrate-consumer", 2, passes.grows(queue / "DOING")),
        Strike("migrate-consumer", 3, passes.grows(queue / "DOING"), act=demo.servers["fts2"].kill),
        Strike("migrate-monitor", 3, passes.grows(queue / "DONE/Okay")),
    ]


def _rounds(demo: Demo) -> None:
    lines = crontab.read(CRONTAB).lines
    demo.display.head(f"The lines of {CRONTAB.relative_to(CHECKOUT)}, round after round, as cron would run them, only sooner")
    demo.display.bar("names at their end", demo.total)
    strikes, number, late = _strikes(demo), 0, False
    deadline = time.monotonic() + SECONDS
    while True:
        number += 1
        for line in lines:
            waiting = [s for s in strikes if not s.done and s.command == line.label and s.round <= number]
            _one(demo, number, line, waiting[0] if waiting else None)
        if not demo.servers["fts2"].pid:
            demo.servers["fts2"].start()
            demo.display.say("fts2 is started again", "yellow")
        if not late and number >= 2 and (demo.home / "migrate/TODO/ListOfLFNs/Done/demo-a.txt").exists():
            late = True
            _halted(demo, number, lines)
        elif late and books.at_rest(demo.home):
            break
        if time.monotonic() > deadline:
            demo.checks.append(Check("all work comes to its end", [f"it did not within {SECONDS} s"]))
            break
    demo.display.end_bar()
    kills = sum(strike.done for strike in strikes)
    against = [] if kills == len(strikes) else [f"{len(strikes)} were meant to: there was too little to do (--files)"]
    demo.checks.append(Check(f"{kills} times kill -9 hit a command or a server in the middle", against))


def _halted(demo: Demo, number: int, lines: Sequence[crontab.Line]) -> None:
    """A shifter halts migrate, and a master list grows meanwhile: nothing moves until the word is run."""
    before = books.tally(demo.home)
    control.typed(demo.display, demo.env, "dm-command", "halt", "migrate", "--reason", "a disk is changed", "--until", "+1h")
    hand_in(demo.home, "demo-a.txt", staged.longer(staged.master_lists(demo.tree)["demo-a.txt"]))
    demo.display.say(f"demo-a.txt comes again with {len(staged.LATE)} names more at its end")
    for line in lines:
        _one(demo, number, line, None)
    after = books.tally(demo.home)
    demo.checks.append(Check("halted, no file moves", [] if after == before else [f"{before} became {after}"]))
    control.typed(demo.display, demo.env, "dm-command", "run", "migrate")


def _one(demo: Demo, number: int, line: crontab.Line, strike: Strike | None) -> None:
    seen = [0.0]

    def tick() -> None:
        if time.monotonic() - seen[0] > 0.25:
            seen[0] = time.monotonic()
            _show(demo, line.label)

    ran = passes.run(line, demo.env, strike, tick)
    demo.ran.append(ran)
    counts = _show(demo, line.label)
    end = "killed with -9 in the middle" if ran.killed else f"exit {ran.code}"
    demo.display.say(
        f"round {number:2}  {line.label:16}  {ran.seconds:4.1f} s  {end:8}  {counts}", "yellow" if ran.killed else ""
    )
    if strike and strike.done and not ran.killed:
        demo.display.say("meanwhile fts2 was killed with -9, its copies cut off", "yellow")
    if demo.wishes.verbose:
        for text in ran.said.splitlines():
            demo.display.say(f"          {text}", "dim")
    broken = "internal error" in ran.said or "Traceback" in ran.said
    right = (0, 1, 137) if demo.servers["fts2"].pid else (0, 1, 137, 75)  # 75: the one server that it needs is the killed one
    if ran.code not in right or (ran.code == 137) != ran.killed or broken:
        demo.checks.append(Check(f"{line.label} ends as it should", [f"exit {ran.code}: {ran.said.strip()}"]))


def _show(demo: Demo, label: str) -> str:
    tally = books.tally(demo.home)
    demo.display.at(sum(tally.get(state, 0) for state in books.DONE), label)
    order = ("Listed", "TODO", "DOING", *books.DONE)
    return "  ".join(f"{state} {tally[state]}" for state in order if tally.get(state))


def _control_room(demo: Demo) -> None:
    demo.display.head("What nagios and a shifter are told")
    demo.checks.append(control.nagios(demo.display, demo.env))
    demo.checks.append(control.shifter(demo.display, demo.env, "/staged/fails-always.raw"))


def _prove(demo: Demo) -> None:
    demo.display.head("Is all accounted for? Both trees are read anew, the tables by plain SQL, the lists as they lie")
    total = 2 * len(demo.tree.files)
    done = [0]

    def told() -> None:
        done[0] += 1
        if done[0] % 50 == 0:
            demo.display.at(done[0])

    demo.display.bar("files read", total)
    copies = [copy for server in demo.servers.values() for copy in server.copies()]
    demo.checks += proof.trees(demo.tree, demo.destination, told)
    demo.display.end_bar()
    demo.checks += proof.directories(demo.home, demo.tree)
    demo.checks += proof.database(demo.home, demo.tree)
    demo.checks += proof.records(demo.tree, demo.destination, copies)
    _verdicts(demo, demo.checks)


def _detector(demo: Demo) -> None:
    """The second act: DAQ disks go to site and tape while the DAQ writes on."""
    demo.display.head("A detector: its DAQ fills four disks again and again, and the lines of cron/daq.crontab empty them")
    checks, ran = detector.play(demo.home, demo.env, demo.display, list(demo.servers.values()), CHECKOUT / "cron/daq.crontab")
    demo.checks += checks
    demo.ran += ran
    _verdicts(demo, checks)


def _archive(demo: Demo) -> None:
    """The third act: arriving disks go to a remote tape, and back."""
    demo.display.head(
        "A long-term archive: disks arrive, and the lines of cron/lta.crontab bring them to the tape of a remote site"
    )
    checks, ran = archive.play(demo.home, demo.env, demo.display, list(demo.servers.values()), CHECKOUT / "cron/lta.crontab")
    demo.checks += checks
    demo.ran += ran
    _verdicts(demo, checks)


def _mirror(demo: Demo) -> None:
    """The fourth act: a page that is live inside is seen outside, clean, and says when it is old."""
    demo.display.head("A live page: the lines of cron/dqm.crontab mirror it outside, clean of what is private")
    checks = mirror.play(demo.home, demo.env, demo.display, CHECKOUT / "cron/dqm.crontab")
    demo.checks += checks
    _verdicts(demo, checks)


def _accelerator(demo: Demo) -> None:
    """The fifth act: days of devices that are owed come from a logger that is not to be trusted."""
    demo.display.head("An accelerator: the lines of cron/datalogger.crontab fetch what its devices read, each day exactly once")
    checks, ran = accelerator.play(demo.home, demo.env, demo.display, CHECKOUT / "cron/datalogger.crontab")
    demo.checks += checks
    demo.ran += ran
    _verdicts(demo, checks)


def _verdicts(demo: Demo, checks: Sequence[Check]) -> None:
    for check in checks:
        demo.display.say(f"{'yes' if check.good else 'NO '}  {check.what}", "green" if check.good else "red")
        for text in check.against[:10]:
            demo.display.say(f"       {text}", "red")
        if len(check.against) > 10:
            demo.display.say(f"       and {len(check.against) - 10} more", "red")
