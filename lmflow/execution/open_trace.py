"""An open trace: one execution in progress."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable

from lmflow.execution.account import Account
from lmflow.execution.batching_writer import WriteReceipt
from lmflow.execution.connections import Connections
from lmflow.execution.listening import OnText
from lmflow.execution.logs import log_reuse
from lmflow.messages.replies import Outcome
from lmflow.messages.requests import Request, ToolRequest
from lmflow.models.base import Model
from lmflow.replays.reuse import NO_ANSWERS, Reuse, copied_call, outcome_or_raise
from lmflow.traces.events import CallEnded, Event
from lmflow.traces.trace import CallAttempt


class OpenTrace:
    """The state of one execution in progress: what its calls need, and the calls made so far."""

    def __init__(  # noqa: PLR0913 - each is a fact of its own
        self,
        connections: Connections,
        trace_id: str,
        *,
        account: Account,
        name: str = "",
        timeout: float | None = None,
        on_text: OnText | None = None,
        reuse: Reuse = NO_ANSWERS,
        calls: Iterable[CallAttempt] = (),
    ) -> None:
        self.connections = connections
        self.trace_id = trace_id
        self.reuse = reuse
        self.account = account
        self.name = name
        self.timeout = timeout
        self.deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        self.on_text = on_text
        self.calls = list(calls)
        self.record_first = connections.record_first or bool(account.bounded)
        self.choices: dict[str, str | int] = {}
        self._receipts: deque[WriteReceipt] = deque()
        self.models: dict[str, Model] = {}

    @property
    def overdue(self) -> bool:
        """Tell whether the execution's time is over."""
        return self.deadline is not None and asyncio.get_running_loop().time() >= self.deadline

    def model(self, name: str) -> Model:
        """Return the model of a name and note that the execution has used it."""
        model = self.models.get(name)
        if model is None:
            model = self.models[name] = self.connections.models.get(name)
        return model

    def recorded_answer(self, address: str, request: Request) -> CallAttempt | None:
        """Return the recorded call that answers a request, ``None`` if there is none."""
        resolved = self.reuse.resolve_model(request, address)
        if resolved is request and not isinstance(request, ToolRequest):
            model = self.model(request.model)
            resolved = request.to(model.name, model.endpoint)
        return self.reuse(address, resolved)

    async def use_recorded(self, recorded: CallAttempt, address: str) -> Outcome:
        """Return the reply of a recorded call or raise its failure. Unless the call is from this
        very trace, a copy that costs nothing is recorded.
        """
        log_reuse(self.trace_id, recorded, self.reuse.source)
        if self.reuse.source != self.trace_id:
            self.record_ended(copied_call(recorded, address, self.reuse.source, time.time_ns()))
        outcome: Outcome = outcome_or_raise(recorded.outcome)
        return outcome

    def record_ended(self, attempt: CallAttempt) -> None:
        """Record an attempt that has ended; ``durable`` waits for the record."""
        self.calls.append(attempt)
        self.record(CallEnded(self.trace_id, attempt))

    def record(self, event: Event) -> None:
        """Record an event that must be durable before anything is made of it."""
        receipt = self.connections.record(event)
        if not self._receipts or self._receipts[-1] is not receipt:
            self._receipts.append(receipt)

    # What is made of a reply must not be seen before the reply is durable: a program that went on
    # with a reply which a crash then lost could not be resumed from its record. A step may read its
    # reply before, since nobody sees what it makes of it until the next request or the end. So the
    # reply and the end of an execution are committed together.
    async def durable(self) -> None:
        """Wait until all replies so far are durable. Raises ``StoreError`` if one can't be."""
        while self._receipts:
            receipt = self._receipts[0]
            await receipt.durable()
            if self._receipts and self._receipts[0] is receipt:
                self._receipts.popleft()
