"""What dmtools needs of the machine itself: the one table of components, their Debian packages and how each is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Component:
    """Something of the machine. `group`: build (to make .venv), demo or tests; `packages`: Debian's names for it."""

    name: str
    group: str
    purpose: str
    packages: tuple[str, ...]
    present: Callable[[], bool]

    def how(self) -> str:
        """What to do to get it, as a phrase."""
        if self.packages:
            return f"apt-get install {' '.join(self.packages)}"
        return "run as root"


def _commands(*names: str) -> Callable[[], bool]:
    # Daemons live in sbin, which is not on everybody's PATH.
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return lambda: all(shutil.which(name, path=path) for name in names)


def _openssl_headers() -> bool:
    places = [Path("/usr/include"), Path("/usr/local/include"), *Path("/usr/include").glob("*-linux-gnu*")]
    return any((place / "openssl/ssl.h").exists() for place in places)


def _python_headers() -> bool:
    return Path(sysconfig.get_path("include"), "Python.h").exists()


def _venv_module() -> bool:
    # Debian ships the module venv without ensurepip, on which it stands.
    try:
        import ensurepip
    except ImportError:
        return False
    return bool(ensurepip.version())


def _apache_with_wsgi() -> bool:
    return _commands("apache2")() and Path("/usr/lib/apache2/modules/mod_wsgi.so").exists()


def _may_mount() -> bool:
    if os.geteuid() != 0:
        return False
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return probe.returncode == 0


COMPONENTS = (
    Component("venv", "build", "makes .venv", ("python3-venv",), _venv_module),
    Component("compiler", "build", "builds M2Crypto for the FTS client", ("gcc", "libc6-dev"), _commands("gcc")),
    Component("openssl", "build", "builds M2Crypto for the FTS client", ("libssl-dev",), _openssl_headers),
    Component("python-headers", "build", "builds M2Crypto for the FTS client", ("python3-dev",), _python_headers),
    Component(
        "apache",
        "tests",
        "lta-rest-server under a real Apache with mod_wsgi",
        ("apache2-bin", "libapache2-mod-wsgi-py3"),
        _apache_with_wsgi,
    ),
    Component(
        "browser",
        "demo",
        "a live page is mirrored; the web pages in a real browser",
        ("chromium", "chromium-driver"),
        _commands("chromium", "chromedriver"),
    ),
    Component("firefox", "tests", "a page grabbed by Firefox, too", ("firefox-esr",), _commands("firefox-esr")),
    Component("cron", "tests", "the crontabs, by `crontab -n`", ("cron",), _commands("crontab", "cron")),
    Component("git", "tests", "a clean clone to try", ("git",), _commands("git")),
    # The core packages bring the programs without a service of the machine's own.
    Component(
        "mariadb",
        "tests",
        "the tables on MariaDB",
        ("mariadb-server-core", "mariadb-client-core"),
        _commands("mariadbd", "mariadb-install-db", "my_print_defaults"),
    ),
    # Debian 12 has no HTCondor: the tests make themselves a tree of the next Debian with it, below .venv.
    Component(
        "htcondor",
        "tests",
        "zip jobs in a real HTCondor",
        ("mmdebstrap",),
        _commands("mmdebstrap", "nsenter", "unshare", "pivot_root"),
    ),
    Component("ip", "tests", "two sites as two networks with a cable between them", ("iproute2",), _commands("ip")),
    Component("man", "tests", "the manual pages render", ("man-db", "groff-base"), _commands("man", "groff")),
    Component("nagios", "tests", "a real nagios runs dm-train-ok", ("nagios4-core", "nagios4-common"), _commands("nagios4")),
    Component("root", "tests", "small full disks, servers under their own users", (), _may_mount),
    Component(
        "rpm",
        "tests",
        "dqm's RPM: built, installed below a prefix, its units proved, erased",
        ("rpm", "systemd", "binutils"),
        _commands("rpm", "rpmbuild", "systemd-analyze", "strip"),
    ),
    Component("rsync", "tests", "the plot site is brought to a web server's directory", ("rsync",), _commands("rsync")),
    Component(
        "slurm",
        "tests",
        "zip jobs in a real Slurm",
        ("slurm-wlm", "slurm-client", "slurmdbd", "munge"),
        _commands("sbatch", "sacct", "slurmctld", "slurmd", "slurmdbd", "munged"),
    ),
    Component("strace", "tests", "kills and errors at each system call", ("strace",), _commands("strace")),
    Component(
        "zip",
        "tests",
        "zips by Info-ZIP: does its unzip take ours, is its zip slower",
        ("zip", "unzip"),
        _commands("zip", "unzip"),
    ),
    Component(
        "xrootd",
        "tests",
        "a root:// server and its tools",
        ("xrootd-server", "xrootd-client", "xrootd-plugins", "xrootd-server-plugins", "xrootd-client-plugins"),
        _commands("xrootd", "xrdcp", "xrdfs", "xrdadler32"),
    ),
    Component(
        "gfal2",
        "tests",
        "https, davs and root by the gfal tools",
        ("gfal2-util-scripts", "python3-gfal2-util", "gfal2-plugin-file", "gfal2-plugin-http", "gfal2-plugin-xrootd"),
        _commands("gfal-stat", "gfal-sum", "gfal-copy", "gfal-rm", "gfal-xattr", "gfal-ls"),
    ),
)
NAMES = tuple(component.name for component in COMPONENTS)


class UnknownComponent(ValueError):
    """A name that the table doesn't have; the text names those it has."""


def find(name: str) -> Component:
    """The component of that name. Raises UnknownComponent."""
    for component in COMPONENTS:
        if component.name == name:
            return component
    raise UnknownComponent(f"there is no component {name!r}; the names are: {', '.join(NAMES)}")


def parse_names(text: str) -> tuple[str, ...]:
    """`mariadb,xrootd` -> the names, sorted, each once. Raises UnknownComponent; what makes .venv can't be left out."""
    names = sorted({part.strip() for part in text.split(",") if part.strip()})
    for name in names:
        if find(name).group == "build":
            raise UnknownComponent(f"{name} can't be left out: .venv is made with it")
    return tuple(names)


def missing(groups: Iterable[str], without: Iterable[str] = ()) -> list[Component]:
    """The components of these groups that this machine lacks, but for those that are to be left out."""
    wanted = set(groups)
    out = set(without)
    return [one for one in COMPONENTS if one.group in wanted and one.name not in out and not one.present()]
