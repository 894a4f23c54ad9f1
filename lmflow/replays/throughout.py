"""Tells whether a recorded execution is, throughout, what a program does now."""

from __future__ import annotations

from typing import Any

from lmflow.errors import ReplayDiverged, Undecided
from lmflow.interpreter.driver import drive_pure
from lmflow.programs.effects import Call, Pending
from lmflow.programs.environment import Env
from lmflow.replays.reuse import Reuse, outcome_or_raise
from lmflow.traces.addresses import in_lost_branch
from lmflow.traces.trace import Failed, Trace, failed


class _Missing(Exception):
    """Raised where the recording has no answer. Flows never see it."""


def is_same_throughout(trace: Trace, pending: Pending, env: Env, reuse: Reuse) -> bool:
    """Run a program again on the answers of a trace alone, and tell whether it does just the same.

    Args:
        trace: The recorded execution.
        pending: The program with its inputs.
        env: The environment that it would run in now.
        reuse: The answers of the trace that may be used.

    Returns:
        ``True`` if each request is answered at its own address, each recorded answer that counts
        is used, and the result is the recorded one. Then the root is the same, too.
    """
    used: set[str] = set()

    def recall(call: Call, address: str) -> Any:
        recorded = reuse(address, reuse.resolve_model(call.request, address))
        if recorded is None or recorded.address != address:
            raise _Missing(address)
        used.add(address)
        return outcome_or_raise(recorded.outcome)

    outputs, failure = None, None
    try:
        outputs = drive_pure(pending, env, recall, reuse.choices)
    except (_Missing, Undecided, ReplayDiverged):
        return False
    except Exception as error:  # noqa: BLE001 - a recorded execution may have ended with any error
        failure = failed(error)
    return _is_result(trace, outputs, failure) and all(
        address in used or in_lost_branch(address, trace.choices) for address in trace.answers
    )


def _is_result(trace: Trace, outputs: Any, failure: Failed | None) -> bool:
    return bool(outputs == trace.outputs) and failure == trace.failure
