"""The demo's fifth act: days of an accelerator's devices are owed, and the lines of cron/datalogger.crontab fetch them.

The logger cuts answers short, says errors as text, and knows one device not at all; commands are killed on the way. What comes
out is proved by the documented formula alone (accelerator_proof). Of dmtools it uses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from dmtools.demo import accelerator_proof as prove
from dmtools.demo import books, control, crontab, rounds
from dmtools.demo.display import Display
from dmtools.demo.passes import Ran, Strike
from dmtools.demo.proof import Check
from dmtools.demo.rounds import Act
from dmtools.demo.servers import Sim

DAYS = 3
NAMES, UNKNOWN = ("B:VIMIN", "B:VIMAX", "B:IMINER", "I:IB"), "N:NOBODY"
WAY = ("owed", "asked", "incomplete", "error", "done", "empty", "lost")
LOOPS = ("datalogger-supervise", "datalogger-timeline")  # they go on by themselves
FAULTS = {
    "B:VIMAX": 'op = "few"',  # 487 points, then nothing: as it has been seen
    "B:IMINER": 'op = "say"\nreason = "!ACNET_TIMEOUT - the node does not answer"\ntimes = 3',
    "I:IB": 'op = "cut-line"\ntimes = 2',
}


def play(home: Path, env: Mapping[str, str], display: Display, table: Path) -> tuple[list[Check], list[Ran]]:
    """All of it. Gives what was proved, and the passes that ran."""
    wanted = prove.days(DAYS, datetime.now(prove.ZONE).date())
    _settings(home, wanted[0][0].astimezone(prove.ZONE).date().isoformat())
    _faults(home)
    logger = Sim("datalogger", ("datalogger", "--hertz", "1/10"), home, dict(env), outlives=False)
    logger.start()
    try:
        display.say(f"started a logger that remembers ten days; {DAYS} days of {len(NAMES) + 1} devices are owed")
        ran, checks = _rounds(home, env, display, table)
        asked = [str(query) for query in logger.record("/sim/asked")]
    finally:
        logger.stop()
    out = home / "datalogger/out"
    checks += [
        *prove.files(out, NAMES, wanted),
        prove.tables(home, NAMES, UNKNOWN, DAYS),
        prove.cut_short(asked, "B:VIMAX", "B:VIMIN"),
    ]
    checks += [prove.declared(home), prove.statistics(home, NAMES, wanted), prove.site(home / "datalogger/site", NAMES)]
    for words in (("dm-monitoring", "datalogger"), ("dm-trace", UNKNOWN), ("dm-check",)):
        control.typed(display, env, *words)
    display.say(
        f"now open {home}/datalogger/site/index.html in a browser (--keep leaves it there): its curves, what is missing and why"
    )
    return checks, ran


def _settings(home: Path, since: str) -> None:
    """The keys go first: a table of the file would take them for its own."""
    listed = ", ".join(f'{{name = "{name}", hertz = 0.1, units = "A"}}' for name in (*NAMES, UNKNOWN))
    keys = {"since": f'"{since}"', "devices": f"[{listed}]", "settle_minutes": "0", "retry_minutes": "0.001"}
    settings = home / "dmtools.toml"
    if "# datalogger.events = " in settings.read_text("utf-8"):
        keys["events"] = '["00"]'  # one a supercycle; others come up to 720 times a second
    own = "".join(f"datalogger.{key} = {value}\n" for key, value in {**keys, "chunk_minutes": "360"}.items())
    settings.write_text(own + settings.read_text("utf-8"), "utf-8")


def _faults(home: Path) -> None:
    text = "".join(f'[[fault]]\nmatch = "+{name}"\n{what}\n' for name, what in FAULTS.items())
    (home / "run/sim/datalogger.faults.toml").write_text(text)


def _rounds(home: Path, env: Mapping[str, str], display: Display, table: Path) -> tuple[list[Ran], list[Check]]:
    lines = [line for line in crontab.read(table).lines if line.label not in LOOPS]
    strikes = [
        Strike("datalogger-params", 1, _more(home / "datalogger/draft", "*.rows", 3)),
        Strike("datalogger-params", 2, _more(home / "datalogger/out", "params-*", 1)),
    ]
    least = 1  # the second needs a pass that is still at work when its first file is out
    act = Act("datalogger", WAY, "done", strikes, least, (0, 1, 137), "all that is owed is had")
    total = DAYS * len(NAMES)
    had = "SELECT count(*) FROM datalogger_window WHERE kind = 'device' AND state = 'done'"
    waits = "SELECT count(*) FROM datalogger_window WHERE state IN ('owed', 'asked', 'incomplete')"
    drafts = "SELECT count(*) FROM datalogger_file WHERE state != 'published'"

    def is_over() -> bool:
        return [books.ask(home, text)[0][0] for text in (had, waits, drafts)] == [total, 0, 0]

    display.bar("days of devices", total)
    return rounds.play(act, home, lines, lambda _line: env, is_over, display)


def _more(place: Path, names: str, number: int) -> Callable[[], bool]:
    """A sign: so many files more of these names are in the directory."""
    before = len(list(place.glob(names)))
    return lambda: len(list(place.glob(names))) >= before + number
