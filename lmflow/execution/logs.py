"""The ``lmflow`` logger: runs, retries, fallbacks, budget stops and reuse; never a text of a
prompt, a reply, an input or an error.

A line has names, ids, kinds and numbers alone, and they are cleaned, so that nothing that a model,
a tool or a data set wrote can get into a log.
"""

from __future__ import annotations

import logging
from typing import Any

from lmflow.errors import BudgetExceeded
from lmflow.execution.budget import Spent
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, Outcome
from lmflow.messages.requests import Request, ToolRequest
from lmflow.programs.program import Program
from lmflow.traces.trace import CallAttempt, Run
from lmflow.values.printing import printable
from lmflow.views.lines import counted

LOGGER = logging.getLogger("lmflow")
LOGGER.addHandler(logging.NullHandler())  # a library is silent unless its user configures logging

_WIDEST = 80
_NANO = 1_000_000_000


def log_run_begun(run: Run) -> None:
    """Log that a run was opened."""
    if LOGGER.isEnabledFor(logging.INFO):
        executions = len(run.wanted)
        planned = f", {counted(executions, 'execution')}" if executions else ""
        _log(
            logging.INFO,
            f"run {run.id} begun: {run.kind} {_name(run.name)}{planned}",
            "run_begun",
            **_run_fields(run),
            executions=executions,
        )


def log_run_ended(run: Run, spent: Spent) -> None:
    """Log that a run was closed: how many executions it has, what was sent, and what was reused."""
    if not LOGGER.isEnabledFor(logging.WARNING):
        return
    sums, failed = run.sums
    level = logging.WARNING if failed else logging.INFO
    if not LOGGER.isEnabledFor(level):
        return
    reused = sums.reused
    seconds = (run.ended - run.started) / _NANO
    facts = f"{counted(len(run), 'execution')}, {failed} failed; sent {spent}; reused {reused}"
    _log(
        level,
        f"run {run.id} {run.status} in {seconds:.2f} s: {facts}",
        "run_ended",
        **_run_fields(run),
        status=run.status,
        executions=len(run),
        failed=failed,
        calls=spent.calls,
        tokens=spent.tokens,
        cost=spent.cost,
        reused=reused,
        seconds=seconds,
    )


def log_run_stopped(run: Run, error: BaseException) -> None:
    """Log that a run ended before its time: a budget with its numbers, any other error by its class
    alone.
    """
    if isinstance(error, BudgetExceeded):
        log_budget_stop(run, error)
        return
    kind = type(error).__name__
    _log(
        logging.WARNING,
        f"run {run.id} stopped by {_name(kind)}",
        "run_stopped",
        **_run_fields(run),
        failure=_name(kind),
    )


def log_budget_stop(run: Run, refusal: BudgetExceeded) -> None:
    """Log that a call did not fit the budget."""
    _log(
        logging.WARNING,
        f"run {run.id} stopped: {refusal.budget} is used up after {refusal.spent}",
        "budget_stop",
        **_run_fields(run),
        calls=refusal.spent.calls,
        tokens=refusal.spent.tokens,
        cost=refusal.spent.cost,
    )


def log_attempt(trace: str, step: Program, attempt: CallAttempt) -> None:
    """Log an attempt of a call that has ended: failed ones as information, others for debugging."""
    failed = isinstance(attempt.outcome, Failure)
    level = logging.INFO if failed else logging.DEBUG
    if not LOGGER.isEnabledFor(level):
        return
    seconds = (attempt.ended - attempt.started) / _NANO
    kind = _failure_kind(attempt.outcome)
    tokens = _tokens(attempt.outcome)
    result = f"failed ({kind})" if failed else "answered"
    target = _target(attempt.request)
    _log(
        level,
        f"{_name(str(step))}: {target} {result} in {seconds:.2f} s, attempt {attempt.attempt + 1}",
        "call_failed" if failed else "call",
        trace=trace,
        step=_name(str(step)),
        model=target,
        attempt=attempt.attempt + 1,
        failure=kind,
        tokens=tokens,
        cost=attempt.cost,
        seconds=seconds,
    )


def log_another_attempt(trace: str, step: Program, request: Request, failed: CallAttempt) -> None:
    """Log that a call is sent again after a failure: a retry, or a fallback to another model."""
    before, after = _target(failed.request), _target(request)
    kind = _failure_kind(failed.outcome)
    is_retry = before == after
    level = logging.INFO if is_retry else logging.WARNING
    words = f"{before} is tried again" if is_retry else f"{after} is asked instead of {before}"
    _log(
        level,
        f"{_name(str(step))}: {words} after {kind}, attempt {failed.attempt + 2}",
        "retry" if is_retry else "fallback",
        trace=trace,
        step=_name(str(step)),
        model=after,
        before=before,
        attempt=failed.attempt + 2,
        failure=kind,
    )


def log_reuse(trace: str, call: CallAttempt, source: str) -> None:
    """Log that a recorded call answers in place of a model or tool."""
    if LOGGER.isEnabledFor(logging.DEBUG):
        target = _target(call.request)
        _log(
            logging.DEBUG,
            f"{target} is answered from trace {source}",
            "reuse",
            trace=trace,
            model=target,
            source=source,
        )


def _log(level: int, message: str, event: str, **fields: Any) -> None:
    if LOGGER.isEnabledFor(level):
        extra = {f"lmflow_{name}": value for name, value in fields.items()}
        LOGGER.log(level, "%s", message, extra={"lmflow_event": event, **extra})


def _run_fields(run: Run) -> dict[str, Any]:
    return {"run": run.id, "kind": run.kind, "program": _name(run.name), "of": run.of}


def _name(text: str) -> str:
    return printable(text, _WIDEST)


def _target(request: Request) -> str:
    """Return the name of a model or tool."""
    return _name(request.tool if isinstance(request, ToolRequest) else request.model)


def _failure_kind(outcome: Outcome | None) -> str:
    """Return the class and the kind of a failure; empty if there is none."""
    if not isinstance(outcome, Failure):
        return ""
    return _name(" ".join(filter(None, (outcome.kind, str(outcome.data.get("kind") or "")))))


def _tokens(outcome: Outcome | None) -> int | None:
    if not isinstance(outcome, (ChatReply, EmbedReply)):
        return None
    usage = outcome.usage
    return None if usage.prompt is None else usage.prompt + (usage.completion or 0)
