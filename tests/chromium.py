"""One real Chromium for the tests of pages, controlled by selenium: ``browser`` in ``tests/conftest.py``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars",
)  # fmt: skip
LOAD_SECONDS = 60.0


def chromium(profile: Path) -> Iterator[Any]:
    """Yield a Chromium with an empty profile, which logs its console and its network."""
    without = pytest.fail if os.environ.get("CI") else pytest.skip
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ModuleNotFoundError:
        without("needs selenium: pip install -e '.[dev]'")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        without("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_OFFLINE", "true")  # the driver is named below, so nothing is downloaded
        started = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        yield started
    finally:
        started.quit()


def load(browser: Any, address: str, width: int = 1200) -> None:
    """Load a page with empty logs and no emulated media, and wait for its last element.

    ``get`` alone may return while the document is still being read.
    """
    from selenium.webdriver.support.wait import WebDriverWait

    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    browser.get("about:blank")
    resize(browser, width)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(address)
    complete = "return document.URL !== 'about:blank' && document.readyState === 'complete'"
    WebDriverWait(browser, LOAD_SECONDS).until(lambda page: page.execute_script(complete))


def resize(browser: Any, width: int) -> None:
    """Give the page this width in CSS pixels; below 600 it is shown as on a telephone."""
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def colours(browser: Any, scheme: str) -> tuple[str, str]:
    """Return the colours of background and text for a reader who prefers ``light`` or ``dark``."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    style = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color];"
    background, text = browser.execute_script(style)
    return background, text
