"""What a request asks for, read and checked before anything is executed."""

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

SLOWEST = 30.0  # seconds for the body of a request
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")


@attrs.frozen(repr=False)
class Guard:
    """Who may ask: with ``token`` whoever has it, with ``local`` only who calls this machine by a
    loopback name.

    ``token`` is the hash of it. The second keeps pages of a browser out, which reach the loopback
    by a name of theirs.
    """

    token: bytes = b""
    local: bool = False

    @classmethod
    def of(cls, token: str, *, local: bool = False) -> Guard:
        """The guard that asks for a token, where there is one."""
        return cls(_hashed(token) if token else b"", local)

    def check(self, request: web.Request) -> None:
        """``Refused`` where it may not be asked. Whether the server is well is told without a
        token.
        """
        if self.local and not self.token and not loopback(request.host):
            raise Refused(
                "forbidden_host",
                "this server is asked as 127.0.0.1 or localhost; else it needs a token.",
            )
        if not request.path.endswith("/healthz") and not self.knows(request):
            raise Refused(
                "unauthorized", "a token is needed: add the header Authorization: Bearer TOKEN."
            )

    def knows(self, request: web.Request) -> bool:
        """Whether the request has the token, or needs none."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        held = _hashed(given.strip()) if scheme.lower() == "bearer" else b""
        return not self.token or hmac.compare_digest(held, self.token)


ANYBODY = Guard()


async def body_of(request: web.Request, most: int) -> bytes:
    """The body of a request. ``Refused`` where it isn't JSON by its type, too large, or too slow."""
    if request.content_type != "application/json":
        raise Refused(
            "media_type", "the body must be JSON: add the header Content-Type: application/json."
        )
    if (request.content_length or 0) > most:
        raise _large(most)
    held = bytearray()
    try:
        async with asyncio.timeout(SLOWEST):
            async for piece in request.content.iter_any():
                held += piece
                if len(held) > most:
                    raise _large(most)
    except TimeoutError:
        raise Refused("slow_body", f"the body took longer than {SLOWEST:g} s.") from None
    except web.RequestPayloadError:
        raise Refused("bad_json", "the body can't be read as it is encoded.") from None
    return bytes(held)


def bound(offer: Offer, body: bytes) -> Pending:
    """The program with the inputs that a body holds. ``Refused`` where it is no JSON object; what
    ``bound`` raises.
    """
    try:
        given = msgspec.json.decode(body)
        if not isinstance(given, dict):
            names = listed(field.name for field in offer.program.signature.inputs)
            raise Refused("bad_json", f"the body must be a JSON object with {names}.")
        return offer.bound(given)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("bad_json", f"the body is no JSON: {error}.") from None
    except RecursionError:
        raise Refused("bad_json", "the body is nested too deeply.") from None


def label_of(request: web.Request) -> str:
    """What the run calls the request: the id that the client gave it, where that is plain."""
    given = request.headers.get("X-Request-Id", "")
    return f"req[{given}]" if _ID.match(given) else "req"


def loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine by a name of its loopback."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _large(most: int) -> Refused:
    return Refused("large_body", f"the body may have at most {most:,} bytes.")


def _hashed(token: str) -> bytes:
    return hashlib.blake2b(token.encode("utf-8", "surrogateescape")).digest()
