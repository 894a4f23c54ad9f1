"""A web view that runs in a test, a client with its cookie, and a browser if there is one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web

from lmflow.cli.loading.viewing import view_of
from lmflow.ui.access import Access
from lmflow.ui.serving import listen

ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@attrs.define
class View:
    """A web view on the loopback, and a client that has its cookie."""

    url: str
    access: Access
    session: aiohttp.ClientSession

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        """What a path answers: status and text."""
        async with self.session.get(self.url + path, headers=headers) as response:
            return response.status, await response.text()

    async def json(self, path: str) -> Any:
        """The JSON values of a page."""
        mark = "&" if "?" in path else "?"
        async with self.session.get(f"{self.url}{path}{mark}format=json") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, path: str, /, **form: str) -> tuple[int, str]:
        """What a form answers: status, and the page that it leads to or its text."""
        data = {"form_token": self.access.form_token, **form}
        async with self.session.post(
            self.url + path, data=data, headers={"Origin": self.url}, allow_redirects=False
        ) as response:
            return response.status, response.headers.get("Location", await response.text())


@contextlib.asynccontextmanager
async def viewing(store: Path | str, targets: tuple[str, ...] = ()) -> AsyncIterator[View]:
    """The web view of a store, with a client that followed the printed link."""
    access = Access.new()
    runner = web.AppRunner(
        view_of(str(store), access, targets),
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=0.2,
    )
    await runner.setup()
    url = await listen(runner, "127.0.0.1", 0)
    jar = aiohttp.CookieJar(unsafe=True)
    try:
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            async with session.get(f"{url}/?token={access.token}") as response:
                assert response.status == 200
            yield View(url, access, session)
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def viewed(store: Path | str, targets: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The web view of a store in a thread of its own: its address and the printed link."""
    started, ended = threading.Event(), threading.Event()
    found: list[tuple[str, str]] = []

    async def serve() -> None:
        async with viewing(store, targets) as view:
            found.append((view.url, f"{view.url}/?token={view.access.token}"))
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        yield found[0]
    finally:
        ended.set()
        thread.join(10)


@functools.cache
def browser_path() -> str:
    """The program of an installed Chromium, empty if there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), "")


@contextlib.contextmanager
def launched() -> Iterator[Any]:
    """A headless browser; skips the test by name if none is installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    path = browser_path()
    if not path:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGS))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def browsing(**options: Any) -> Iterator[Any]:
    """A context of a headless browser of its own."""
    with launched() as browser:
        yield browser.new_context(**options)


def violations(page: Any, *rules: str) -> list[str]:
    """What axe finds wrong with a page, by all rules or by some."""
    axe = pytest.importorskip("axe_playwright_python.base", reason="no axe")
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(Path(axe.AXE_FILE_PATH).read_text("utf-8"))
    # What passes is not described: that takes most of the time.
    options: dict[str, Any] = {"resultTypes": ["violations"], "elementRef": False}
    options |= {"runOnly": list(rules)} if rules else {}
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return [f"{each['id']}: {each['help']} {each['nodes'][0]['html'][:200]}" for each in found]
