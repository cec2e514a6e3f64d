"""The whole journey of lta between two HOMEs that share HTTPS alone: three disks, one bad, to the remote tape, and back.

What was on the disks is the test's own record; what lies on the tape is unzipped by Python's zipfile.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ROOT, Server, run, wait_until

DAY = "data/exp/IceCube/2016/unbiased/PFRaw/1206"
UUIDS = tuple(f"5b1e3f7a-0001-4c2d-8e9f-00000000000{number}" for number in (1, 2, 3))
WILD = ('it\'s "a" 100%.raw', "ümläut_b@c+d!{}.raw", "new\nline.raw", "sub/nested.raw")
SECRET_MODE = 0o600


def disks(home: Path) -> dict[str, bytes]:
    """Two good disks and one whose file is another than the same of the first; gives what must be archived, by LFN."""
    wrote = {}
    for number, uuid in enumerate(UUIDS[:2], 1):
        for name in WILD:
            path = home / f"demo/lta/slots/slot{number}" / uuid / DAY / f"d{number}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(hashlib.shake_128(f"{number}{name}".encode()).digest(60_000))
            wrote[f"/{DAY}/d{number}/{name}"] = path.read_bytes()
    spoilt = home / "demo/lta/slots/slot3" / UUIDS[2] / DAY / "d1" / WILD[0]
    spoilt.parent.mkdir(parents=True)
    spoilt.write_bytes(b"spoilt")
    return wrote


def configure(home: Path, **keys: object) -> None:
    """[lta] keys, and one FTS server."""
    own = "".join(f"lta.{key} = {json.dumps(value)}\n" for key, value in keys.items())
    own += 'fts.servers = [{ name = "fts1", url = "sim:fts1", weight = 1 }]\n'
    file = home / "dmtools.toml"
    file.write_text(own + file.read_text())


def remote_site(source: Path, place: Path, url: str, authority: Path) -> Path:
    """The other HOME: settings, and the token that was carried there. It has no database."""
    there, home = source / "demo/lta/remote", place / "nersc"
    for name in ("", "secrets"):
        (home / name).mkdir(mode=0o750)
    token = home / "secrets/lta-nersc.token"
    token.touch(SECRET_MODE)
    token.write_bytes((source / "secrets/lta-nersc.token").read_bytes())
    keys = {
        "url": url, "ca_file": str(authority), "token_file": str(token), "remote_buffer": str(there / "buffer"),
        "remote_export": str(there / "export"), "export": f"file://{there / 'export'}", "tape_root": str(place / "tape"),
    }  # fmt: skip
    (place / "tape").mkdir()
    (home / "dmtools.toml").write_text("[lta]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
    return home


def unzipped(path: Path) -> dict[str, bytes]:
    """The files in a bundle, by LFN."""
    with zipfile.ZipFile(path) as found:
        first, *names = found.namelist()
        assert first.endswith(".metadata.ndjson")
        return {f"/{name}": found.read(name) for name in names}


def states(home: Path) -> dict[str, int]:
    """Bundles by state."""
    counts = run("dm-monitoring", "lta", "--json", home=home).ok().json["pipelines"]["lta"]["counts"]
    return {state: n for state, n in counts.items() if n}


@pytest.fixture
def source(home: Path, serve: Callable[..., Server]) -> Path:
    """The HOME of the source, with an FTS server."""
    configure(home, settle_seconds=0, retry_seconds=1, ideal_bytes=250_000)
    serve("dm-sim", "fts", "--name", "fts1", "--port", 0, home=home)
    return home


def test_three_disks_one_bad_to_the_remote_tape_and_back(source: Path, short_tmp: Path, serve: Callable[..., Server]) -> None:
    wrote = disks(source)
    cert, key = short_tmp / "cert.pem", short_tmp / "key.pem"
    making = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    making += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*making, "-keyout", key, "-out", cert], check=True, capture_output=True)
    server = serve("lta-rest-server", "--port", 0, "--cert", cert, "--key", key, home=source)
    assert server.url.startswith("https://")
    nersc = remote_site(source, short_tmp, server.url, cert)

    # dumped, and the bad disk set aside alone
    (source / "counts.txt").write_text(f"/{DAY} {len(wrote)}\n")
    run("lta-glue", "--expect", source / "counts.txt", home=source).ok()
    dumped = run("lta-dump-control", home=source).gave(1)
    assert f"disk set aside: {UUIDS[2]}" in dumped.err
    warehouse = source / "demo/lta/warehouse"
    assert {f"/{p.relative_to(warehouse)}": p.read_bytes() for p in warehouse.rglob("*") if p.is_file()} == wrote

    # bundled, shipped, on tape: passes of both sites until all is proved there
    run("lta-glue", home=source).ok()
    bundles = sum(states(source).values())
    assert bundles >= 2

    def archived() -> bool:
        run("lta-nersc-client", home=nersc).ok()
        run("lta-bundle-scanner", home=source).ok()
        return states(source) == {"NERSCClean": bundles}

    wait_until(archived, 120, "all bundles are proved on tape")
    tape = short_tmp / "tape"
    on_tape = {f"/{path.relative_to(tape)}": unzipped(path) for path in tape.rglob("*.zip")}
    assert len(on_tape) == bundles
    assert {name: data for files in on_tape.values() for name, data in files.items()} == wrote
    assert sum(len(files) for files in on_tape.values()) == len(wrote)
    assert not list((source / "demo/lta/remote/buffer").rglob("*.zip"))

    # local cleanup, by a person's word alone
    run("lta-manual-bundle", home=source).ok()
    assert len(list((source / "demo/lta/outbound").rglob("*.zip"))) == bundles, "without --yes nothing goes"
    run("lta-manual-bundle", "--yes", home=source).ok()
    run("lta-manual-files", "--yes", home=source).ok()
    assert states(source) == {"LocalFilesDeleted": bundles}
    assert not [p for p in [*(source / "demo/lta/outbound").rglob("*.zip"), *(warehouse / "data").rglob("*")] if p.is_file()]

    # what the monitor says, as it stands in docs beside the original's
    shown = run("dm-monitoring", "lta", home=source).ok().out
    check_docs(shown)
    assert re.search(
        r"^DiskStatuses=    \| New:0 \| Inventoried:0 \| Dumping:0 \| Done:2 \| Removed:0 \| Error:1$", shown, re.MULTILINE
    )
    assert f"| LocalFilesDeleted:{bundles} |" in shown
    said = run("dm-train-ok", home=source).gave(2).out
    assert f"CRITICAL: lta: the disk {UUIDS[2]} is set aside: " in said
    assert not [line for line in said.splitlines() if line.startswith(("CRITICAL", "UNKNOWN")) and UUIDS[2] not in line]
    assert run("dm-check", "--storage", "all", home=source).ok().out == "directories and tables agree\n"

    # one file and one bundle back
    name, bundle = next(iter(wrote)), min(on_tape)
    back = short_tmp / "back"
    wanted = (("lta-restore", name, "--to", back), ("lta-restore", os.fsdecode(bundle), "--zip", "--to", back))

    def restored() -> bool:
        codes = [run(*words, home=source).gave(0, 75).code for words in wanted]
        run("lta-nersc-client", home=nersc).ok()
        return codes == [0, 0]

    wait_until(restored, 120, "both are back")
    assert (back / name[1:]).read_bytes() == wrote[name]
    assert (back / bundle[1:]).read_bytes() == (tape / bundle[1:]).read_bytes()
    assert "LocalFilesDeleted" in run("dm-trace", name, home=source).ok().out


def check_docs(shown: str) -> None:
    """docs/lta.md has these lines, in this order and form, beside those of the original."""
    page = (ROOT / "docs/lta.md").read_text("utf-8")
    form = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  \d+|\d+")
    ours = [form.sub("N", line) for line in shown.splitlines() if re.match(r"[\w ]+=", line)]
    assert len(ours) == 8
    told = [form.sub("N", line) for line in page.partition("shows the same lines")[2].splitlines()]
    assert [line for line in told if line in ours] == ours
