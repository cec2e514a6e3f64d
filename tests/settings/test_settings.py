"""The settings file: every wrong key by its line, the near name, where the values come from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools import settings
from dmtools.control import template
from dmtools.settings import kinds, lines, problems
from tests.support import run

HERE = Path("/data/home")


def read(text: str) -> settings.Settings:
    return settings.parse(text, home=HERE, file=HERE / "dmtools.toml")


def told(text: str) -> list[str]:
    with pytest.raises(settings.SettingsError) as caught:
        read(text)
    return caught.value.problems


def test_an_empty_file_is_all_defaults() -> None:
    found = read("")
    assert found.port_base == 18800
    assert found.fts.servers == kinds.Fts().servers
    assert found.migrate.rules == settings.default_rules(HERE)


def test_default_rule_is_the_demo_tree_with_names_encoded() -> None:
    (rule,) = settings.parse("", home=Path("/data/my home ü"), file=None).migrate.rules
    assert rule.match == "/"
    assert rule.source == "file:///data/my%20home%20%C3%BC/demo/castor"
    assert rule.destination == "file:///data/my%20home%20%C3%BC/demo/echo"


def test_rules_that_are_set_replace_the_default_and_so_does_an_empty_list() -> None:
    found = read('[[migrate.rules]]\nmatch="/a"\nsource="root://h//a"\ndestination="file:///b"\n[migrate]\nmax_open_jobs=3')
    assert [rule.match for rule in found.migrate.rules] == ["/a"]
    assert found.migrate.max_open_jobs == 3
    assert read("migrate.rules = []").migrate.rules == ()
    assert read("migrate.max_attempts = 2").migrate.rules == settings.default_rules(HERE)


def test_sections_and_dotted_keys_mean_the_same() -> None:
    assert read("fts.retry = 2\nlog.keep = 3") == read("[log]\nkeep = 3\n[fts]\nretry = 2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[fts]\nretyr = 1", ["line 2: fts.retyr: unknown key; did you mean 'retry'?"]),
        ("# c\nfts.retyr = 1", ["line 2: fts.retyr: unknown key; did you mean 'retry'?"]),
        ("\n[migrte]\nx = 1", ["line 2: migrte: unknown key; did you mean 'migrate'?"]),
        ("check_source = false", ["line 1: check_source: unknown key", "it belongs below [migrate]"]),
        ("[log]\nkeep = 'x'", ["line 2: log.keep: must be a whole number", "'x'"]),
        ("[log]\nkeep = 0", ["line 2: log.keep: must be a whole number >= 1", "0"]),
        ("log = 3", ["line 1: log: is a section"]),
        ("port_base = 70000", ["line 1: port_base: must be a whole number <= 65526"]),
        ("[fts]\nservers = 3", ["line 2: fts.servers: must be a list"]),
        ("[fts]\nservers = ['a']", ["line 2: fts.servers entry 1: must be a table"]),
        ("[fts]\nservers = []", ["line 2: fts.servers: names no server"]),
        (
            "[fts]\nservers = [\n  {name='a', url='https://h:1'},\n  {name='b', ulr='x'},\n]",
            ["line 4: fts.servers entry 2: ulr: unknown key; did you mean 'url'?", "line 4: fts.servers entry 2: lacks url"],
        ),
        ("[[fts.servers]]\nname='a'\nurl='https://h'\n[[fts.servers]]\nname='b'\nurl='htps://h'", ["line 6:", "'https'?"]),
        (
            "fts.servers = [{name='a', url='https://h'}, {name='a', url='https://i'}]",
            ["entry 2: name: 'a' is the name of entry 1"],
        ),
        ("fts.servers = [{name='a', url='https://h', weight=0}]", ["gives every server the weight 0"]),
        ("fts.servers = [{name='a', url='sim:fts3'}]", ["no FTS simulator 'fts3'", "sim:fts1 and sim:fts2"]),
        ("fts.servers = [{name='a', url='https://u:p@h'}]", ["holds a password"]),
        ("fts.servers = [{name='a b', url='https://h'}]", ["entry 1: name: must be"]),
        ("fts.servers = [{name='a', url='https://'}]", ["names no host"]),
        ("fts.servers = [{name='a', url='https://h:x'}]", ["is no URL"]),
        ("[[migrate.rules]]\nmatch='a'\nsource='file:///a'\ndestination='file:///b'", ["line 2: migrate.rules entry 1: match"]),
        (
            "[[migrate.rules]]\nmatch='/a'\nsource='file://a'\ndestination='file:///b'",
            ["line 3:", "another host", "file:///PATH"],
        ),
        ("[[migrate.rules]]\nmatch='/a'\nsource='/a'\ndestination='file:///b'", ["line 3:", "is no URL"]),
        ("[[migrate.rules]]\nmatch='/a'\nsource='fiel:///a'\ndestination='file:///b'", ["unknown scheme 'fiel'", "'file'?"]),
        ("[[migrate.rules]]\nmatch='/a'\nsource='file:///a b'\ndestination='file:///b'", ["blank", "%20"]),
        ("[[migrate.rules]]\nmatch='/a'\nsource='file:///a/../b'\ndestination='file:///c'", ["'..'"]),
        ("[[migrate.rules]]\nmatch='/a'\nsource='file:///a'\ndestination='file:///a/'", ["same as source"]),
        (
            "[[migrate.rules]]\nmatch='/a'\nsource='file:///a'\ndestination='file:///b'\nhours='06:00-06:00'",
            ["line 5: migrate.rules entry 1: hours: '06:00-06:00' never opens"],
        ),
        ("[control]\nfull_percent = 101", ["control.full_percent", "100"]),
        ("[[migrate.rules]]\nmatch='/a'\nsource='file:///a'", ["line 1: migrate.rules entry 1: lacks destination"]),
        (
            "[migrate]\nrules=[{match='/a',source='file:///a',destination='file:///b'},{match='/a/',source='file:///c',destination='file:///d'}]",
            ["entry 2: match: '/a/' is matched by entry 1"],
        ),
        ("[database]\nurl='postgresql://h/d'", ["no database this program knows", "mysql+pymysql://"]),
        ("[database]\nurl='mysql+pymysql://me:secret@h'", ["names no database"]),
        ("[database]\nurl='sqlite:///here.db'", ["four slashes"]),
        ("[[control.calendar]]\nstart='+6h'\nend='2026-11-24'", ["line 1: control.calendar entry 1: '+6h' holds no date"]),
        ("[[control.calendar]]\nstart='2026-11-25 10:00'\nend='2026-11-24'", ["ends", "before it starts"]),
        ("[[control.calendar]]\nstart='2026-11-24'\nend='2026-11-25'\nstate='stop'", ["line 4: control.calendar entry 1: state"]),
        ("a = 'b", ["line 1: no valid TOML"]),
        ("x = 1\ny = 2 3", ["line 2: no valid TOML"]),
        ("[fts]\nretry=1\n[fts]\nretry=2", ["line 3: no valid TOML"]),
        ("fts.retry=1\n[fts]\npriority=2", ["line 2: no valid TOML", "can't be mixed"]),
    ],
)
def test_what_is_wrong_is_told_by_line(text: str, said: list[str]) -> None:
    whole = "\n".join(told(text))
    for part in said:
        assert part in whole


def test_no_password_in_what_is_said() -> None:
    assert "secret" not in "".join(told("[database]\nurl='mysql+pymysql://me:secret@h'"))
    assert "secret" not in "".join(told("[database]\nurl='postgres://me:secret@h/d'"))


def test_all_problems_at_once_in_the_order_of_the_file() -> None:
    found = told("[fts]\nretyr = 1\n[log]\nkeep = 'x'\n[migrte]\n")
    assert [text.split(":")[0] for text in found] == ["line 2", "line 4", "line 5"]


# ---- lines ------------------------------------------------------------------------------------------------------------


def test_lines_of_every_form() -> None:
    text = """\
top = 1 # = "
'quoted key' = "a # b"
a.b = [1,
  2, # ]
  "x]"]
[t]
k = \"""
[not a table]
x = 1
\"""
u = '''
y = 2'''
v = { p = 1, q = [ {r = 2},
 {r = 3} ] }
[[t.many]]
z = 1
[[t.many]]
z = 2
[t.many.deep]
w = 1
"""
    tomllib.loads(text)
    found = lines.positions(text)
    assert found["top",] == 1
    assert found["quoted key",] == 2
    assert [found["a", "b", n] for n in range(3)] == [3, 4, 5]
    assert ("not a table",) not in found
    assert found["t", "u"] == 11
    assert found["t", "v", "q", 1, "r"] == 14
    assert found["t", "many", 1, "z"] == 18
    assert found["t", "many", 1, "deep", "w"] == 20


VALUES = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z_]{1,4}", fullmatch=True), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,4}", fullmatch=True), VALUES, max_size=4))
def test_lines_are_found_in_any_table(table: dict[str, Any]) -> None:
    text = "".join(f"# [x]\n{key} = {template.toml(value)}\n" for key, value in table.items())
    assert tomllib.loads(text) == table
    found = lines.positions(text)
    assert [found[key,] for key in table] == [2 * n + 2 for n in range(len(table))]


# ---- the file that init writes --------------------------------------------------------------------------------------


def test_the_commented_file_is_the_defaults() -> None:
    text = template.render(HERE, 18800)
    assert read(text) == read("")


def test_each_commented_line_can_be_uncommented() -> None:
    text = template.render(HERE, 18800)
    keys = [line[2:] for line in text.splitlines() if re.match(r"# [a-z_.]+ = ", line)]
    whole = read("\n".join(keys))
    known = settings.known_keys().values()
    assert len(keys) == sum(len(one.__struct_fields__) if isinstance(one, msgspec.Struct) else 1 for one in known)
    assert msgspec.structs.replace(whole, pipelines={}) == read("")


def test_every_key_is_explained() -> None:
    for name, kind in kinds.SECTIONS.items():
        lacking = set(kind.__struct_fields__) - template.key_texts(kind).keys()
        assert {key for key in lacking if not key.endswith("_critical_seconds")} <= {
            "free_critical_percent",
            "bad_critical",
        }, name
        for hint in kind.__annotations__.values():
            assert hint
    for kind in (kinds.Server, kinds.Rule, kinds.Outage):
        assert template.key_texts(kind).keys() == set(kind.__struct_fields__)


def test_another_port_base_stands_uncommented() -> None:
    assert read(template.render(HERE, 19000)).port_base == 19000


def test_shown_places() -> None:
    assert problems.shown(("fts", "servers", 1, "url")) == "fts.servers entry 2: url"
    assert problems.shown(("log",)) == "log"


# ---- files and places -----------------------------------------------------------------------------------------------


def test_where_settings_are_looked_for(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("port_base = 19100\n")
    assert run("dm-config", "check", "--home", home).code == 0
    assert run("dm-config", "check", home=home).code == 0
    gone = run("dm-config", "check", "--home", tmp_path / "nowhere").gave(75)
    assert "dm-config init" in gone.err
    shown = run("dm-config", "show", "--json", "--config", other, home=home).ok().json
    assert shown["home"] == str(home)
    assert shown["file"] == str(other)
    assert run("dm-config", "show", "--json", env={"DMTOOLS_CONFIG": str(other), "DMTOOLS_HOME": str(home)}).ok().json == shown


def test_home_may_stand_in_the_file(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "dmtools.toml"
    other.write_text(f'home = "{home}"\n')
    assert run("dm-config", "show", "--json", "--config", other).ok().json["home"] == str(home)


@pytest.mark.parametrize("which", ["file", "home"])
def test_what_others_may_write_is_refused(home: Path, which: str) -> None:
    path = home if which == "home" else home / "dmtools.toml"
    path.chmod(path.stat().st_mode | 0o002)
    found = run("dm-config", "check", home=home).gave(2)
    assert f"chmod o-w {path}" in found.err


def test_bytes_that_are_no_text(home: Path) -> None:
    (home / "dmtools.toml").write_bytes(b"# ok\n# caf\xe9\n")
    assert "line 2" in run("dm-config", "check", home=home).gave(2).err


def test_a_byte_order_mark_and_dos_line_ends_are_taken(home: Path) -> None:
    (home / "dmtools.toml").write_bytes(b"\xef\xbb\xbf[fts]\r\nretry = 1\r\n")
    run("dm-config", "check", home=home).ok()


def test_a_directory_in_place_of_the_file(home: Path) -> None:
    (home / "dmtools.toml").unlink()
    (home / "dmtools.toml").mkdir()
    assert "is no file" in run("dm-config", "check", home=home).gave(2).err


def test_a_home_that_is_gone_is_75(home: Path, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(f'home = "{tmp_path}/gone"\n')
    assert "dm-config init" in run("dm-config", "check", "--config", tmp_path / "a.toml").gave(75).err


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o600])
def test_secrets_only_from_files_with_mode_0600(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text(" s3cret \n")
    path.chmod(mode)
    if mode == 0o600:
        assert settings.read_secret(path, "password file") == "s3cret"
        return
    with pytest.raises(settings.SettingsError, match="chmod 600"):
        settings.read_secret(path, "password file")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("disks = ['/data1', '/data2', '/data1/']", "'/data1/' is entry 1 already"),
        ("disks = ['/data1', '/data1/in']", "'/data1/in' and entry 1, '/data1', lie one inside the other"),
        ("disks = ['/data']\nsite = 'file:///data/site'", "'/data' and site, '/data/site', lie one inside the other"),
        ("site = 'root://e.org//a'\ntape = 'root://e.org//a/'", "is the same as site"),
        ("zips = 'root://e.org//t'\ntape = 'root://e.org//t'", "is the same as tape"),
        ("tape = 'rot://e.org//t'", "has the unknown scheme 'rot'; did you mean 'root'?"),
        ("site = '/data/site'", "is no URL; it lacks SCHEME://"),
        ("lfn = '/{YYMM}/x'", "must hold {path} once"),
        ("lfn = '/{YYMMD}/{path}'", "there is no {YYMMD}; did you mean 'YYMMDD'?"),
        ("lfn = '/{YYMM/{path}'", "holds a brace"),
        ("lfn = '{path}'", "must begin with /"),
        ("pattern = '/MIG_*'", "begins with /"),
        ("safety = 'none'", "safety"),
    ],
)
def test_what_is_wrong_in_daq_is_told_by_its_line(text: str, said: str) -> None:
    (problem,) = told(f"[daq]\n{text}\n")
    assert said in problem
    assert re.match(r"line [23]: daq\.", problem)


def test_daq_settings_that_are_right() -> None:
    found = read("[daq]\ndisks = ['/data1', '/data10']\nlfn = '/x/{YYMMDD}-{path}'\ntape = 'root://t.org//eos/prod'\n").daq
    assert (found.disks, found.tape, found.site) == (("/data1", "/data10"), "root://t.org//eos/prod", f"file://{HERE}/demo/site")
