"""Who may see the web view: a token in the URL becomes a cookie, and foreign pages are refused."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs
from aiohttp import web

from lmflow.serve.requests import is_loopback

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
)
SAFE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""The headers of every response."""

READS = ("GET", "HEAD")
_OWN_SITES = ("", "same-origin", "none")  # what a browser says of a request's origin


@attrs.frozen(repr=False)
class Access:
    """The secret of one server. The cookie and the form token are derived from it, so neither
    gives the token of the URL away.

    Args:
        token: The token of the printed URL.
        host: The host that the server listens on, which requests may name beside the loopback's.
    """

    token: str
    host: str = "127.0.0.1"

    @classmethod
    def new(cls, host: str = "127.0.0.1") -> Access:
        """Return the access of a new server, with a random token."""
        return cls(secrets.token_urlsafe(24), host)

    @property
    def form_token(self) -> str:
        """The value that each form carries, so that no other site can post one."""
        return self._derived("form")

    @property
    def session(self) -> str:
        """The value of the cookie."""
        return self._derived("session")

    def cookie_name(self, request: web.Request) -> str:
        """Return the cookie's name. Browsers share cookies between ports, so it has the port."""
        return f"lmflow_{_port(request.host)}"

    def problem(self, request: web.Request) -> str:
        """Say why a request is refused whoever sends it; empty if it isn't.

        A page of another site can make its own host name resolve to this machine (DNS rebinding),
        but the browser sends that name; and it sends the page's origin with each form.
        """
        if not self._is_own_host(request.host):
            return "the request names another host than this server's"
        origin = request.headers.get("Origin", "")
        site = request.headers.get("Sec-Fetch-Site", "")
        # A page that sends no referrer posts its own forms with the origin "null"; no other page
        # can make a browser call that the same origin.
        is_own = origin == f"http://{request.host}" or (origin, site) == ("null", "same-origin")
        if origin and not is_own:
            return "the request comes from a page of another origin"
        if request.method not in READS and (site not in _OWN_SITES or not origin):
            return "the form comes from a page of another origin"
        return ""

    def has_session(self, request: web.Request) -> bool:
        """Tell whether the request has the cookie."""
        cookie = request.cookies.get(self.cookie_name(request), "")
        return _equal(cookie, self.session)

    def has_token(self, request: web.Request) -> bool:
        """Tell whether the request's URL has the token."""
        return _equal(request.query.get("token", ""), self.token)

    def has_form_token(self, form: Mapping[str, str]) -> bool:
        """Tell whether a form carries the token of this server's pages."""
        return _equal(form.get("form_token", ""), self.form_token)

    def _is_own_host(self, host: str) -> bool:
        name = _name(host)
        if is_loopback(host) or name == self.host.strip("[]"):
            return True
        # A server on all addresses is asked by one of them; a name could be rebound.
        return self.host in {"0.0.0.0", "::"} and _is_address(name)  # noqa: S104 - compared

    def _derived(self, purpose: str) -> str:
        return hmac.new(self.token.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _equal(text: str, secret: str) -> bool:
    return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), secret.encode())


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _port(host: str) -> int:
    try:
        return urlsplit(f"//{host}").port or 80
    except ValueError:
        return 0


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False
