"""datalogger-declare with a real Rucio, its server from PyPI: what is there is asked by a client that is none of ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.datalogger.depot import FILE, FILES, Depot, There, depot, filled, said_nowhere, there
from tests.real_catalogues import PASSWORD, Rucio
from tests.support import free_port

__all__ = ["depot", "filled"]
DATASET = "params-2026-11"


def whole(depot: Depot, name: str = FILE) -> There:
    """A file that is declared as it should be, once."""
    place = f"root://se.example:1094//data//out/{name}"
    return There([(depot.rse, *depot.checksum(name), [place])], [DATASET], [depot.rse])


def test_a_file_is_declared_attached_and_ruled_and_a_second_pass_and_a_reconcile_change_nothing(
    rucio: Rucio, depot: Depot
) -> None:
    depot.use("journal", "rucio")
    depot.rucio(rucio)
    planned = depot.declare("--dry-run").ok()
    assert f"{FILE} at rucio: replica, attached, rule" in planned.out
    assert there(rucio, depot) == There([], [], [])
    assert not list((depot.home / "secrets").glob("rucio-*"))
    done = depot.declare().ok()
    for name in FILES:
        assert there(rucio, depot, name) == whole(depot, name)
    rules = [one["id"] for one in rucio.client.list_did_rules(depot.scope, DATASET)]
    depot.declare().ok()
    again = depot.declare("--reconcile").ok()
    assert again.out == ""
    assert [one["id"] for one in rucio.client.list_did_rules(depot.scope, DATASET)] == rules
    assert there(rucio, depot) == whole(depot)
    said_nowhere(depot, planned, done, again)


def test_one_step_that_was_missed_in_practice_is_found_and_mended_by_reconcile(rucio: Rucio, depot: Depot) -> None:
    depot.use("rucio", "metacat")
    depot.rucio(rucio, rule="none")
    depot.metacat()
    depot.declare().ok()
    assert there(rucio, depot).rules == []
    depot.set(**{"rucio.rule": ""})
    rucio.client.detach_dids(depot.scope, DATASET, [{"scope": depot.scope, "name": FILE}])
    depot.metacat_client().delete_file(namespace="datalogger", name=FILES[1])
    depot.declare().ok()
    assert there(rucio, depot).datasets == []  # what is booked as declared is not asked for each hour
    planned = depot.declare("--reconcile", "--dry-run").ok()
    assert f"{FILE} at rucio: attached, rule" in planned.out
    assert f"{FILES[1]} at metacat: file" in planned.out
    assert there(rucio, depot).datasets == []
    mended = depot.declare("--reconcile").ok()
    assert f"{FILE} at rucio: declared, but attached" in mended.out
    for name in FILES:
        assert (there(rucio, depot, name).replicas, there(rucio, depot, name).datasets) == (
            whole(depot, name).replicas,
            [DATASET],
        )
    live = [one for one in rucio.client.list_did_rules(depot.scope, DATASET) if one["expires_at"] is None]
    assert [one["rse_expression"] for one in live] == [depot.rse]
    assert depot.metacat_client().get_file(namespace="datalogger", name=FILES[1]) is not None
    assert set(depot.stand().values()) == {"declared"}


def test_a_replica_that_was_made_by_hand_is_gone_on_with(rucio: Rucio, depot: Depot) -> None:
    depot.use("rucio")
    depot.rucio(rucio)
    size, adler32 = depot.checksum()
    told = {"scope": depot.scope, "name": FILE, "bytes": size, "adler32": adler32}
    rucio.client.add_replicas(depot.rse, [{**told, "pfn": f"root://se.example:1094//data/out/{FILE}"}])
    rucio.client.add_dataset(depot.scope, DATASET)
    depot.declare().ok()
    assert there(rucio, depot) == whole(depot)
    assert set(depot.stand().values()) == {"declared"}


def test_another_checksum_is_told_and_nothing_of_it_is_overwritten(rucio: Rucio, depot: Depot) -> None:
    depot.use("rucio")
    depot.rucio(rucio)
    theirs = {"scope": depot.scope, "name": FILE, "bytes": 7, "adler32": "00000007"}
    rucio.client.add_replicas(depot.rse, [{**theirs, "pfn": f"root://se.example:1094//data/out/{FILE}"}])
    told = depot.declare().gave(1)
    assert "adler32 00000007" in told.err
    assert depot.stand() == {"rucio 2026-11-03": "differs", "rucio 2026-11-04": "declared"}
    found = there(rucio, depot)
    assert (found.replicas[0][1:3], found.datasets) == ((7, "00000007"), [])
    assert there(rucio, depot, FILES[1]) == whole(depot, FILES[1])
    depot.declare("--reconcile").gave(1)
    assert there(rucio, depot) == found


@contextmanager
def answering(status: int, hold: threading.Event | None = None) -> Iterator[str]:
    """A server that says this to everything; `hold`: it says nothing before that."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if hold is not None:
                hold.wait(60)
            self.send_response(status)
            self.send_header("X-Rucio-Auth-Token", "t-0")
            self.end_headers()
            self.wfile.write(b"<html>a proxy's page</html>")

        do_POST = do_GET  # noqa: N815 - the name is the library's

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        if hold is not None:
            hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


def elsewhere(depot: Depot, rucio: Rucio, url: str, text: str = "") -> None:
    """rucio.cfg names another server."""
    config = depot.home / "secrets/rucio.cfg"
    config.write_text((text or rucio.config.read_text()).replace(rucio.url, url))
    config.chmod(0o600)
    depot.set(**{"rucio.config": str(config)})


def test_away_late_or_in_error_all_stays_and_the_other_catalogues_get_theirs(rucio: Rucio, depot: Depot) -> None:
    depot.use("journal", "rucio")
    depot.rucio(rucio, connect_seconds=1, call_seconds=1)
    elsewhere(depot, rucio, f"http://127.0.0.1:{free_port()}")
    gone = depot.declare().ok()
    assert "a catalogue is away" in gone.err
    assert len(depot.lines()) == 2
    depot.declare().gave(75)
    with answering(200, threading.Event()) as url:
        elsewhere(depot, rucio, url)
        assert "no answer in time" in depot.declare().gave(75).err
    with answering(200) as url:  # a page with status 200 is no answer of Rucio
        elsewhere(depot, rucio, url)
        assert "not declared" in depot.declare().gave(1).err
    with answering(500) as url:
        elsewhere(depot, rucio, url)
        depot.declare("--reconcile").gave(1)
    assert {state for key, state in depot.stand().items() if key.startswith("rucio")} == {"undeclared"}
    assert there(rucio, depot) == There([], [], [])
    elsewhere(depot, rucio, rucio.url)
    depot.declare("--reconcile").ok()
    assert there(rucio, depot) == whole(depot)


def test_what_is_set_wrong_is_told_once_with_what_to_do_and_without_the_password(rucio: Rucio, depot: Depot) -> None:
    depot.use("rucio")
    depot.rucio(rucio)
    config = Path(depot.home / "secrets/rucio.cfg")
    elsewhere(depot, rucio, rucio.url, rucio.config.read_text().replace(PASSWORD, "wrong"))
    told = depot.declare().gave(1)
    assert told.err.count("\n") == 1
    assert "does not take our account" in told.err
    config.chmod(0o644)
    opened = depot.declare().gave(1)
    assert f"chmod 600 {config}" in opened.err
    config.chmod(0o600)
    secret = depot.home / "secrets/rucio.password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    depot.set(**{"rucio.password_file": str(secret), "rucio.rse": "NOWHERE"})
    nowhere = depot.declare().gave(1)
    assert nowhere.err.count("\n") == 1
    assert "RSENotFound" in nowhere.err
    said_nowhere(depot, told, opened, nowhere)
    depot.set(**{"rucio.rse": depot.rse})
    depot.declare("--reconcile").ok()
    assert there(rucio, depot) == whole(depot)


def test_an_adopted_file_is_declared_and_one_by_hand_is_not(rucio: Rucio, depot: Depot, tmp_path: Path) -> None:
    depot.use("rucio")
    depot.rucio(rucio)
    depot.start()
    for hours, *more in ((1, "--adopt"), (2,)):
        depot.params("--hours", hours, "--stopat", "2026-11-05 08:00", "--outdir", tmp_path, *more, cwd=tmp_path).ok()
    depot.declare().ok()
    assert len(list(rucio.client.list_dids(depot.scope, [{}], did_type="file"))) == 3
