"""Health of a service: whether it can run programs now, found out without calling a model."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from lmflow.errors import LmflowError
from lmflow.execution.executor import Executor
from lmflow.serve.limits import AdmissionGate
from lmflow.serve.service import Offer, Service

Health = Literal["ok", "failing", "stopping"]

_STORE_SECONDS = 2.0


async def health(service: Service) -> dict[str, Any]:
    """The ``status`` (ok, failing, stopping), the store's state, the number of open and waiting
    requests, and of each program its version and its models' last outcome.
    """
    store = await _store_state(next(iter(service.offers.values())).ex)
    programs = {name: _program_state(offer) for name, offer in service.offers.items()}
    gate = service.gate
    return {
        "status": _status(gate, store, programs),
        "store": store,
        "programs": programs,
        "open": gate.open,
        "waiting": gate.waiting,
    }


def _status(gate: AdmissionGate, store: str, programs: dict[str, dict[str, str]]) -> Health:
    if gate.stopping:
        return "stopping"
    resolved = all("version" in program for program in programs.values())
    return "ok" if store == "ok" and resolved else "failing"


def _program_state(offer: Offer) -> dict[str, str]:
    state = {"ref": offer.ref} if offer.ref else {}
    try:
        state["version"] = offer.pointer.now()[0].id
    except LmflowError as error:
        state["error"] = type(error).__name__
    return {**state, "model": offer.model_state}


async def _store_state(ex: Executor) -> str:
    """``ok`` if the store commits an empty transaction, which holds its lock for a moment; else
    ``busy`` or the error.
    """
    try:
        await asyncio.wait_for(asyncio.wrap_future(ex.store.append()), _STORE_SECONDS)
    except LmflowError as error:
        return type(error).__name__
    except TimeoutError:
        return "busy"
    return "ok"
