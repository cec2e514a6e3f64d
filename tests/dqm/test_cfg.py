"""dqm-cfg: what is in force, what is wrong on this machine, and one line of the settings file changed."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from dmtools import settings
from dmtools.control.template import toml
from dmtools.settings.rewriting import NoPlace, put
from tests.support import command, environment, run

URL = "http://fu-c2f11-11-01.cms:9215/static/index.html#/lumi/?trackRun&hosts=production_c2f11&run="


def dqm(home: Path) -> settings.Dqm:
    return settings.load(home=home).dqm


def test_it_shows_each_key_with_its_origin_and_says_that_nothing_is_wrong(home: Path) -> None:
    told = run("dqm-cfg", home=home).ok()
    assert 'browser = "chromium"  # default' in told.out
    assert told.out.endswith("nothing is wrong\n")
    assert "dm-sim dqm" in told.err  # the simulator does not run: to think about, and no error
    found = run("dqm-cfg", "--json", home=home).ok().json
    assert found["settings"].keys() == set(settings.Dqm.__struct_fields__)
    assert found["from"]["dqm.sites"] == "default"
    assert found["problems"] == []


def test_set_changes_one_line_where_it_stands_and_keeps_all_others(home: Path) -> None:
    file = home / "dmtools.toml"
    before = file.read_text()
    run(
        "dqm-cfg", "--set", f"sites.production={URL}", "--set", "hide=anna,fu-c2f11", "--set", "dqm.robber_seconds=2", home=home
    ).ok()
    changed = set(file.read_text().splitlines()) - set(before.splitlines())
    assert {line.partition(" = ")[0] for line in changed} == {"dqm.sites", "dqm.hide", "dqm.robber_seconds"}
    assert len(file.read_text().splitlines()) == len(before.splitlines())
    found = dqm(home)
    assert [(site.name, site.url) for site in found.sites] == [("production", URL), ("playback", "sim:dqm/playback")]
    assert (found.hide, found.robber_seconds) == (("anna", "fu-c2f11"), 2.0)
    assert file.stat().st_mode & 0o777 == 0o640
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if text.startswith("dqm.robber_seconds"))
    assert f"robber_seconds = 2.0  # line {line}" in run("dqm-cfg", home=home).ok().out
    run("dqm-cfg", "--set", "sites.playback=", "--set", "sites.other=sim:dqm/playback", home=home).ok()
    assert [site.name for site in dqm(home).sites] == ["production", "other"]


def test_a_value_that_is_not_taken_changes_nothing_and_the_near_key_is_named(home: Path) -> None:
    file = home / "dmtools.toml"
    before = file.read_bytes()
    assert "old_runs = 3" in run("dqm-cfg", "--set", "old_runs=3", "--dry-run", home=home).ok().out
    assert file.read_bytes() == before
    assert not (home / "run/dqm-cfg.lock").exists()
    for words, said in (
        (("brwser=firefox",), "did you mean 'browser'?"),
        (("old_runs=3", "browser=opera"), "dqm.browser"),
        (("hide_patterns=(",), "is no regular expression"),
        (("sites.production=ftp://x/",), "is no page that a browser opens"),
        (("down_seconds=1",), "is less than stale_seconds"),
        (("old_runs",), "is no KEY=VALUE"),
    ):
        told = run("dqm-cfg", *[word for text in words for word in ("--set", text)], home=home).gave(2)
        assert said in told.err
        assert file.read_bytes() == before


def test_what_is_wrong_on_this_machine_is_told_with_what_to_do(home: Path) -> None:
    (home / "secrets/cookies").write_text("a=b\n")
    (home / "secrets/cookies").chmod(0o644)
    (home / "no-program").write_text("")
    run("dqm-cfg", "--set", "cookie_file=secrets/cookies", "--set", f"browser_path={home}/no-program", home=home).ok()
    run("dqm-cfg", "--set", "driver_path=/none/chromedriver", home=home).ok()
    (home / "dqm/raw").rmdir()
    told = run("dqm-cfg", home=home).gave(2).err
    assert f"chmod 600 {home}/secrets/cookies" in told
    assert f"{home}/no-program can't be run; chmod +x" in told
    assert "dqm.driver_path: there is no program /none/chromedriver" in told
    assert f"{home}/dqm/raw is not there; make it with: dm-config init {home}" in told
    run("dm-config", "init", home, home=home).ok()
    run("dqm-cfg", "--set", "backend=http", "--set", "cookie_file=", home=home).ok()  # without a browser, none is asked for
    run("dqm-cfg", home=home).ok()


def test_a_name_twice_is_told_with_its_line(home: Path) -> None:
    with (home / "dmtools.toml").open("a") as file:
        file.write('\n[dqm]\nsites = [{name="a", url="sim:dqm/production"}, {name="a", url="sim:dqm/nothing"}]\n')
    told = run("dqm-cfg", home=home).gave(2).err
    assert "dqm.sites entry 2: name: 'a' is the name of entry 1 already" in told
    assert "there is no simulated page 'sim:dqm/nothing'" in told


def test_ten_that_write_at_once_lose_nothing(home: Path) -> None:
    keys = ["old_runs", "stale_seconds", "stuck_seconds", "browser_grabs", "old_run_seconds", "raw_bytes"]
    argv = [command("dqm-cfg", "--set", f"{key}=77") for key in keys]
    running = [subprocess.Popen(words, env=environment(home), stdout=subprocess.DEVNULL) for words in argv]
    assert [one.wait(60) for one in running] == [0] * len(keys)
    assert [getattr(dqm(home), key) for key in keys] == [77] * len(keys)


# ---- the rewriting of any file ------------------------------------------------------------------------------------------

VALUES = st.one_of(st.integers(-5, 5), st.booleans(), st.text(max_size=5), st.lists(st.text(max_size=3), max_size=2))
KEYS = st.sampled_from(["browser", "old_runs", "sites", "x-y"])
LINES = st.one_of(
    st.just(""),
    st.sampled_from(
        [
            "# dqm.browser = 1",
            "  # old_runs = 3",
            "[dqm]",
            "[fts] # dqm",
            "[[many]]",
            "[dqm.inner]",
            "# [dqm]",
            "[[dqm.sites]]",
            "dqm = {old_runs = 1}",
        ]
    ),
    st.builds(lambda key, value: f"{key} = {toml(value)}  # why", KEYS, VALUES),
    st.builds(lambda key, value: f"dqm.{key} = {toml(value)}", KEYS, VALUES),
    st.builds(lambda value: f'text = """\n# dqm.browser = {value}\n[dqm]\n"""', st.integers(0, 9)),
    st.builds(lambda value: f"list = [ # dqm\n  {toml(value)},\n]", VALUES),
)


@given(st.lists(LINES, max_size=6), KEYS, VALUES, st.sampled_from(["\n", "\r\n"]))
@example(["[[dqm.sites]]", "name = 1"], "sites", [], "\n")
@example(["dqm = {old_runs = 1}"], "browser", "x", "\n")
@example(["dqm.sites = [", "  1, # one", "]"], "sites", [], "\n")
def test_any_file_has_the_key_then_and_is_else_what_it_was(lines: list[str], key: str, value: Any, end: str) -> None:
    text = "".join(line + end for line in lines)
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    try:
        after = put(text, "dqm", key, toml(value))
    except NoPlace:
        return
    inner = before.get("dqm", {})
    assert tomllib.loads(after) == {**before, "dqm": {**inner, key: value}}
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#") and f"dqm.{key} =" not in line]
    if "[ #" not in text and "# one" not in text:
        assert [line for line in comments if line not in after.splitlines()] == []
