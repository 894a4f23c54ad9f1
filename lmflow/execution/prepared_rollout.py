"""Prepares rollouts and runs them; the store gets the opening, the calls and the end of each."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import attrs

from lmflow.adapters.registry import AdapterRules
from lmflow.adapters.two_step import extraction_model
from lmflow.errors import ENDING, BudgetExceeded
from lmflow.execution.account import Account
from lmflow.execution.connections import Connections
from lmflow.execution.costs import unbounded_media, worst_case
from lmflow.execution.listening import OnText
from lmflow.execution.live import LiveDriver
from lmflow.execution.open_trace import OpenTrace
from lmflow.execution.parts.preparations import Preparation
from lmflow.execution.rollout import Rollout, new_id
from lmflow.interpreter.asking import token_limits
from lmflow.interpreter.driver import Frame
from lmflow.interpreter.predict import ADAPTER
from lmflow.messages.requests import ChatRequest
from lmflow.models.base import leaves, place
from lmflow.programs.compatibility import checked_params, stale
from lmflow.programs.effects import Pending
from lmflow.programs.environment import Env
from lmflow.programs.program import Program
from lmflow.traces.events import TraceClosed, TraceOpened
from lmflow.traces.redaction import UNREDACTED
from lmflow.traces.trace import CallAttempt, Trace, failed
from lmflow.values.record import Record
from lmflow.versions.version import Version


@attrs.frozen(eq=False)
class FinishedRollout:
    """The trace of an execution that is over, and the error that it ended with.

    The trace may be used once ``durable`` has returned.
    """

    trace: Trace
    error: Exception | None
    durable: Callable[[], Awaitable[None]]


@attrs.frozen(eq=False)
class PreparedRollout:
    """A program with the version, parameters, world and limits that it will be executed with."""

    connections: Connections
    account: Account
    program: Program
    version: Version
    env: Env
    world: Record
    target: str = ""
    timeout: float | None = None

    async def execute(
        self, run_id: str, rollout: Rollout, position: int = 0, on_text: OnText | None = None
    ) -> FinishedRollout:
        """Execute a rollout; the caller waits until it is durable. Errors that end the whole run
        (``ENDING``) are raised; the trace then stays open in the store.
        """
        sample = rollout.pending.sample or 0
        trace = rollout.interrupted or self._new_trace(rollout, sample)
        if rollout.interrupted is None:
            self.connections.record(TraceOpened(run_id, rollout.label, position, trace))
        open_trace = OpenTrace(
            self.connections,
            trace.id,
            account=self.account,
            name=str(self.program),
            timeout=self.timeout,
            on_text=on_text,
            reuse=rollout.reuse,
            calls=trace.calls,
        )
        env = attrs.evolve(self.env, sample=sample) if sample else self.env
        outputs, error = None, None
        try:
            outputs = await LiveDriver(open_trace).run(
                Pending(self.program, rollout.pending.inputs), Frame(env)
            )
        except BudgetExceeded:
            await open_trace.durable()
            raise
        except ENDING:
            raise
        except Exception as problem:  # noqa: BLE001 - recorded; the caller raises or returns it
            error = problem
        finished = self._finished_trace(trace, open_trace, outputs, error)
        open_trace.record(TraceClosed(finished))
        return FinishedRollout(finished, error, open_trace.durable)

    def _new_trace(self, rollout: Rollout, sample: int) -> Trace:
        return Trace(
            new_id(self.connections.random),
            self.program.key,
            str(self.program),
            self.version,
            rollout.pending.inputs,
            self.world,
            target=self.target,
            sample=sample,
            started=time.time_ns(),
            code=self.program,
        )

    def _finished_trace(
        self, trace: Trace, open_trace: OpenTrace, outputs: Record | None, error: Exception | None
    ) -> Trace:
        calls = open_trace.calls
        if len(calls) > 1:
            calls = sorted(calls, key=_start_order)
        return trace.finished(
            calls=tuple(calls),
            choices=Record(open_trace.choices) if open_trace.choices else trace.choices,
            outputs=outputs,
            failure=failed(error) if error else None,
            ended=time.time_ns(),
            code=trace.code,
            world=self._world_of(open_trace),
        )

    def _world_of(self, open_trace: OpenTrace) -> Record:
        """Return the world with the models that were asked beside those of the parameters."""
        models = self.world["models"]
        places, used = open_trace.reuse.places, open_trace.models
        if used.keys() <= models.keys() and places.keys() <= models.keys():
            return self.world
        added = {name: place(model) for name, model in used.items() if name not in models}
        return self.world | {"models": {**places, **models, **added}}


def prepare(
    connections: Connections,
    account: Account,
    rollout: Rollout,
    *,
    target: str = "",
    timeout: float | None = None,
) -> PreparedRollout:
    """Check a rollout's program and version and resolve its models, before anything is sent or
    recorded.

    Raises ``ForeignPaths``, ``ModelUnavailable``, or ``Unbounded`` if the budget must know what
    each step may cost and a step has no bound.
    """
    program, version, first = rollout.program, rollout.version, rollout.first or rollout.version
    prepared = connections.preparations.get(
        program, version, first, lambda: _preparation(connections, program, version, first)
    )
    if account.measured:
        _check_bounds(connections, account, program, prepared.env.params)
    return PreparedRollout(
        connections, account, program, version, prepared.env, prepared.world, target, timeout
    )


def _preparation(
    connections: Connections, program: Program, version: Version, first: Version
) -> Preparation:
    params = checked_params(program, version)
    rules = connections.adapter_rules
    world = Record(adapter=ADAPTER, models=model_places(connections, params))
    if rules.pairs:
        world |= {"adapters": rules.to_json()}
    if stale_paths := stale(program, version, first):
        world |= {"stale": stale_paths}
    if connections.redactor is not None:
        world |= {UNREDACTED: True}
    return Preparation(program, Env(params, adapters=rules), world)


def model_places(connections: Connections, params: Record) -> Record:
    """Map the model names in parameters to the resolved models and endpoint classes."""
    names = [value for path, value in params.items() if path.endswith(".model")]
    rules = connections.adapter_rules
    extracting = (_extraction_model(path, params, rules) for path in params)
    return connections.models.places([*names, *filter(None, extracting)])


def _extraction_model(path: str, params: Record, rules: AdapterRules) -> str:
    """The model that extracts the outputs of a step, if the path is that of the step's adapter."""
    step, _, slot = path.rpartition(".")
    if slot != "adapter":
        return ""
    return extraction_model(str(params[path] or rules.of(params.get(f"{step}.model", ""))))


def _check_bounds(
    connections: Connections, account: Account, program: Program, params: Record
) -> None:
    """Raise ``Unbounded`` for the first step whose calls the budget cannot bound."""
    for name, step in program.predictors.items():
        if step.signature.has_media_inputs:
            raise unbounded_media(name)
        for model in leaves(connections.models.get(params[f"{name}.model"])):
            request = ChatRequest((), model.name, options=params[f"{name}.options"])
            worst_case(name, request, connections.prices, time.time_ns(), priced=account.priced)
        extracting = _extraction_model(f"{name}.adapter", params, connections.adapter_rules)
        for model in leaves(connections.models.get(extracting)) if extracting else ():
            options = token_limits(params[f"{name}.options"])
            request = ChatRequest((), model.name, options=options)
            worst_case(name, request, connections.prices, time.time_ns(), priced=account.priced)


def _start_order(call: CallAttempt) -> tuple[int, str, int]:
    return call.started, call.address, call.attempt
