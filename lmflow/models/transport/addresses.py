"""Base URLs of model servers: what is wrong with one, and how failures name its server."""

from __future__ import annotations

from urllib.parse import urlsplit


def url_problem(base_url: str) -> str:
    """Says what is wrong with a base URL, empty if nothing is. The words show neither user nor
    password.
    """
    try:
        parts = urlsplit(base_url)
        parts.port  # noqa: B018 - reading the port checks it
    except ValueError as problem:
        return f"its base URL can't be read ({problem})"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return f"{parts.scheme or 'nothing'}:// doesn't begin a base URL"
    return "its base URL holds a user or password" if parts.username or parts.password else ""


_DEFAULT_PORTS = {"http": 80, "https": 443}


def endpoint_class(base_url: str) -> str:
    """The endpoint class of a base URL: host, port and path, without scheme and credentials.

    Two servers on one host differ by port or path, and neither may be answered by recordings of
    the other. The scheme's default port and a final ``/v1`` are left out.
    """
    parts = urlsplit(base_url)
    if not parts.hostname:
        return base_url
    port = f":{parts.port}" if parts.port not in (None, _DEFAULT_PORTS.get(parts.scheme)) else ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}{port}{parts.path.rstrip('/').removesuffix('/v1')}"


def host_class(endpoint: str) -> str:
    """The endpoint class that older recordings have: the host alone."""
    host, slash, _ = endpoint.partition("/")
    return urlsplit(f"//{host}").hostname or endpoint if slash or ":" in host else endpoint


def host_port(base_url: str) -> str:
    """The host of a server, and its port if the URL has one: how failures name the server."""
    parts = urlsplit(base_url)
    return f"{parts.hostname}{f':{parts.port}' if parts.port else ''}"
