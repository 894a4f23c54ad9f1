"""The needs of a server at its start: its store, its token, and a warning if others reach it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from lmflow.serve.requests import is_loopback
from lmflow.serve.results import AccessLog
from lmflow.serve.service import Service
from lmflow.stores.opened import AnyStore, is_url, open_store
from lmflow.stores.sqlite.opening import is_writable, read_only


def open_for_requests(path: str) -> AnyStore:
    """Open the store that requests are recorded in; ``StoreError`` if it can only be read."""
    store = open_store(path)
    if not (is_url(path) or is_writable(Path(path))):
        store.close()
        raise read_only(path)
    return store


def token_in(variable: str) -> str:
    """Return the token in an environment variable; empty if no variable is named."""
    if not variable:
        return ""
    token = os.environ.get(variable, "").strip()
    if not token:
        raise click.ClickException(
            f"the environment variable {variable} holds no token. Set it: "
            f"export {variable}=\"$(python -c 'import secrets; print(secrets.token_urlsafe(32))')\""
        )
    return token


def warn_of_reach(host: str, *, token: bool) -> None:
    """Warn if other machines can reach the server."""
    if is_loopback(host):
        return
    who = "with the token" if token else "WITHOUT A TOKEN: add --token-env NAME"
    warning = (
        f"warning: {host} can be reached from other machines, {who}. "
        "It is plain HTTP: put TLS before it."
    )
    click.secho(warning, fg="yellow", err=True)


def import_mcp() -> Callable[[Service, AccessLog], Awaitable[int]]:
    """Return the function that serves MCP; the error for a missing extra names the install line."""
    try:
        from lmflow.serve.mcp import over_stdio  # noqa: PLC0415 - an extra, and slow to import
    except ModuleNotFoundError as error:
        if error.name not in {"mcp", "mcp_types"}:
            raise
        raise click.ClickException(
            "the package mcp (2 or newer) is missing. Install it: pip install 'lmflow-dsl[mcp]'."
        ) from None
    return over_stdio
