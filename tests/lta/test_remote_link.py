"""Two HOMEs with only HTTPS between them: the link cut and slowed, answers lost, ten clients, clocks apart, one file to carry."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lta.link import link
from tests.lta.site_steps import Serve, TwoSites
from tests.real_batch import HTCondor, Slurm
from tests.support import Result, wait_until

ALL = ["PushDone>NERSCRunning", "NERSCRunning>NERSCDone", "NERSCDone>NERSCClean"]
BARE = "/usr/bin/python3"


def certificate(place: Path, names: str = "DNS:localhost,IP:127.0.0.1") -> tuple[Path, Path]:
    """(certificate, key) that signs itself."""
    cert, key = place / "cert.pem", place / "key.pem"
    making = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    making += ["-subj", "/CN=lta", "-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(making, check=True, capture_output=True)
    return cert, key


def all_clean(sites: TwoSites) -> bool:
    return set(sites.states().values()) == {"NERSCClean"}


def until_clean(sites: TwoSites, most: int = 25) -> None:
    """Passes as cron starts them, until all is on tape; each may meet a server that is away."""
    for _ in range(most):
        sites.client(codes=(0, 75))
        sites.jobs_over()
        sites.due()
        if all_clean(sites):
            return
    pytest.fail(f"not clean after {most} passes: {sites.states()}")


def test_lost_answers_18_each_order_is_carried_out_once_though_its_answer_is_lost(
    home: Path, short_tmp: Path, serve: Serve
) -> None:
    server = serve("lta-rest-server", "--port", 0, home=home)
    lose = [b"/bundles/claim", b"/bundles/advance", b"heartbeat", b"NERSCDone", b"NERSCClean", b"/bundles?"]
    with link(server.url, 1, lose=lose) as way:
        sites = TwoSites.of(home, short_tmp, f"http://127.0.0.1:{way.port}")
        sites.push("/a.zip")
        sites.passes(2)
        assert lose == []
        assert way.lost == 6
    assert sites.steps("/a.zip") == ALL
    assert sites.bundle("/a.zip").failures == 0


def test_two_homes_over_https_with_a_link_that_is_cut_and_slowed_at_random(home: Path, short_tmp: Path, serve: Serve) -> None:
    cert, key = certificate(short_tmp)
    server = serve("lta-rest-server", "--port", 0, "--cert", cert, "--key", key, home=home)
    assert server.url.startswith("https://")
    names = [f"/data/{number}.zip" for number in range(5)]
    with link(server.url, 20261126, cut=0.8, slow=0.02) as way:
        sites = TwoSites.of(home, short_tmp, f"https://localhost:{way.port}", ca_file=str(cert))
        for name in names:
            sites.push(name)
        until_clean(sites)
        assert way.cuts > 0, "the link was never cut: this test has shown nothing"
    for name in names:
        assert sites.tape(name).read_bytes() == name.encode() * 40
        assert [step for step in sites.steps(name) if step in ALL[1:]] == ALL[1:]
        assert not sites.buffer(name).exists()
    assert sites.site().reserved == 0


def test_ten_clients_at_once_do_what_one_would_have_done(home: Path, short_tmp: Path, serve: Serve) -> None:
    server = serve("lta-rest-server", "--port", 0, home=home)
    sites = TwoSites.of(home, short_tmp, server.url)
    names = [f"/{number}.zip" for number in range(6)]
    for name in names:
        sites.push(name)
    for _ in range(2):
        with ThreadPoolExecutor(10) as crew:
            found = list(crew.map(lambda _: sites.client("--json"), range(10)))
        assert [error for one in found for error in one.json["errors"]] == []
        sites.jobs_over()
    sites.client()
    assert all_clean(sites), sites.states()
    assert {name: sites.steps(name) for name in names} == dict.fromkeys(names, ALL)
    assert sorted(path.name for path in (sites.remote / "tape").iterdir()) == sorted(name[1:] for name in names)
    left = [*(sites.remote / "lta/tape-jobs").iterdir(), *(sites.remote / "run/batch/local").glob("lta-*")]
    assert left == []


@pytest.mark.parametrize("offset", ["3600", "-3600"])
def test_clocks_an_hour_apart_make_no_difference(home: Path, short_tmp: Path, serve: Serve, offset: str) -> None:
    server = serve("lta-rest-server", "--port", 0, home=home)
    sites = TwoSites.of(home, short_tmp, server.url)
    sites.env = {"DMTOOLS_CLOCK_OFFSET": offset}
    sites.push("/a.zip")
    sites.passes(2)
    assert sites.steps("/a.zip") == ALL
    told = sites.site()
    assert told.age is not None
    assert abs(told.age) < 600, "ages are the database's"


def test_one_file_to_carry_runs_with_a_bare_python(home: Path, short_tmp: Path, serve: Serve, run: Callable[..., Result]) -> None:
    pyz = short_tmp / "carried" / "lta-nersc-client.pyz"
    pyz.parent.mkdir()
    run("lta-nersc-client", "--build", pyz).ok()
    assert os.listdir(pyz.parent) == [pyz.name]
    server = serve("lta-rest-server", "--port", 0, home=home)
    sites = TwoSites.of(home, short_tmp, server.url)
    sites.push("/data/a%20b.zip")

    def bare(*words: object) -> str:
        argv = [BARE, "-I", "-S", str(pyz), "--config", str(sites.remote / "dmtools.toml"), *map(str, words)]
        done = subprocess.run(argv, env={}, cwd="/", capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    assert "would begin tape jobs for 1 bundles" in bare("--dry-run")
    bare()
    sites.jobs_over()
    bare()
    assert sites.steps("/data/a%20b.zip") == ALL
    assert "Usage" in bare("--help")
    modules = subprocess.run([BARE, "-m", "zipfile", "-l", str(pyz)], capture_output=True, text=True, check=True).stdout
    assert not [
        word for word in ("msgspec", "sqlalchemy", "ledger", "settings/") if f"{word}" in modules.replace("remote/settings", "")
    ]


def test_the_client_loads_neither_the_tables_nor_msgspec(
    home: Path, short_tmp: Path, serve: Serve, run: Callable[..., Result]
) -> None:
    server = serve("lta-rest-server", "--port", 0, home=home)
    sites = TwoSites.of(home, short_tmp, server.url)
    sites.push("/a.zip")
    said = run("lta-nersc-client", "--config", sites.remote / "dmtools.toml", env={"PYTHONPROFILEIMPORTTIME": "1"}).ok().err
    sites.jobs_over()
    assert "dmtools.lta.wire" in said
    assert not [word for word in ("msgspec", "sqlalchemy", "dmtools.ledger", "bottle") if word in said]


@pytest.fixture
def networks(short_tmp: Path) -> Iterator[tuple[str, str, str]]:
    """(source, remote, the source's address): two network namespaces with a cable between them and nothing else."""
    tag = f"dm{os.getpid() % 10000}"
    source, remote = f"{tag}s", f"{tag}r"
    script = f"""set -e
        ip netns add {source}; ip netns add {remote}
        ip link add {tag}a netns {source} type veth peer name {tag}b netns {remote}
        ip -n {source} addr add 10.213.7.1/30 dev {tag}a; ip -n {source} link set {tag}a up
        ip -n {remote} addr add 10.213.7.2/30 dev {tag}b; ip -n {remote} link set {tag}b up"""
    try:
        subprocess.run(["sh", "-c", script], check=True, capture_output=True)
        yield source, remote, "10.213.7.1"
    finally:
        for name in (source, remote):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.mark.needs("root", "ip")
def test_two_network_namespaces_with_a_cable_that_is_pulled(
    home: Path, short_tmp: Path, serve: Serve, networks: tuple[str, str, str]
) -> None:
    source, remote, address = networks
    cert, key = certificate(short_tmp, f"IP:{address}")
    at_source, at_remote = (("ip", "netns", "exec", name) for name in (source, remote))
    server = serve("lta-rest-server", "--host", address, "--port", 0, "--cert", cert, "--key", key, home=home, prefix=at_source)
    sites = TwoSites.of(home, short_tmp, server.url, ca_file=str(cert))
    sites.push("/a.zip")
    assert "server away" in sites.client(codes=(75,)).err, "the test's own network must not lead there"
    sites.client(prefix=at_remote)
    sites.jobs_over()
    cable = subprocess.run(["ip", "-n", remote, "-o", "link"], capture_output=True, text=True, check=True).stdout
    device = next(line.split()[1].partition("@")[0] for line in cable.splitlines() if "veth" in line or "@" in line)
    subprocess.run(["ip", "-n", remote, "link", "set", device, "down"], check=True)
    assert "server away" in sites.client(prefix=at_remote, codes=(75,)).err
    subprocess.run(["ip", "-n", remote, "link", "set", device, "up"], check=True)
    wait_until(lambda: sites.client(prefix=at_remote, codes=(0, 75)).code == 0, 60, "the cable is in again")
    assert sites.steps("/a.zip") == ALL


def test_a_real_slurm_runs_the_tape_jobs(home: Path, short_tmp: Path, serve: Serve, slurm: Slurm) -> None:
    server = serve("lta-rest-server", "--port", 0, home=home)
    sites = TwoSites.of(home, short_tmp, server.url, batch="slurm", tape_seconds=300, batch_options=["--comment=lta"])
    runs_the_tape_jobs(sites, slurm.environment)


def test_a_real_htcondor_runs_the_tape_jobs(home: Path, short_tmp: Path, serve: Serve, htcondor: HTCondor) -> None:
    server = serve("lta-rest-server", "--port", 0, home=home)
    options = {"batch": "htcondor", "batch_options": ["request_memory = 100"]}
    runs_the_tape_jobs(TwoSites.of(home, short_tmp, server.url, tape_seconds=300, **options), htcondor.environment)


def runs_the_tape_jobs(sites: TwoSites, env: dict[str, str]) -> None:
    """Two bundles come on tape, one whose copy in the buffer is gone is told."""
    sites.env = env
    for name in ("/a.zip", "/b%20c.zip"):
        sites.push(name)
    gone = sites.push("/gone.zip")
    sites.buffer("/gone.zip").unlink()
    sites.client()
    assert set(sites.states().values()) == {"NERSCRunning"}

    def settled() -> bool:
        sites.client(codes=(0, 1))
        return "NERSCRunning" not in sites.states().values()

    wait_until(settled, 120, "the batch system has run the jobs")
    assert sites.states() == {"/a.zip": "NERSCClean", "/b%20c.zip": "NERSCClean", "/gone.zip": "NERSCProblem"}
    assert sites.bundle("/gone.zip").error_class == "scratch"
    assert gone.id == sites.bundle("/gone.zip").id
    assert sites.tape("/b%20c.zip").read_bytes() == b"/b%20c.zip" * 40
    shutil.rmtree(sites.remote / "lta")
