"""A headless Chromium and a JupyterLab on copies of the notebooks, set to the smallest data set and profile."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SMOKE = {"profile": "smoke", "dataset": "street-small"}
IS_ROOT = getattr(os, "geteuid", lambda: 1)() == 0
QUIET = ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"]
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page, wherever it is scrolled to
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@pytest.fixture(scope="module")  # not longer: Playwright's event loop runs in this thread, and papermill has its own
def chromium():
    """Debian's Chromium; a test that asks for it is skipped where there is none."""
    if not CHROMIUM:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install --editable '.[dev]'"
    )
    with playwright.sync_playwright() as driver:
        # For root, as in a container, Chromium starts without its sandbox only.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET, chromium_sandbox=not IS_ROOT)
        yield browser
        browser.close()


@pytest.fixture
def screenshot(tmp_path):
    """Keep a picture of a page; in the folder REIDNB_SCREENSHOTS if that is given, to look at."""
    folder = Path(os.environ.get("REIDNB_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png")


@pytest.fixture(scope="module")
def lab(chromium, notebooks, tmp_path_factory) -> Iterator[str]:
    """The address of a JupyterLab on a folder of copies of the notebooks, which have the parameters ``SMOKE``."""
    home = tmp_path_factory.mktemp("lab")
    (home / "notebooks").mkdir()
    for path in notebooks.glob("*.ipynb"):
        nbformat.write(parameterize_notebook(load_notebook_node(str(path)), SMOKE), home / "notebooks" / path.name)
    for name, content in SETTINGS.items():
        file = home / "config" / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    places = {"JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_RUNTIME_DIR": home / "runtime"}
    places |= {"REIDNB_RESULTS": home / "results"}  # the explorer lists all runs that there are
    token, log = secrets.token_hex(8), home / "log"
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--ip=127.0.0.1",
        f"--IdentityProvider.token={token}",
    ]
    if IS_ROOT:
        command.append("--allow-root")
    with log.open("w") as file:
        server = subprocess.Popen(
            [*command, str(home / "notebooks")],
            stdout=file,
            stderr=file,
            env=os.environ | {name: str(place) for name, place in places.items()},
        )
    try:
        yield f"{_address(server, log)}?token={token}"
    finally:
        server.terminate()
        server.wait(30)


def _address(server: subprocess.Popen, log: Path) -> str:
    """Where the server answers, as it logs it once it is ready."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        if match := re.search(r"http://127\.0\.0\.1:\d+/lab(?=\?)", log.read_text()):
            return match[0]
        time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
