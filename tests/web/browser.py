"""A headless Chromium, as a person sits before it: signs in, presses buttons, reads what is shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

SECONDS = 30


class Browser:
    """`with Browser(1280, 900) as one: one.go(url)`; `phone`: a small screen with touch."""

    def __init__(self, wide: int, tall: int, *, phone: bool = False, scripts: bool = True) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        words = ["--headless=new", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run", f"--window-size={wide},{tall}"]
        words += ["--no-sandbox"] if os.geteuid() == 0 else []
        for word in words:
            options.add_argument(word)
        if phone:
            metrics = {"width": wide, "height": tall, "pixelRatio": 2, "touch": True}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        if not scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
        self._screen = {"width": wide, "height": tall, "deviceScaleFactor": 1, "mobile": False}
        if not phone:
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", self._screen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        self.driver.quit()

    def go(self, url: str) -> None:
        self.driver.get(url)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """What the condition gives, once it is true; the page may be drawn anew while it looks."""
        return WebDriverWait(self.driver, SECONDS, 0.05, (StaleElementReferenceException,)).until(lambda _: condition(), what)

    def wait(self, selector: str) -> WebElement:
        """The first element, once it is there."""
        found = self.until(lambda: self.driver.find_elements(By.CSS_SELECTOR, selector), f"{selector} in {self.driver.title}")
        return found[0]

    def text(self, selector: str = "body") -> str:
        (found,) = self.until(lambda: (self.wait(selector).text,), f"the text of {selector}")
        return str(found)

    def fill(self, selector: str, text: str) -> None:
        self.wait(selector).send_keys(text)

    def press(self, selector: str) -> None:
        """Presses a button whose answer is another page, and waits for that."""
        before = self.wait("html")
        self.wait(selector).click()
        self.until(lambda: self.wait("html") != before, f"a new page after {selector}")
        self.wait("main")

    def sign_in(self, name: str, password: str) -> None:
        self.fill("#name", name)
        self.fill("#password", password)
        self.press("form[action='/sign-in'] button")

    def order(self, word: str, scope: str, reason: str = "", until: str = "") -> None:
        Select(self.wait("#scope")).select_by_value(scope)
        self.fill("#reason", reason)
        self.fill("#until", until)
        self.press(f"button[value='{word}']")

    def search(self, text: str) -> None:
        place = self.wait("input[name='q']")
        place.clear()
        place.send_keys(text)
        self.press(".search button")

    def show(self, selector: str) -> None:
        self.driver.execute_script("arguments[0].scrollIntoView()", self.wait(selector))

    def complaints(self) -> list[str]:
        """What the browser wrote to its console: refused scripts and styles, errors of ours."""
        return [str(line["message"]) for line in self.driver.get_log("browser")]

    def picture(self, path: Path, *, whole: bool = False) -> None:
        if whole:
            tall = self.driver.execute_script("return document.documentElement.scrollHeight")
            wide = self.driver.execute_script("return document.documentElement.clientWidth")
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", self._screen | {"width": wide, "height": tall})
        path.write_bytes(self.driver.get_screenshot_as_png())
        if whole:
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", self._screen)
