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


def host_of(base_url: str) -> str:
    """The host of an endpoint without port and credentials."""
    return urlsplit(base_url).hostname or base_url


def host_port(base_url: str) -> str:
    """The host of a server, and its port if the URL has one: how failures name the server."""
    parts = urlsplit(base_url)
    return f"{parts.hostname}{f':{parts.port}' if parts.port else ''}"
