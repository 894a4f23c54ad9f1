"""What a server says in the terminal: how it began and how it is asked, each request on a line, how
it ended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import click

from lmflow.errors import short
from lmflow.serve.answers import Told
from lmflow.serve.openapi import curl, path_of
from lmflow.serve.service import Offer, Service
from lmflow.values.printing import clean

_WELL = ("GET /healthz", 200)


@attrs.define(eq=False)
class Talk:
    """Says what happens: as words, or ``as_json`` as a line of JSON when it begins, stops and has
    ended, no more.

    ``err`` says all of it on standard error, where standard output is not for people.
    """

    as_json: bool
    quiet: bool = False
    err: bool = False
    answered: int = 0
    failed: int = 0

    def began(self, facts: Mapping[str, Any], words: Iterable[str]) -> None:
        """It takes requests."""
        if self.as_json:
            self._say(event="started", **facts)
            return
        for line in words:
            click.echo(line, err=self.err)

    def told(self, told: Told) -> None:
        """A request is over. What clients sent is not in its line; probes that find it well have
        none.
        """
        if told.run:
            self.answered, self.failed = (
                self.answered + (not told.error),
                self.failed + bool(told.error),
            )
        if self.as_json or self.quiet or (told.route, told.status) == _WELL:
            return
        took = f"{told.seconds:.2f} s" if told.seconds >= 1 else f"{told.seconds * 1000:.0f} ms"
        ids = [
            f"run {told.run}" if told.run else "",
            f"version {short(told.version)}" if told.version else "",
        ]
        facts = [time.strftime("%H:%M:%S"), str(told.status), told.route, took, told.error, *ids]
        click.echo("  ".join(fact for fact in facts if fact), err=True)

    def stopping(self, opened: int, grace: float) -> None:
        """It lets nobody in any more."""
        if self.as_json:
            self._say(event="stopping", open=opened)
        elif opened:
            click.echo(
                f"stopping: {opened} open, at most {grace:g} s; Ctrl-C again cuts them off",
                err=True,
            )

    def stopped(self, cut: int) -> None:
        """It has ended."""
        if self.as_json:
            self._say(event="stopped", answered=self.answered, failed=self.failed, cut=cut)
            return
        lost = f", {cut} cut off" if cut else ""
        click.echo(
            f"stopped: {self.answered} answered, {self.failed} failed{lost}; see `lmflow runs ls`",
            err=True,
        )

    def _say(self, **facts: Any) -> None:
        click.echo(json.dumps(facts), err=self.err)


def over_http(
    service: Service, store: str, address: str, token_env: str, grace: float
) -> tuple[dict[str, Any], list[str]]:
    """How a server on HTTP began: as data, and as words with the command that asks it."""
    rows, words = [], []
    for offer in service.offers.values():
        path = path_of(offer.name, service.offers)
        line = clean(curl(offer.program, f"{address}{path}", token_env))
        rows.append({**_row(offer), "path": path, "curl": line})
        words += [f"POST {address}{path}  {clean(str(offer.program.signature))}", f"  {_at(offer)}"]
    words += [
        f"GET  {address}/openapi.json",
        f"GET  {address}/healthz",
        f"Ask it:\n  {rows[0]['curl']}",
        f"Every request is recorded in {store}. Ctrl-C stops it; what is open then has {grace:g} s to end.",
    ]
    return {"address": address, "store": store, "token": bool(token_env), "programs": rows}, words


def over_mcp(service: Service, store: str) -> tuple[dict[str, Any], list[str]]:
    """How a server of tools began: as data, and as words."""
    rows = [_row(offer) for offer in service.offers.values()]
    words = [
        f"tool {offer.name}  {clean(str(offer.program.signature))}\n  {_at(offer)}"
        for offer in service.offers.values()
    ]
    told = f"On standard input and output, until the input ends. Every call is recorded in {store}."
    return {"store": store, "programs": rows}, [*words, told]


def _row(offer: Offer) -> dict[str, Any]:
    version, signature = offer.pointer.now()[0].id, str(offer.program.signature)
    return {"name": offer.name, "signature": signature, "ref": offer.ref, "version": version}


def _at(offer: Offer) -> str:
    version = short(offer.pointer.now()[0].id)
    return (
        f"{offer.name} at ref {offer.ref}, now {version}"
        if offer.ref
        else f"{offer.name} at its defaults, {version}"
    )
