"""What every command shares: options, exit codes, one JSON object, a sentence instead of a traceback."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from dmtools.command import log, report
from dmtools.settings import Log
from tests.support import ROOT, command, environment, run

MINE = ("dm-config", "dm-db", "dm-command", "dm-monitoring", "dm-trace")
READS = [("dm-monitoring",), ("dm-trace", "x"), ("dm-command",), ("dm-db", "status")]
WRITES = [("dm-command", "halt"), ("migrate-monitor",), ("dm-db", "prune")]
OPTIONS = ("--config", "--home", "--dry-run", "--json", "-v", "-q", "--version", "--help")


@pytest.mark.parametrize("name", MINE)
def test_help_has_every_option_and_an_example(name: str) -> None:
    text = run(name, "--help").ok().out
    for option in OPTIONS:
        assert option in text
    example = text.partition("Example:\n")[2].strip()
    assert example.startswith(name)
    assert run(name, "--version").ok().out.startswith("dmtools, version ")


@pytest.mark.parametrize("words", [*READS, *WRITES, ("dm-config", "show")], ids=" ".join)
def test_without_a_home_it_is_75_and_says_how_to_get_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    found = run(*words, "--json", home=tmp_path / "gone").gave(75)
    assert found.json["state"] == "unavailable"
    assert f"dm-config init {tmp_path / 'gone'}" in found.err
    assert found.err.count("\n") == 1


@pytest.mark.parametrize("words", [*READS, *WRITES, ("dm-config", "check")], ids=" ".join)
def test_wrong_settings_are_2_by_line(home: Path, words: tuple[str, ...]) -> None:
    (home / "dmtools.toml").write_text("[fts]\nretyr = 1\n[log]\nkeep = 0\n")
    found = run(*words, "--json", home=home).gave(2)
    assert [error["why"].partition(":")[0] for error in found.json["errors"]] == ["line 2", "line 4"]
    assert "did you mean 'retry'?" in found.err
    assert len(found.err.splitlines()) == 2


DAMAGES = {
    "gone": (lambda path: path.unlink(), "is not there"),
    "empty": (lambda path: path.write_bytes(b""), "lacks a table"),
    "damaged": (lambda path: path.write_bytes(b"not a database" * 1000), "is damaged"),
    "newer": (lambda path: sqlite(path, "UPDATE alembic_version SET version_num = '9999'"), "newer than this program"),
    "older": (lambda path: sqlite(path, "UPDATE alembic_version SET version_num = '0000'"), "dm-db upgrade"),
    "a directory": (lambda path: (path.unlink(), path.mkdir()), "is no file"),
    "a table less": (lambda path: sqlite(path, "DROP TABLE hold"), "lacks a table"),
}


def sqlite(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute(statement)


@pytest.mark.parametrize("words", [("dm-monitoring",), ("dm-command", "halt"), ("migrate-monitor",)], ids=" ".join)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_database_in_trouble_is_75_with_one_sentence(home: Path, damage: str, words: tuple[str, ...]) -> None:
    act, said = DAMAGES[damage]
    for companion in ("dmtools.db-wal", "dmtools.db-shm"):
        (home / companion).unlink(missing_ok=True)
    act(home / "dmtools.db")
    found = run(*words, "--json", home=home).gave(75)
    assert found.json["state"] == "unavailable"
    assert said in found.err
    assert found.err.count("\n") == 1
    assert found.json["errors"][0]["next"]


@pytest.mark.parametrize("words", WRITES, ids=" ".join)
def test_a_locked_database_is_75_after_the_set_time(home: Path, words: tuple[str, ...]) -> None:
    (home / "dmtools.toml").write_text("database.busy_seconds = 1\n")
    holder = sqlite3.connect(home / "dmtools.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    found = run(*words, "--json", home=home).gave(75)
    assert "locked by another command" in found.err
    assert found.err.count("\n") == 1
    assert found.json["state"] == "unavailable"
    for reader in (*READS, ("migrate-monitor", "--dry-run")):
        run(*reader, home=home).gave(0, 1)
    holder.execute("ROLLBACK")
    holder.close()
    run(*words, home=home).ok()


@pytest.mark.parametrize("words", [("dm-command", "--unitl", "x"), ("dm-db", "nothing"), ("dm-monitoring", "--json", "--home")])
def test_wrong_use_is_2_and_json_stays_one_object(home: Path, words: tuple[str, ...]) -> None:
    found = run(words[0], "--json", *words[1:], home=home).gave(2)
    assert found.json["errors"][0]["what"] == "refused"
    assert "Error: " in found.err
    plain = [word for word in words if word != "--json"]
    assert run(*plain, home=home).gave(2).out == ""


@pytest.mark.parametrize("url", ["postgresql://me:s3cret@h/d", "sqlite:///here.db", "nonsense"])
def test_a_database_url_of_the_environment_is_checked_too(home: Path, url: str) -> None:
    found = run("dm-monitoring", "--json", home=home, env={"DMTOOLS_DATABASE_URL": url}).gave(2)
    assert "DMTOOLS_DATABASE_URL" in found.err
    assert "s3cret" not in found.err


def test_quiet_says_nothing(home: Path) -> None:
    found = run("dm-command", "halt", "-q", home=home).ok()
    assert (found.out, found.err) == ("", "")


def test_a_reader_that_goes_away_is_no_error(home: Path) -> None:
    argv = " ".join(command("dm-config", "show"))
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {argv} | true"], env=environment(home), capture_output=True)
    assert done.stderr == b""
    assert done.returncode == 0


def test_a_full_stdout_is_told_by_the_exit_code(home: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command("dm-config", "show", "--json"), env=environment(home), stdout=full, stderr=subprocess.PIPE)
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr


def test_no_password_is_shown_anywhere(home: Path) -> None:
    (home / "dmtools.toml").write_text('[database]\nurl = "mysql+pymysql://me:s3cret@127.0.0.1:1/d"\n')
    said = ""
    for words in (("dm-config", "show"), ("dm-config", "show", "--json"), ("dm-config", "check"), ("dm-monitoring", "--json")):
        found = run(*words, home=home)
        said += found.out + found.err
    assert "s3cret" not in said
    assert "me:***@127.0.0.1" in said
    assert "to think about" in said
    logs = "".join(path.read_text() for path in (home / "log").iterdir())
    assert "s3cret" not in logs


def test_show_tells_where_each_setting_comes_from(home: Path) -> None:
    (home / "dmtools.toml").write_text("# mine\nfts.retry = 2\n\n[migrate]\nmax_open_jobs = 7\n")
    env = {"X509_USER_PROXY": "/tmp/x", "DMTOOLS_DATABASE_URL": f"sqlite:///{home}/dmtools.db"}
    found = run("dm-config", "show", "--json", home=home, env=env).ok().json
    origin = found["from"]
    assert (origin["fts.retry"], origin["migrate.max_open_jobs"], origin["log.keep"]) == ("line 2", "line 5", "default")
    assert origin["credentials.proxy"] == "environment X509_USER_PROXY"
    assert origin["database.url"] == "environment DMTOOLS_DATABASE_URL"
    assert origin["home"] == "environment DMTOOLS_HOME"
    assert found["settings"]["fts"]["retry"] == 2
    assert found["settings"]["migrate"]["rules"][0]["match"] == "/"
    text = run("dm-config", "show", home=home).ok().out
    assert re.search(r"^fts\.retry = 2  # line 2$", text, re.MULTILINE)


def test_check_looks_at_secrets_and_scopes(home: Path) -> None:
    secret = home / "secrets" / "token"
    secret.write_text("t")
    secret.chmod(0o640)
    (home / "dmtools.toml").write_text(
        'credentials.token_file = "secrets/token"\n'
        '[[control.calendar]]\nstart = "2020-01-01"\nend = "2020-01-02"\nscope = "migrat"\n'
    )
    found = run("dm-config", "check", home=home).gave(2).err
    assert f"chmod 600 {secret}" in found
    assert "did you mean 'migrate'?" in found
    secret.chmod(0o600)
    (home / "dmtools.toml").write_text('credentials.token_file = "secrets/token"\n')
    run("dm-config", "check", home=home).ok()


# ---- log and report -------------------------------------------------------------------------------------------------


def test_the_log_turns_over_and_the_newest_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Log(rotate_hours=1, keep=2)
    other = tmp_path / "migrate-consumer-extra-20200101T00Z.log"
    other.write_text("another command's")
    for hour in range(4):
        monkeypatch.setattr(log.time, "time", lambda hour=hour: 1_700_000_000 + 3600 * hour)
        log.LogFile(tmp_path, "migrate-consumer", settings).write(f"line\n{hour}")
    kept = sorted(path for path in tmp_path.iterdir() if path != other)
    assert len(kept) == 2
    assert [path.read_text().split(" ", 2)[2] for path in kept] == ["line\\n2\n", "line\\n3\n"]
    assert other.exists()


def test_lines_of_many_processes_stay_whole(home: Path) -> None:
    argv = command("migrate-monitor", "-v")
    running = [subprocess.Popen(argv, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for process in running:
        process.communicate(timeout=60)
        assert process.returncode == 0
    for path in (home / "log").iterdir():
        for line in path.read_text().splitlines():
            assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z \d+ ", line)


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "a\rb", "\u202eabc", "caf\udce9"])
def test_a_name_cannot_colour_or_break_a_line(text: str) -> None:
    shown = report.one_line(text)
    assert shown.isprintable()
    assert "\n" not in shown


def test_the_same_problem_is_told_once() -> None:
    found = report.Report("p", "c", "x")
    for _ in range(3):
        found.problem("w", "s", why="y", left="l", next="n")
    assert len(found.errors) == 1
    found.settle()
    assert found.state == "partial"


def test_ten_thousand_files_in_trouble_make_a_short_mail() -> None:
    told = report.Report("migrate", "consumer", "1")
    for n in range(10_000):
        told.problem("missing at the source", f"/f{n}", why="gone", left="kept", next="look")
    told.problem("FTS server away", "fts1", why="refused", left="kept", next="wait")
    lines = list(told.lines("migrate-consumer"))
    assert len(lines) == report.EXAMPLES + 2
    assert lines[-1] == "migrate-consumer: missing at the source: 9980 more, each in HOME/log and in the answer of --json"
    assert any("FTS server away" in line for line in lines)
    assert len(told.record()["errors"]) == 10_001


def test_verbose_tells_a_problem_once(home: Path) -> None:
    (home / "migrate/TODO/list.txt").write_text("file:///a  file:///b\n")
    found = run("migrate-consumer", "-v", home=home).gave(75)
    away = [line for line in found.err.splitlines() if "fts1" in line and "FTS server away" in line]
    assert len(away) == 1, found.err
    assert "FTS server away" in next((home / "log").glob("migrate-consumer-*")).read_text()


def test_the_installed_commands_are_all_in_bin() -> None:
    assert {path.name for path in (ROOT / "bin").iterdir()} >= set(MINE)
    assert all(os.access(ROOT / "bin" / name, os.X_OK) for name in MINE)
