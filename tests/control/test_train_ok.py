"""dm-train-ok: its verdicts, its output as nagios reads it, its files, and that it never fails but by UNKNOWN."""

from __future__ import annotations

import math
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtools.control.cadence import longest_gap
from dmtools.control.entry import Figure
from dmtools.control.train_ok import RANK, Judged, Outcome, judge
from tests.support import ROOT, Result, environment, free_port, run

FIRST = re.compile(r"TRAINOK (OK|WARNING|CRITICAL|UNKNOWN) - [^|]*( \| [^|]*)?")
CODES = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
Y, H = 86400 * 365, 3600


def ok(home: Path, *words: object, later: float = 0, **options: Any) -> Result:
    """Runs it, `later` seconds from now, and proves that line, state and code agree."""
    env = {"DMTOOLS_CLOCK_OFFSET": str(later), **options.pop("env", {})}
    found = run("dm-train-ok", *words, home=home, env=env, **options)
    if "--json" in words:
        assert CODES[found.json["state"]] == found.json["code"] == found.code
    else:
        line = FIRST.fullmatch(found.out.splitlines()[0])
        assert line, found
        assert CODES[line[1]] == found.code, found
    assert found.err == ""
    return found


def sql(home: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(home / "dmtools.db") as raw:
        raw.execute(statement, values)


@pytest.fixture
def ran(home: Path) -> Path:
    """A HOME in which each component had a success just now."""
    for name in ("producer", "consumer", "monitor"):
        run(f"migrate-{name}", home=home).ok()
    return home


def bad(found: Result) -> dict[str, str]:
    """name -> state of the figures that are not OK."""
    return {one["name"]: one["state"] for one in found.json["figures"] if one["state"] != "OK"}


# ---- freshness ---------------------------------------------------------------------------------------------------------


def test_what_never_ran_is_not_judged(home: Path) -> None:
    found = ok(home, later=Y).gave(0)
    assert "no pipeline ever ran here" in found.out
    assert "migrate" not in found.out
    assert ok(home, "--component", "migrate/monitor", later=Y).code == 0


def test_all_is_well_and_then_freshness_is_the_alarm(ran: Path) -> None:
    found = ok(ran)
    assert found.out.startswith("TRAINOK OK - migrate: all is well | ")
    assert "migrate_monitor_last_success_age=" in found.out
    late = ok(ran, later=5 * H)
    assert late.code == 1
    assert late.out.startswith("TRAINOK WARNING - migrate-producer: last success 5 h ago; migrate-consumer: ")
    assert "\nWARNING: migrate-monitor: last success 5 h ago (docs/troubles.md, A component is late)\n" in late.out
    assert ok(ran, later=13 * H).code == 2


def test_how_the_last_pass_ended_is_no_alarm_and_its_error_is_told_when_it_is_late(ran: Path) -> None:
    failed = "state = 'unavailable', errors_in_row = 3, error_text = 'disk | gone', last_error = '2999-01-01 00:00:00.000000'"
    sql(ran, f"UPDATE component SET {failed}")
    assert ok(ran).code == 0
    assert "last error: disk / gone" in ok(ran, later=5 * H).out
    sql(ran, "UPDATE component SET errors_in_row = 50 WHERE name = 'monitor'")
    assert bad(ok(ran, "--json")) == {"migrate_monitor_errors_in_row": "CRITICAL"}


def test_a_component_alone_with_ranges_of_its_own(ran: Path) -> None:
    assert ok(ran, "--component", "migrate/monitor", "-w", "14400", "-c", "43200").code == 0
    assert ok(ran, "--component", "Migrate-Monitor", "-w", "@0:100000").code == 1
    assert ok(ran, "--component", "migrate/monitor", "-w", "5", "-c", "60", later=300).code == 2
    assert ok(ran, "--component", "migrate/monitor", "-c", "100:").code == 2
    assert "consumer" not in ok(ran, "--component", "migrate/monitor", later=5 * H).out
    assert "consumer" in ok(ran, "--component", "migrate", later=5 * H).out


def test_a_component_that_never_ran_is_missed(home: Path) -> None:
    run("migrate-monitor", home=home).ok()
    assert ok(home).code == 0
    run("migrate-monitor", home=home, env={"DMTOOLS_CLOCK_OFFSET": str(199 * H)}).ok()
    found = ok(home, "--json", later=199 * H)
    assert bad(found)["migrate_producer_last_success_age"] == "WARNING"
    assert "migrate-producer: it never ran" in found.json["text"]


def test_a_clock_that_was_set_back_is_told(ran: Path) -> None:
    found = ok(ran, later=-H)
    assert found.code == 1
    assert "in the future: a clock is wrong" in found.out


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ("0 */2 * * *", 7200),
        ("30 */2 * * *", 7200),
        ("*/10 * * * *", 600),
        ("*/7 * * * *", 420),
        ("* * * * *", 60),
        ("0 1 * * *", 86400),
        ("0 9-17 * * *", 16 * 3600),
        ("0 0 * * mon-fri", 3 * 86400),
        ("0 0 * * 7", 7 * 86400),
        ("0 0 1 * *", 31 * 86400),
        ("0 0 1 * sun", 7 * 86400),
        ("0 0 31 1 *", 366 * 86400),
        ("5,35 * * * *", 1800),
        ("@hourly", 3600),
        ("@reboot", None),
        ("61 * * * *", None),
        ("0 0 30 2 *", None),
        ("", None),
    ],
)
def test_how_far_apart_the_runs_of_a_line_are(times: str, seconds: float | None) -> None:
    assert longest_gap(times) == seconds


# ---- holds, leases, servers, items, space ------------------------------------------------------------------------------------


def test_a_hold_is_told_and_warned_of_when_it_is_forgotten_or_past_its_time(ran: Path) -> None:
    run("dm-command", "halt", "migrate", "--reason", "new disks", home=ran).ok()
    assert "halt of migrate" in ok(ran, later=20 * H).gave(0).out, "a pass that is halted is not late"
    found = ok(ran, "--json", later=80 * H)
    assert bad(found) == {"migrate_hold_age": "WARNING"}
    assert "new disks; forgotten? dm-command run migrate" in found.json["text"]
    run("dm-command", "run", home=ran, env={"DMTOOLS_CLOCK_OFFSET": str(80 * H)}).ok()
    assert ok(ran, later=81 * H).code == 0, "a pass that was free for an hour is not late yet"
    assert ok(ran, later=85 * H).code == 1


def test_a_hold_that_is_past_its_time(ran: Path) -> None:
    run("dm-command", "drain", "migrate/consumer", "--until", "+1h", home=ran).ok()
    assert ok(ran).code == 0
    found = ok(ran, "--json", later=2 * H)
    assert bad(found) == {"migrate/consumer_hold_past": "WARNING"}
    assert "dm-command run migrate/consumer" in found.json["text"]
    assert ok(ran, "--component", "migrate/monitor", later=2 * H).code == 0


def test_a_planned_outage_is_no_alarm(ran: Path) -> None:
    with (ran / "dmtools.toml").open("a") as file:
        file.write('[control]\ncalendar = [{start = "2001-01-01", end = "2999-01-01", reason = "move"}]\n')
    assert "halt of all by calendar" in ok(ran, later=50 * H).gave(0).out


def test_a_lease_that_nobody_took_over(ran: Path) -> None:
    columns = "resource, owner, host, machine, pid, started, since, expires"
    sql(
        ran,
        f"INSERT INTO lease ({columns}) SELECT 'list/1', 'o', 'farm07', 'm', 1, 1, last_start, last_start FROM component LIMIT 1",
    )
    found = ok(ran, "--json")
    assert bad(found) == {"leases_overdue": "WARNING"}
    assert "list/1 of farm07; dm-leases --dead" in found.json["text"]


def test_servers_away(ran: Path) -> None:
    at = "(SELECT last_start FROM component LIMIT 1)"
    sql(ran, f"INSERT INTO sighting VALUES ('migrate', 'server/fts1', {at}, 'no answer')")
    sql(ran, f"INSERT INTO sighting VALUES ('migrate', 'server/retired', {at}, 'no answer')")
    assert bad(ok(ran, "--json")) == {"migrate_fts1_server_away": "WARNING"}
    sql(ran, f"INSERT INTO sighting VALUES ('migrate', 'server/fts2', {at}, 'no answer')")
    found = ok(ran, "--json")
    assert bad(found)["migrate_servers_away"] == "CRITICAL"
    assert "every FTS server is away" in found.json["text"]


def test_bad_files_and_old_files(ran: Path) -> None:
    run("migrate-producer", home=ran).ok()
    (ran / "migrate/TODO/ListOfLFNs/m.txt").write_text("/a\nnot absolute\n")
    run("migrate-producer", home=ran)
    assert bad(ok(ran, "--json")) == {"migrate_bad": "WARNING"}
    found = ok(ran, "--json", later=3 * 86400)
    assert bad(found)["migrate_TODO_oldest_age"] == "WARNING"
    assert bad(ok(ran, "--json", later=8 * 86400))["migrate_TODO_oldest_age"] == "CRITICAL"


def test_free_space(ran: Path) -> None:
    with (ran / "dmtools.toml").open("a") as file:
        file.write("[train_ok]\nfree_warning_percent = 101\nfree_critical_percent = 0\n")
    found = ok(ran, "--json")
    assert bad(found)["HOME_free_space"] == "WARNING"
    assert 0 < next(one["value"] for one in found.json["figures"] if one["name"] == "HOME_free_space") < 100


@pytest.mark.needs("root")
def test_a_full_destination_disk_and_one_that_is_gone(ran: Path, small_disk: Path) -> None:
    with (ran / "dmtools.toml").open("a") as file:
        file.write(f'[migrate]\nrules = [{{match = "/", source = "file:///x", destination = "file://{small_disk}/"}}]\n')
    found = ok(ran, "--json")
    assert bad(found) == {}
    assert f"{str(small_disk)[1:]}_free_space" in {one["name"].lstrip("/") for one in found.json["figures"]}
    subprocess.run(["dd", "if=/dev/zero", f"of={small_disk}/big", "bs=64k"], stderr=subprocess.DEVNULL)
    assert list(bad(ok(ran, "--json")).values()) == ["CRITICAL"]
    text = (ran / "dmtools.toml").read_text().replace(f"file://{small_disk}", "file:///nowhere/at/all")
    (ran / "dmtools.toml").write_text(text)
    assert ok(ran).gave(3).out.startswith("TRAINOK UNKNOWN - /nowhere/at/all: it can't be asked for its free space: No such")


def test_credentials_are_asked_for_where_a_real_server_needs_them(ran: Path, tmp_path: Path) -> None:
    port = free_port()
    with (ran / "dmtools.toml").open("a") as file:
        file.write(f'[fts]\nservers = [{{name = "real", url = "https://127.0.0.1:{port}"}}]\n')
        file.write(f'[credentials]\nproxy = "{tmp_path}/proxy"\n')
    found = ok(ran, "--json")
    assert bad(found) == {"migrate_credentials": "CRITICAL"}
    assert "can't be read" in found.json["text"]
    for hours, state in ((100, None), (20, "WARNING"), (0.1, "CRITICAL")):
        proxy(tmp_path / "proxy", hours)
        assert next(iter(bad(ok(ran, "--json")).values()), None) == state


def proxy(path: Path, hours: float) -> None:
    """A self-signed certificate with its key: what a proxy looks like to a reader."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anna")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = (
        builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(hours=hours)).sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + pem)
    path.chmod(0o600)


def test_a_locked_database_is_told(ran: Path) -> None:
    text = (ran / "dmtools.toml").read_text()
    (ran / "dmtools.toml").write_text(f"{text}[train_ok]\nlag_warning_seconds = 0.3\n")
    with sqlite3.connect(ran / "dmtools.db", isolation_level=None) as raw:
        raw.execute("BEGIN IMMEDIATE")
        found = ok(ran, "--json")
        assert bad(found) == {"database_lag": "WARNING"}
        assert "locked by another command" in found.json["text"]
        assert ok(ran, "--dry-run").code == 0
    (ran / "dmtools.toml").write_text(text)  # a busy machine is slower than that
    assert ok(ran).code == 0


# ---- UNKNOWN -----------------------------------------------------------------------------------------------------------------


def spoil_table(home: Path) -> None:
    sql(home, "DROP TABLE lease")


def spoil_schema(home: Path) -> None:
    sql(home, "UPDATE alembic_version SET version_num = '9999'")


def spoil_value(home: Path) -> None:
    sql(home, "UPDATE component SET last_success = 'yesterday' WHERE name = 'monitor'")


def spoil_version(home: Path) -> None:
    sql(home, "DELETE FROM alembic_version")


def spoil_bytes(home: Path) -> None:
    for path in home.glob("dmtools.db*"):
        path.unlink()
    (home / "dmtools.db").write_bytes(b"no database at all" * 999)


def spoil_away(home: Path) -> None:
    (home / "dmtools.db").unlink()


def spoil_settings(home: Path) -> None:
    (home / "dmtools.toml").write_text("[train_ok]\nbad_warnin = 3\n")


def spoil_settings_bytes(home: Path) -> None:
    (home / "dmtools.toml").write_bytes(b"\xff\x00 no settings")


def spoil_home(home: Path) -> None:
    home.rename(home.with_name("moved"))


SPOILERS = [spoil_table, spoil_schema, spoil_version, spoil_value, spoil_bytes, spoil_away]
SPOILERS += [spoil_settings, spoil_settings_bytes, spoil_home]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_what_it_cannot_read_is_unknown_for_the_whole_check(ran: Path, spoil: Callable[[Path], None]) -> None:
    spoil(ran)
    for words in ((), ("--json",)):
        found = ok(ran, *words, later=50 * H).gave(3)
        assert "CRITICAL" not in found.out
        assert "internal error" not in found.out
    told = run("dm-monitoring", home=ran).gave(2, 75)
    assert "internal error" not in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ("--nonsense",),
        ("-w",),
        ("argument",),
        ("--component", "migrat"),
        ("--component", "migrate/x"),
        *(("-w", text) for text in ("", "x", "5:1", "1:2:3", "@", "nan", "1e3", " 5", "1_0", "~", "5%")),
    ],
)
def test_wrong_use_is_unknown_on_stdout(home: Path, words: tuple[str, ...]) -> None:
    found = run("dm-train-ok", *words, home=home).gave(3)
    assert FIRST.fullmatch(found.out.splitlines()[0]), found
    assert len(found.out.splitlines()) == 1
    assert found.err == ""


@pytest.mark.parametrize("text", ["10", "10:", "~:10", "5:10", "@5:10", "-3:2.5", "0", ":7"])
def test_ranges_that_nagios_takes(ran: Path, text: str) -> None:
    ok(
        ran,
        "--component",
        "migrate/monitor",
        f"-w={text}" if text.startswith("-") else "-w",
        *([] if text.startswith("-") else [text]),
    )


def test_a_probe_that_fails_is_unknown_and_the_rest_is_judged(tiny: Callable[..., Result], home: Path, short_tmp: Path) -> None:
    tiny().ok()
    register = short_tmp / "lib/tiny/register.py"
    register.write_text(
        register.read_text().replace('"tiny.register:search")', '"tiny.register:search", probes="tiny.register:probe")')
    )
    with register.open("a") as file:
        file.write("def probe(look):\n    raise ValueError('no | such thing')\n")
    found = tiny(name="dm-train-ok").gave(3)
    assert found.out.startswith(
        "TRAINOK UNKNOWN - the probes of tiny can't be asked: ValueError: no / such thing | tiny_work_errors"
    )
    run("dm-command", "halt", "tiny", home=home, env={"PYTHONPATH": str(short_tmp / "lib")}).ok()
    sql(home, "UPDATE component SET errors_in_row = 50")
    assert tiny(name="dm-train-ok").gave(2).out.startswith("TRAINOK CRITICAL - "), "CRITICAL goes over UNKNOWN"
    register.write_text("1 / 0\n")
    assert "ZeroDivisionError" in tiny(name="dm-train-ok").gave(3).out


def test_a_pipelines_own_figures(tiny: Callable[..., Result], short_tmp: Path) -> None:
    tiny().ok()
    register = short_tmp / "lib/tiny/register.py"
    register.write_text(
        register.read_text().replace('"tiny.register:search")', '"tiny.register:search", probes="tiny.register:probe")')
    )
    with register.open("a") as file:
        file.write("from dmtools.control.entry import Figure\n")
        file.write("def probe(look):\n    yield Figure('dust', {'pipeline': 'tiny'}, 12, 'dusty', 'B', '10', '20')\n")
    found = tiny(name="dm-train-ok").gave(1)
    assert found.out.startswith("TRAINOK WARNING - dusty | ")
    assert " tiny_dust=12B;10;20;0 " in found.out


def test_it_gives_up_by_itself(ran: Path) -> None:
    with (ran / "dmtools.toml").open("a") as file:
        file.write("[train_ok]\ndeadline_seconds = 1\n[database]\nbusy_seconds = 60\n")
    raw = sqlite3.connect(ran / "dmtools.db", isolation_level=None)
    raw.execute("PRAGMA locking_mode=EXCLUSIVE")
    raw.execute("BEGIN EXCLUSIVE")
    for words in ((), ("--json",)):
        found = ok(ran, *words).gave(3)
        assert "gave up after 1 s while asking the database" in found.out
        assert found.seconds < 50
    raw.close()
    ok(ran).gave(0)


# ---- output -------------------------------------------------------------------------------------------------------------------


def test_files_for_prometheus_and_checkmk(ran: Path, tmp_path: Path) -> None:
    prom, local = tmp_path / "dm.prom", tmp_path / "local"
    found = ok(ran, "--prometheus", prom, "--checkmk", local, "--json", later=5 * H)
    text = prom.read_text()
    samples = dict(re.findall(r"^(dmtools_\w+\{.*\}) (\S+)$", text, re.MULTILINE))
    assert len(samples) == len(re.findall(r"^dmtools", text, re.MULTILINE)) == len(found.json["figures"]) + 2
    labels = f'home="{ran}",pipeline="migrate",component="monitor"'
    assert float(samples[f"dmtools_last_success_age_seconds{{{labels}}}"]) >= 5 * H
    assert samples[f'dmtools_trainok_state{{home="{ran}"}}'] == "1"
    for family in set(re.findall(r"^(dmtools_\w+)\{", text, re.MULTILINE)):
        assert f"# TYPE {family} gauge" in text
    line = local.read_text()
    assert re.fullmatch(rf'1 "dmtools TrainOK {ran}" \w+=\S+ migrate-producer: last success 5 h ago; .*\n', line)
    assert "|migrate_bad=0;0;999|" in line
    assert prom.stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dm.prom", "local"]
    before = prom.read_text()
    ok(ran, "--prometheus", prom, "--dry-run")
    assert prom.read_text() == before
    (ran / "dmtools.db").unlink()
    ok(ran, "--prometheus", prom, "--checkmk", local).gave(3)
    assert "dmtools_trainok_state" in prom.read_text()
    assert "last_success" not in prom.read_text(), "old figures don't stay"
    assert local.read_text().startswith("3 ")


def test_a_file_that_cannot_be_written_is_unknown(ran: Path, tmp_path: Path) -> None:
    found = ok(ran, "--prometheus", tmp_path / "no" / "dm.prom").gave(3)
    assert "can't be written: No such file or directory" in found.out


def test_quiet_is_one_line_and_nothing_is_written_in_home(ran: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in ran.rglob("*") if path.suffix != ".db-shm"}
    assert len(ok(ran, "-q").out.splitlines()) == 1
    after = {path: path.stat().st_mtime_ns for path in ran.rglob("*") if path.suffix != ".db-shm"}
    assert after == before


@given(st.lists(st.sampled_from(RANK), max_size=8))
def test_the_worst_wins(states: list[str]) -> None:
    from dmtools import clock

    outcome = Outcome("/h", clock.now(), [Judged(Figure("f", {}, 0, "x", state=state), state) for state in states])
    expected = next((state for state in ("CRITICAL", "UNKNOWN", "WARNING") if state in states), "OK")
    assert outcome.state == expected
    assert next(outcome.lines()).startswith(f"TRAINOK {expected} - ")
    outcome.failure = "no database"
    assert outcome.state == "UNKNOWN"


TEXT = st.text(max_size=20)
VALUE = st.none() | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15)


@given(TEXT, st.dictionaries(TEXT, TEXT, max_size=2), VALUE, TEXT, st.sampled_from(["", "10", "5:", "@1:2"]))
def test_any_text_makes_a_line_that_can_be_read_back(
    family: str, labels: dict[str, str], value: float | None, said: str, limit: str
) -> None:
    from dmtools import clock

    outcome = Outcome("/h", clock.now(), [judge(Figure(family or "f", labels, value, said, "s", limit))])
    first, *rest = list(outcome.lines())
    assert FIRST.fullmatch(first)
    assert len(rest) <= 1
    assert all(text.isprintable() for text in (first, *rest))
    if value is not None:
        data = re.fullmatch(r"(?:'([^'=]*)'|(\w*))=(-?[\d.]+)s(;[^;]*)*", first.partition(" | ")[2])
        assert data, first
        assert math.isclose(float(data[3]), value, abs_tol=0.001, rel_tol=1e-9)


def test_start_up_is_cheap(ran: Path) -> None:
    """It loads no library that it does not need."""
    argv = [sys.executable, "-X", "importtime", str(ROOT / "bin/dm-train-ok"), "-q"]
    done = subprocess.run(argv, env=environment(ran), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    loaded = set(re.findall(r"\| +(\w+)$", done.stderr, re.MULTILINE))
    assert {"click", "sqlalchemy", "nagiosplugin"} <= loaded
    assert loaded & {"requests", "rich", "alembic", "cryptography", "fts3", "crontab", "urllib3", "M2Crypto"} == set()


@pytest.mark.slow
def test_on_mariadb(home: Path, mariadb: str) -> None:
    with (home / "dmtools.toml").open("a") as file:
        file.write(f'[database]\nurl = "{mariadb}"\n')
    run("dm-db", "upgrade", home=home).ok()
    run("migrate-monitor", home=home).ok()
    run("dm-command", "drain", "migrate/producer", "--until", "+1h", home=home).ok()
    assert ok(home).code == 0
    late = ok(home, "--json", later=5 * H)
    assert bad(late)["migrate_monitor_last_success_age"] == "WARNING"
    assert bad(late)["migrate/producer_hold_past"] == "WARNING"
    assert run("dm-leases", "--dead", "--json", home=home).ok().json["leases"] == []
    text = (home / "dmtools.toml").read_text().replace(mariadb, "mysql+pymysql://root@127.0.0.1:1/none")
    (home / "dmtools.toml").write_text(text)
    assert "no database" in ok(home).gave(3).out
