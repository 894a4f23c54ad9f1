"""Only who has the link sees the view; other sites, hosts and forms are refused."""

from pathlib import Path

import aiohttp
import pytest
from browsing import viewing

from lmflow.ui.access import SAFE_HEADERS


async def test_the_token_becomes_a_cookie(empty: Path) -> None:
    """The printed link sets a strict cookie and leads to the same page without the token."""
    async with viewing(empty) as view, aiohttp.ClientSession() as fresh:
        token = view.access.token
        url = f"{view.url}/?where=kind%3Drun&token={token}"
        async with fresh.get(url, allow_redirects=False) as response:
            cookie = response.headers["Set-Cookie"]
            assert (303, "/?where=kind%3Drun") == (response.status, response.headers["Location"])
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert token not in cookie
            assert "no-referrer" == response.headers["Referrer-Policy"]


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/events", "/nothing", "/?token=wrong"])
async def test_without_the_token_nothing_is_shown(empty: Path, path: str) -> None:
    """Every path answers 401 to a client without the cookie."""
    async with (
        viewing(empty) as view,
        aiohttp.ClientSession() as fresh,
        fresh.get(view.url + path) as response,
    ):
        assert 401 == response.status
        assert "lmflow ui" in await response.text()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "localhost@evil"]
)
async def test_other_hosts_are_refused(empty: Path, host: str) -> None:
    """A name that was rebound to this machine is refused, cookie or not."""
    async with viewing(empty) as view:
        assert 403 == (await view.get("/", Host=host))[0]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
async def test_other_origins_are_refused(empty: Path, origin: str) -> None:
    """A page of another origin gets nothing, and no header that lets it read."""
    async with viewing(empty) as view:
        assert 403 == (await view.get("/", Origin=origin))[0]
        async with view.session.get(view.url) as response:
            assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    "path", ["/", "/static/app.css", "/nothing", "/favicon.ico", "/?where=bad"]
)
async def test_every_response_has_the_safe_headers(empty: Path, path: str) -> None:
    """Pages, files and problems carry the policy."""
    async with viewing(empty) as view, view.session.get(view.url + path) as response:
        assert dict(SAFE_HEADERS) == {name: response.headers[name] for name in SAFE_HEADERS}


@pytest.mark.parametrize(
    "name",
    ["..%2fserver.py", "%2e%2e/%2e%2e/pyproject.toml", "htmx.LICENSE.txt", "%00", "app.css%2f.."],
)
async def test_no_path_leads_to_the_disk(empty: Path, name: str) -> None:
    """Files come from a fixed table."""
    async with viewing(empty) as view:
        assert 404 == (await view.get(f"/static/{name}"))[0]


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 400), ("cross-site", 403), ("same-site", 403), ("", 403)]
)
async def test_a_form_without_a_referrer_is_of_its_own_page(
    empty: Path, site: str, status: int
) -> None:
    """Browsers name no origin for forms of pages without a referrer: then the site has to be ours.

    400 says that the form came through, and lacked its fields.
    """
    async with viewing(empty) as view:
        headers = {"Origin": "null"} | ({"Sec-Fetch-Site": site} if site else {})
        data = {"form_token": view.access.form_token}
        async with view.session.post(f"{view.url}/rollback", data=data, headers=headers) as got:
            assert status == got.status
