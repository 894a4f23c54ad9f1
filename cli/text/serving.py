"""Lines that a server prints: its start with a command to try, each request, its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import click

from lmflow.errors import short
from lmflow.serve.openapi import curl, path_of
from lmflow.serve.results import AccessRecord
from lmflow.serve.service import Offer, Service
from lmflow.values.printing import clean
from lmflow.views.lines import took

_HEALTHY = ("GET /healthz", 200)


@attrs.define(eq=False)
class ServerLog:
    """Prints the events of a server as text; ``as_json`` prints only start, stop and end, a line
    of JSON each.

    ``err`` prints everything on standard error, for servers whose standard output is the protocol.
    """

    as_json: bool
    quiet: bool = False
    err: bool = False
    answered: int = 0
    failed: int = 0

    def started(self, facts: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Print that the server accepts requests."""
        if self.as_json:
            self._echo_event(event="started", **facts)
            return
        for text in lines:
            click.echo(text, err=self.err)

    def request(self, request: AccessRecord) -> None:
        """Print a finished request, without anything that its client sent; successful health
        checks are not printed.
        """
        if request.run and request.error:
            self.failed += 1
        elif request.run:
            self.answered += 1
        if self.as_json or self.quiet or (request.route, request.status) == _HEALTHY:
            return
        facts = [
            time.strftime("%H:%M:%S"),
            str(request.status),
            request.route,
            took(request.seconds * 1e9),
            request.error,
            f"run {request.run}" if request.run else "",
            f"version {short(request.version)}" if request.version else "",
        ]
        click.echo("  ".join(fact for fact in facts if fact), err=True)

    def stopping(self, opened: int, grace: float) -> None:
        """Print that the server refuses new requests, and how many are open."""
        if self.as_json:
            self._echo_event(event="stopping", open=opened)
        elif opened:
            text = f"stopping: {opened} open, at most {grace:g} s; Ctrl-C again cuts them off"
            click.echo(text, err=True)

    def stopped(self, cut: int) -> None:
        """Print that the server has ended."""
        if self.as_json:
            self._echo_event(event="stopped", answered=self.answered, failed=self.failed, cut=cut)
            return
        lost = f", {cut} cut off" if cut else ""
        counts = f"{self.answered} answered, {self.failed} failed{lost}"
        click.echo(f"stopped: {counts}; see `lmflow runs ls`", err=True)

    def _echo_event(self, **facts: Any) -> None:
        click.echo(json.dumps(facts), err=self.err)


def http_start(
    service: Service, store: str, address: str, token_env: str, grace: float
) -> tuple[dict[str, Any], list[str]]:
    """Return the start of an HTTP server as data, and as lines with a command to try."""
    rows, lines = [], []
    for offer in service.offers.values():
        path = path_of(offer.name, service.offers)
        command = clean(curl(offer.program, f"{address}{path}", token_env))
        rows.append({**_row(offer), "path": path, "curl": command})
        lines.append(f"POST {address}{path}  {clean(str(offer.program.signature))}")
        lines.append(f"  {_version_line(offer)}")
    stop = f"Ctrl-C stops the server; open requests then have {grace:g} s to end."
    lines += [
        f"GET  {address}/openapi.json",
        f"GET  {address}/healthz",
        f"Try it:\n  {rows[0]['curl']}",
        f"Every request is recorded in {store}. {stop}",
    ]
    return {"address": address, "store": store, "token": bool(token_env), "programs": rows}, lines


def mcp_start(service: Service, store: str) -> tuple[dict[str, Any], list[str]]:
    """Return the start of an MCP server as data and as lines."""
    rows = [_row(offer) for offer in service.offers.values()]
    lines = [
        f"tool {offer.name}  {clean(str(offer.program.signature))}\n  {_version_line(offer)}"
        for offer in service.offers.values()
    ]
    lines.append(
        f"On standard input and output, until the input ends. Every call is recorded in {store}."
    )
    return {"store": store, "programs": rows}, lines


def _row(offer: Offer) -> dict[str, Any]:
    version, signature = offer.pointer.now()[0].id, str(offer.program.signature)
    return {"name": offer.name, "signature": signature, "ref": offer.ref, "version": version}


def _version_line(offer: Offer) -> str:
    version = short(offer.pointer.now()[0].id)
    if offer.ref:
        return f"{offer.name} at ref {offer.ref}, now {version}"
    return f"{offer.name} at its defaults, {version}"
