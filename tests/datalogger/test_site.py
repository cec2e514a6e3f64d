"""The plot site as files: whole at every moment, cheap when little is new, right in its points; brought elsewhere by rsync."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.datalogger.history import History
from tests.support import ROOT, command, environment, run

LAST = date(2026, 11, 25)
NAMES = ("B:VIMIN", "B:VIMAX", "I:IB", "0c")


def day(back: int) -> date:
    return LAST - timedelta(days=back)


STATES = {
    ("B:VIMIN", day(9)): ("lost", "the logger keeps 10 days; before that: the logger said: !<down>"),
    ("B:VIMIN", day(8)): ("lost", "the logger keeps 10 days; before that: the logger said: !<down>"),
    ("B:VIMIN", day(0)): ("owed", ""),
    ("B:VIMAX", day(1)): ("error", "the logger said: Error reading device B:VIMAX - DIO_NOSCALE"),
    ("I:IB", day(20)): ("empty", ""),
}
ODD = {
    ("B:VIMAX", day(3)): {"mean": 900.0, "mode": 901.0},
    ("I:IB", day(5)): {"std": 90.0},
    ("I:IB", day(2)): {"std": 0.0, "min": 5.0, "max": 5.0, "mode": 5.0, "mean": 5.0},
}


@pytest.fixture
def history(home: Path) -> History:
    """Sixty days of three devices and an event."""
    found = History(home, NAMES, LAST, 60, STATES, ODD)
    found.write()
    return found


def site_of(home: Path) -> Path:
    return home / "datalogger/site"


def figure(site: Path, stem: str) -> Any:
    return json.loads((site / f"data/{stem}.json").read_text())


def seen(site: Path) -> dict[str, str]:
    """What a reader has who begins with index.html: each figure by the name of its device. Fails where it is not whole."""
    index = (site / "index.html").read_text()
    assert index.endswith("</html>\n")
    scripts = re.findall(r'<script src="([^"]+)"', index)
    parts = {name: (site / name).read_bytes() for name in scripts}
    for name, data in parts.items():
        assert hashlib.sha256(data).hexdigest()[:16] in name
    (catalogue,) = (data for name, data in parts.items() if "catalogue" in name)
    told = json.loads(catalogue.partition(b"dmCatalogue = ")[2].rstrip().rstrip(b";"))
    figures = {one["name"]: (site / one["script"]).read_bytes() for one in told["devices"]}
    for one in told["devices"]:
        assert hashlib.sha256(figures[one["name"]]).hexdigest()[:16] in one["script"]
        assert f" {one['points']} " in f" {sum(y is not None for y in of_script(figures[one['name']])['data'][2]['y'])} "
    return {name: data.decode() for name, data in figures.items()}


def of_script(data: bytes) -> Any:
    return json.loads(data.partition(b", ")[2].rstrip().removesuffix(b");"))


@contextmanager
def again_and_again(look: Callable[[], Any]) -> Iterator[None]:
    """Looks all the time while the block runs, and once more; fails when a look did."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            look()

    with ThreadPoolExecutor(1) as crew:
        reader = crew.submit(loop)
        try:
            yield
        finally:
            stop.set()
    reader.result()
    look()


def test_a_figure_has_the_points_of_its_statistics_gaps_are_null_and_what_is_missing_says_why(history: History) -> None:
    run("datalogger-json", home=history.home).ok()
    found = figure(site_of(history.home), "B_VIMIN")
    assert [trace["name"] for trace in found["data"][:5]] == ["max", "+1 sigma", "mode", "-1 sigma", "min"]
    of = {trace["name"]: dict(zip(trace["x"], trace["y"], strict=True)) for trace in found["data"]}
    for at in history.all_days():
        value = history.figures("B:VIMIN", at)
        wanted = {"max": value["max"], "mode": value["mode"], "min": value["min"]}
        wanted |= {"+1 sigma": value["mode"] + value["std"], "-1 sigma": value["mode"] - value["std"]}
        for name, number in wanted.items():
            is_missing = ("B:VIMIN", at) in STATES
            assert of[name][at.isoformat()] == (None if is_missing else pytest.approx(number, rel=1e-8))
    bars = next(trace for trace in found["data"] if trace["name"] == "missing")
    assert bars["x"] == [day(9).isoformat(), LAST.isoformat()]
    assert bars["width"] == [2 * 86_400_000, 86_400_000]
    assert bars["customdata"] == ["lost", "owed"]
    assert "the logger said: !&lt;down&gt;" in bars["hovertext"][0].replace("<br>", " ")
    assert len(found["data"][0]["x"]) == 60


def test_plotly_itself_takes_every_figure_as_it_is(history: History) -> None:
    from plotly import io

    run("datalogger-json", home=history.home).ok()
    for path in sorted((site_of(history.home) / "data").glob("*.json")):
        taken = io.from_json(path.read_text())
        assert json.loads(taken.to_json())["data"][2]["name"] == "mode"
    assert len(taken.data) == 7


def test_anomalies_are_told_with_their_numbers_and_the_rule_is_in_words(history: History) -> None:
    run("datalogger-json", home=history.home).ok()
    site = site_of(history.home)
    marks = {stem: figure(site, stem)["data"][6] for stem in ("B_VIMIN", "B_VIMAX", "I_IB")}
    assert marks["B_VIMIN"]["x"] == []
    assert marks["B_VIMAX"]["x"] == [day(3).isoformat()]
    assert re.match(r"drift: mean 900 A is \d+ spreads of 0\.\d+ A from", marks["B_VIMAX"]["hovertext"][0])
    assert marks["I_IB"]["x"] == [day(5).isoformat(), day(2).isoformat()]
    assert [text.partition(":")[0] for text in marks["I_IB"]["hovertext"]] == ["noise", "stuck"]
    assert "further from the median of their means than 5 spreads" in (site / "help.html").read_text()


def test_line_7_who_reads_while_it_is_made_never_sees_a_mixed_or_half_site(history: History) -> None:
    run("datalogger-json", home=history.home).ok()
    site, views = site_of(history.home), set[str]()

    def look() -> None:
        views.add(hashlib.sha256("".join(seen(site).values()).encode()).hexdigest())
        for stem in ("B_VIMIN", "event-0c"):
            assert figure(site, stem)["layout"]["meta"]["device"] == stem.removeprefix("event-").replace("_", ":", 1)

    names = [site / "index.html", site / "index.json", site / "data/B_VIMIN.json"]
    whole = [path.read_bytes() for path in names]
    with again_and_again(look), ExitStack() as stack:
        begun = [stack.enter_context(path.open("rb")) for path in names]  # who has begun to read goes on in the old file
        for number in range(1, 3):
            History(history.home, NAMES, LAST + timedelta(days=number), 1).write()
            run("datalogger-json", home=history.home).ok()
        assert [file.read() for file in begun] == whole
    assert len(views) >= 2
    assert all(LAST.isoformat() in text for text in seen(site).values())


def test_what_did_not_change_is_not_written_again_and_old_files_stay_for_pages_that_are_open(history: History) -> None:
    run("datalogger-json", home=history.home).ok()
    site = site_of(history.home)
    before = {path: path.stat().st_mtime_ns for path in (site / "data").iterdir()}
    told = run("datalogger-json", "--json", home=history.home).ok().json
    assert told["counts"] == {}
    assert {path: path.stat().st_mtime_ns for path in (site / "data").iterdir()} == before
    History(history.home, ("B:VIMAX",), LAST + timedelta(days=1), 1).write()
    told = run("datalogger-json", "--json", home=history.home).ok().json
    assert told["counts"] == {"changed>made": 1}
    changed = [path for path, at in before.items() if path.stat().st_mtime_ns != at]
    assert [path.name for path in changed] == ["B_VIMAX.json"]
    assert all(path.exists() for path in before)
    assert len(list((site / "data").glob("B_VIMAX-*.js"))) == 2
    (site / "data/mine.txt").write_text("not of this site")
    run("datalogger-json", home=history.home, env={"DMTOOLS_CLOCK_OFFSET": str(90_000)}).ok()
    assert len(list((site / "data").glob("B_VIMAX-*.js"))) == 1
    assert (site / "data/mine.txt").exists()
    seen(site)
    (site / ".made.json").write_text("{")
    (site / "data/I_IB.json").unlink()
    run("datalogger-json", home=history.home).ok()
    assert figure(site, "I_IB")["data"]


@pytest.mark.needs("strace")
def test_killed_before_any_rename_the_old_site_stands_whole_and_the_next_pass_mends(history: History) -> None:
    run("datalogger-json", home=history.home).ok()
    site = site_of(history.home)
    old = seen(site)
    wanted = history.home.parent / "wanted"
    for number, n in enumerate((1, 4, 8, 9, 10, 12), 1):
        History(history.home, NAMES, LAST + timedelta(days=number), 1).write()
        trace = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=rename", "-e", f"inject=rename:signal=KILL:when={n}+")
        run("datalogger-json", home=history.home, prefix=trace)
        now = seen(site)
        assert set(now) == set(old)
    run("datalogger-json", home=history.home).ok()
    run("datalogger-json", "--out", wanted, home=history.home).ok()
    assert seen(site) == seen(wanted)
    for path in (wanted / "data").glob("*.json"):
        assert (site / "data" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.needs("rsync")
def test_a_published_site_is_whole_at_every_moment_and_nothing_of_others_is_touched(history: History, short_tmp: Path) -> None:
    target = short_tmp / "web"
    file = history.home / "dmtools.toml"
    file.write_text(f'datalogger.publish = "{target}"\n' + file.read_text())
    target.mkdir()
    (target / "theirs.html").write_text("of others")
    run("datalogger-json", home=history.home).ok()
    first = seen(target)
    with again_and_again(lambda: seen(target)):
        History(history.home, NAMES, LAST + timedelta(days=1), 1).write()
        run("datalogger-json", home=history.home).ok()
    assert seen(target) == seen(site_of(history.home)) != first
    assert not list(target.rglob(".*"))
    assert (target / "index.html").stat().st_mode & 0o777 == 0o644
    run("datalogger-json", home=history.home, env={"DMTOOLS_CLOCK_OFFSET": str(90_000)}).ok()
    assert len(list((target / "data").glob("B_VIMAX-*.js"))) == 1
    assert (target / "theirs.html").read_text() == "of others"
    shutil.rmtree(target)
    target.write_text("no directory")
    told = run("datalogger-json", home=history.home).gave(1)
    assert f"not published: {target}: rsync ended with" in told.err
    seen(site_of(history.home))


def test_ten_at_once_make_one_site_and_a_stopped_one_hands_it_back(history: History) -> None:
    argv = command("datalogger-json")
    crew = [subprocess.Popen(argv, env=environment(history.home), stderr=subprocess.PIPE) for _ in range(10)]
    crew[3].send_signal(signal.SIGTERM)
    said = [one.communicate()[1] for one in crew]
    assert {one.returncode for one in crew} <= {0, 143, -signal.SIGTERM}, said
    run("datalogger-json", home=history.home).ok()
    assert set(seen(site_of(history.home))) == set(NAMES)


def test_a_site_of_chosen_devices_and_wrong_use_in_sentences(history: History, short_tmp: Path) -> None:
    assert "say --out DIR" in run("datalogger-json", "--device", "B:VIMIN", home=history.home).gave(2).err
    told = run("datalogger-json", "--device", "B:VIMEN", "--out", short_tmp / "x", home=history.home).gave(2)
    assert "did you mean B:VIMIN?" in told.err
    run("datalogger-json", "--device", "B:VIMIN", "--device", "event-0c", "--out", short_tmp / "x", home=history.home).ok()
    assert set(seen(short_tmp / "x")) == {"B:VIMIN", "0c"}
    plan = run("datalogger-json", "--dry-run", home=history.home).ok().out
    assert plan.count("would make") == 4
    assert not list(site_of(history.home).iterdir())


def test_the_age_of_the_site_is_watched(history: History) -> None:
    run("datalogger-json", home=history.home).ok()
    for hours, word in ((1, "OK"), (30, "WARNING"), (200, "CRITICAL")):
        env = {"DMTOOLS_CLOCK_OFFSET": str(hours * 3600)}
        figures = run("dm-train-ok", "--json", home=history.home, env=env).json["figures"]
        (age,) = (one for one in figures if one["family"] == "site_age")
        assert age["state"] == word


def test_the_bundled_plotly_is_the_one_that_the_page_on_dependencies_names() -> None:
    data = (ROOT / "dmtools/datalogger/plots/static/plotly-basic.min.js").read_bytes()
    told = (ROOT / "docs/dependencies.md").read_text()
    assert hashlib.sha256(data).hexdigest() in told
    assert (version := re.search(rb"plotly\.js \(basic - minified\) v([\d.]+)", data))
    assert f"{version[1].decode()}" in told


def test_a_new_home_gets_an_empty_site_that_says_so(home: Path) -> None:
    run("datalogger-json", home=home).ok()
    assert seen(site_of(home)) == {}
