"""dqm-cfg --convert: an old dqmsquare_mirror.cfg, each key told; the traps of the original are refused or said."""

from __future__ import annotations

import configparser
import io
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools import settings
from dmtools.command import Refused
from dmtools.dqm.cfg import converting, old_file, old_keys
from tests.support import ROOT, Result, run

HASH = "static/index.html#/lumi/?trackRun&hosts={}&run=&showFiles&showJobs&showTimestampsGraph&showEventsGraph"
PRODUCTION, PLAYBACK = (f"http://fu-c2f11-11-01.cms:9215/{HASH.format(name)}" for name in ("production_c2f11", "playback_c2f11"))
# As the original writes it, with its units, and what was added to it later.
WHOLE = f"""
[OPTIONS]
sleep_time = 7
SLEEP_TIME_LONG = 30
TMP_FILES_LIFETIME = 720
TMP_CLEAN_FILES = False
TMP_FOLDER_TO_CLEAN = tmp
LOGGER_ROTATION_TIME = 24
LOGGER_MAX_N_LOG_FILES = 30
FIREFOX_RELOAD_NITERS = 10000
SERVER_LOCAL = True
SERVER_DEBUG = False
SERVER_HOST = 0.0.0.0
SERVER_PORT = 8887
SERVER_PATH_TO_PRODUCTION_PAGE = tmp/content_parser_production
SERVER_PATH_TO_PLAYBACK_PAGE = tmp/content_parser_playback
SERVER_RELOAD_TIME = 2500
SERVER_LOG_PATH = log/dqmsquare_server.log
SERVER_K8 = False
SERVER_DATA_PATH = /cephfs
PARSER_DEBUG = False
PARSER_RANDOM = False
PARSER_PARSE_OLDRUNS = True
PARSER_OLDRUNS_UPDATE_TIME = 1
PARSER_LOG_UPDATE_TIME = 10
PARSER_MAX_OLDRUNS = 17
PARSER_INPUT_PATHS = tmp/content_robber_production,tmp/content_robber_playback
PARSER_OUTPUT_PATHS = tmp/content_parser_production,tmp/content_parser_playback
PARSER_LOG_PATH = log/dqmsquare_parser.log
PARSER_LINK_PREFIX = dqm/mirror/
ROBBER_BACKEND = selenium
ROBBER_GECKODRIVER_PATH = geckodriver/geckodriver
ROBBER_DEBUG = True
ROBBER_GRAB_LOGS = True
ROBBER_GRAB_GRAPHS = True
ROBBER_GRAB_OLDRUNS = True
ROBBER_TARGET_SITES = {PRODUCTION},{PLAYBACK}
ROBBER_OUTPUT_PATHS = tmp/content_robber_production,tmp/content_robber_playback
ROBBER_RELOAD_NITERS = 100
ROBBER_LOG_PATH = log/dqmsquare_robber.log
ROBBER_OLDRUNS_LOG_PATH = log/dqmsquare_robber_oldruns.log
ROBBER_OLDRUNS_UPDATE_TIME = 0.5
ROBBER_FIREFOX_PATH =
ROBBER_FIREFOX_PROFILE_PATH =
ROBBER_GECKODRIVER_LOG_PATH = log/geckodriver.log
ROBBER_OLDRUNS_GECKODRIVER_LOG_PATH = log/geckodriver_oldruns.log
ROBBER_K8 = False
ROBBER_K8_LOGIN_PAGE =
"""


def convert(home: Path, text: str, *words: str) -> Result:
    file = home / "old/dqmsquare_mirror.cfg"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return run("dqm-cfg", "--convert", file, *words, home=home)


def test_every_key_of_the_original_is_mapped_or_named_with_why_not_and_old_units_are_seconds(home: Path) -> None:
    driver = home / "old/geckodriver/geckodriver"
    driver.parent.mkdir(parents=True)
    driver.write_text("#!/bin/sh\n")
    driver.chmod(0o755)
    told = convert(home, WHOLE, "--json").ok().json
    assert {one["key"] for one in told["keys"]} == set(old_keys.KNOWN)
    assert [one["key"] for one in told["keys"] if not one["becomes"] and not one["why"]] == []
    found = settings.load(home=home).dqm
    assert [(site.name, site.url) for site in found.sites] == [("production", PRODUCTION), ("playback", PLAYBACK)]
    assert (found.sleep_seconds, found.page_seconds, found.old_run_seconds, found.lifetime_hours) == (7.0, 2.5, 1800, 720.0)
    assert (found.old_runs, found.browser_grabs, found.prefix, found.backend) == (17, 10000, "/dqm/mirror", "browser")
    assert (found.browser, found.driver_path) == ("firefox", str(driver))
    again = convert(home, WHOLE).ok().out
    assert "SERVER_HOST = 0.0.0.0: nothing: dqm-server --host" in again
    assert "SERVER_RELOAD_TIME = 2500 -> page_seconds = 2.5  (milliseconds there" in again


def test_the_page_on_dqm_tells_what_becomes_of_the_keys() -> None:
    page = (ROOT / "docs/dqm.md").read_text("utf-8")
    named = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", page))
    assert named >= {key for key in old_keys.KNOWN if key not in old_keys.NOTHING} - {old_keys.BACKEND, old_keys.CLEAN}


def test_without_old_runs_or_a_driver(home: Path) -> None:
    told = convert(
        home, "[OPTIONS]\nPARSER_MAX_OLDRUNS = 17\nROBBER_GRAB_OLDRUNS = False\nROBBER_GECKODRIVER_PATH = x/gecko\n"
    ).ok()
    assert settings.load(home=home).dqm.old_runs == 0
    assert settings.load(home=home).dqm.driver_path == ""
    assert f"there is no program {home}/old/x/gecko" in told.out
    assert "the old file names no pages, and the original had hosts of its own in its code" in told.out


# ---- line 13 of what broke there ----------------------------------------------------------------------------------------


def test_broke_13_a_missing_file_is_refused_where_the_original_ran_on_its_defaults(home: Path) -> None:
    before = (home / "dmtools.toml").read_bytes()
    told = run("dqm-cfg", "--convert", home / "none.cfg", home=home).gave(2).err
    assert "the original ran on its defaults then, and said nothing" in told
    assert (home / "dmtools.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no section [OPTIONS] (sections: none)"),
        ("[options]\nSLEEP_TIME = 1\n", "has no section [OPTIONS] (sections: [options])"),
        ("SLEEP_TIME = 1\n", "is no INI file"),
        ("[OPTIONS]\nSLEEP_TIME\n", "is no INI file"),
    ],
)
def test_broke_13_a_file_without_its_section_is_refused(text: str, said: str) -> None:
    with pytest.raises(Refused, match=re.escape(said)):
        old_file.parse(text, "old.cfg")


def of(text: str) -> converting.Conversion:
    return converting.convert(old_file.parse(f"[OPTIONS]\n{text}", "old.cfg"), Path("/none"))


def test_broke_13_a_percent_sign_is_what_it_is() -> None:
    found = of("ROBBER_TARGET_SITES = http://a/x%20y,http://b/\n")
    assert [site["url"] for site in found.values["sites"]] == ["http://a/x%20y", "http://b/"]
    assert "its % is taken as it stands; the original ran on its defaults then" in found.told[0].why
    meant = of("HOST = fu-1\nROBBER_TARGET_SITES = http://%(HOST)s/x%%20y\n")
    assert [site["url"] for site in meant.values["sites"]] == ["http://fu-1/x%20y"]


def test_broke_13_a_comma_in_a_url_is_one_page() -> None:
    found = of("ROBBER_TARGET_SITES = http://a/#/lumi/?hosts=x,y&next=http://z/,http://b/\n")
    assert [site["url"] for site in found.values["sites"]] == ["http://a/#/lumi/?hosts=x,y&next=http://z/", "http://b/"]
    assert "a comma stands in a URL" in found.told[0].why


def test_broke_13_a_key_that_nobody_knows_and_a_value_that_is_none_are_told_and_the_rest_is_taken(home: Path) -> None:
    told = convert(home, "[OPTIONS]\nSLEP_TIME = 9\nSLEEP_TIME = abc\nPARSER_MAX_OLDRUNS = 3\nTMP_FILES_LIFETIME = -1\n").gave(1)
    assert "SLEP_TIME: the original knew no such key and passed over it; did it mean SLEEP_TIME?" in told.err
    assert "SLEEP_TIME: is no number" in told.err
    assert "TMP_FILES_LIFETIME: dqm.lifetime_hours must be a number > 0" in told.err
    assert settings.load(home=home).dqm.old_runs == 3


def test_broke_13_the_name_of_a_site_does_not_hang_on_the_text_run_in_a_path() -> None:
    found = of(
        f"ROBBER_TARGET_SITES = {PRODUCTION},{PLAYBACK}\nROBBER_OUTPUT_PATHS = /run/running/content_robber_production,run\n"
    )
    assert [site["name"] for site in found.values["sites"]] == ["production", "run"]
    names = converting.names_of(["x/a b", "x/Playback", "x/_playback"], 4)
    assert names == ["site-1", "playback", "site-3", "site-4"]


@given(st.text(max_size=80) | st.builds("[OPTIONS]\n{}".format, st.text(max_size=80)))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        options = old_file.parse(text, "old.cfg")
    except Refused:
        return
    found = converting.convert(options, Path("/none"))
    assert {one.key for one in found.told} == {option.key for option in options}


@given(st.dictionaries(st.sampled_from(sorted(old_keys.KNOWN)), st.text(max_size=30), max_size=5))
def test_what_a_person_wrote_into_any_known_key_becomes_settings_that_are_taken(values: dict[str, str]) -> None:
    written = configparser.RawConfigParser()
    written.read_dict({"OPTIONS": values})
    out = io.StringIO()
    try:
        written.write(out)
        options = old_file.parse(out.getvalue(), "old.cfg")
    except (Refused, configparser.Error):
        return
    found = converting.convert(options, Path("/none"))
    assert len(found.told) == len(options)
    msgspec.convert(found.values, settings.Dqm)  # what types can't say, as of a URL, is told when it is written
