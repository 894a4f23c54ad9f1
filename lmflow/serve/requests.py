"""Requests of clients, read and checked before anything is executed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
from urllib.parse import urlsplit

import attrs
import msgspec
from aiohttp import web

from lmflow.errors import Refused, listed
from lmflow.programs.effects import Pending
from lmflow.serve.service import Offer

BODY_SECONDS = 30.0
"""How long the body of a request may take to arrive."""
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")


@attrs.frozen(repr=False)
class Guard:
    """Admits requests: with ``token`` those that have it, with ``local`` those that name this
    machine by a loopback name.

    ``token`` is the hash of the token. ``local`` keeps web pages out: a page can make its own host
    name resolve to the loopback (DNS rebinding), but the browser sends that name.
    """

    token: bytes = b""
    local: bool = False

    @classmethod
    def of(cls, token: str, *, local: bool = False) -> Guard:
        """The guard that demands a token, or none if the token is empty."""
        return cls(_hash(token) if token else b"", local)

    def check(self, request: web.Request) -> None:
        """Raises ``Refused`` for a request that isn't admitted. ``/healthz`` needs no token."""
        if self.local and not self.token and not is_loopback(request.host):
            raise Refused(
                "forbidden_host",
                "this server is asked as 127.0.0.1 or localhost; else it needs a token.",
            )
        if not request.path.endswith("/healthz") and not self.accepts_token(request):
            raise Refused(
                "unauthorized", "a token is needed: add the header Authorization: Bearer TOKEN."
            )

    def accepts_token(self, request: web.Request) -> bool:
        """Says whether the request has the token, or none is demanded."""
        if not self.token:
            return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        digest = _hash(token.strip()) if scheme.lower() == "bearer" else b""
        # Digests of one length, compared in constant time: a plain comparison of tokens would
        # show by its duration how many characters are right.
        return hmac.compare_digest(digest, self.token)


OPEN = Guard()
"""Admits every request."""


async def read_body(request: web.Request, limit: int) -> bytes:
    """The body of a request. ``Refused`` if its type isn't JSON, or it is too large or too slow."""
    if request.content_type != "application/json":
        raise Refused(
            "media_type", "the body must be JSON: add the header Content-Type: application/json."
        )
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    # Most bodies arrive with their headers, and then no wait needs a bound.
    if request.content.is_eof() and request.content.exception() is None:
        whole: bytes = request.content.read_nowait(-1)
        if len(whole) > limit:
            raise _too_large(limit)
        return whole
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise Refused("slow_body", f"the body took longer than {BODY_SECONDS:g} s.") from None
    except web.RequestPayloadError:
        raise Refused("bad_json", "the body can't be read as it is encoded.") from None
    return bytes(body)


def bind_inputs(offer: Offer, body: bytes) -> Pending:
    """The program with the inputs in a body. ``Refused`` if the body isn't a JSON object;
    ``MissingInput``, ``UnknownInput``, ``WrongType``.
    """
    try:
        inputs = msgspec.json.decode(body)
        if not isinstance(inputs, dict):
            names = listed(field.name for field in offer.program.signature.inputs)
            raise Refused("bad_json", f"the body must be a JSON object with {names}.")
        return offer.bind(inputs)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("bad_json", f"the body is not JSON: {error}.") from None
    except RecursionError:
        raise Refused("bad_json", "the body is nested too deeply.") from None


def run_label(request: web.Request) -> str:
    """The label of the request's run: the client's ``X-Request-Id`` if it is plain."""
    request_id = request.headers.get("X-Request-Id", "")
    return f"req[{request_id}]" if _ID.match(request_id) else "req"


def is_loopback(host: str) -> bool:
    """Says whether a host, with or without a port, is a loopback name of this machine."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _too_large(limit: int) -> Refused:
    return Refused("large_body", f"the body may have at most {limit:,} bytes.")


def _hash(token: str) -> bytes:
    return hashlib.blake2b(token.encode("utf-8", "surrogateescape")).digest()
