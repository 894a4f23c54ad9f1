"""Whether a service can run programs now, at the price of a look: no model is asked."""

from __future__ import annotations

import asyncio
from typing import Any

from lmflow.errors import LmflowError
from lmflow.execution.executor import Executor
from lmflow.serve.service import Offer, Service

_PATIENCE = 2.0  # seconds that the store has for an empty transaction


async def health(service: Service) -> dict[str, Any]:
    """``status`` (ok, failing, stopping), the store, and of each program its version and what its
    models last did.
    """
    store = await _store(next(iter(service.offers.values())).ex)
    programs = {name: _program(offer) for name, offer in service.offers.items()}
    well = store == "ok" and all("version" in told for told in programs.values())
    gate = service.gate
    status = "stopping" if gate.stopping else "ok" if well else "failing"
    return {
        "status": status,
        "store": store,
        "programs": programs,
        "open": gate.open,
        "waiting": gate.waiting,
    }


def _program(offer: Offer) -> dict[str, str]:
    told = {"ref": offer.ref} if offer.ref else {}
    try:
        told["version"] = offer.pointer.now()[0].id
    except LmflowError as error:
        told["error"] = type(error).__name__
    return {**told, "model": offer.seen}


async def _store(ex: Executor) -> str:
    """Whether the store takes a transaction: an empty one, which holds its lock for a moment and
    writes nothing.
    """
    try:
        await asyncio.wait_for(asyncio.wrap_future(ex.store.append()), _PATIENCE)
    except LmflowError as error:
        return type(error).__name__
    except TimeoutError:
        return "busy"
    return "ok"
