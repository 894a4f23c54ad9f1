"""Traces and runs as values."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from lmflow.errors import short
from lmflow.traces.call_text import call_lines, duration
from lmflow.traces.calls import CallAttempt
from lmflow.traces.json_form import outputs_of_json, read_json, record_of_json
from lmflow.traces.outputs_hint import HasOutputs
from lmflow.traces.paged import Paged
from lmflow.traces.results import Failed, PlannedExecution, failed, root_of
from lmflow.traces.results import RunKind as RunKind  # noqa: PLC0414 - read from here, too
from lmflow.traces.run_root import RunRoot
from lmflow.traces.totals import Sums, Totals, totals
from lmflow.traces.trace_text import result_text, run_headline, run_line, run_page
from lmflow.values.json_fields import JsonFields
from lmflow.values.printing import clean, printable
from lmflow.values.record import EMPTY, Record
from lmflow.versions.version import Version
from lmflow.views.lines import LINE_WIDTH
from lmflow.views.page import LINES_SHOWN, Page, Text

__all__ = ["CallAttempt", "Failed", "PlannedExecution", "Run", "Trace", "failed", "root_of"]

RunStatus = Literal["open", "done", "failed", "stopped"]

_NAME = 60  # the characters of a name that a headline shows


@attrs.frozen(slots=False, repr=False)
class Trace(HasOutputs, JsonFields):
    """One execution: the program and its inputs, every call, and the result.

    Args:
        id: The trace's id.
        program: The key of the program.
        name: The name of the program.
        version: The version of the parameters.
        inputs: The inputs, by name.
        world: The adapter, and the resolved model and its endpoint by model name; ``stale`` holds
            the paths whose version has a default that the code has changed since, with both.
        target: The program as ``module:program``; empty if the caller did not name it so.
        sample: The number of the sample.
        calls: All attempts of all calls.
        choices: The label of the branch that won, by the address of each ``first``.
        outputs: The outputs; ``None`` if the execution failed or is not finished.
        failure: The failure; ``None`` if the execution succeeded or is not finished.
        started: The time of the start, in nanoseconds since the epoch.
        ended: The time of the end, in nanoseconds since the epoch; 0 if it is not finished.
        code: The program itself; never stored, and not part of the trace's equality.
    """

    json_fields = (
        *("id", "program", "name", "version", "inputs", "world", "target", "sample", "calls"),
        *("choices", "outputs", "failure", "started", "ended", "root"),
    )

    id: str
    program: str
    name: str
    version: Version
    inputs: Record
    world: Record
    target: str = ""
    sample: int = 0
    calls: tuple[CallAttempt, ...] = ()
    choices: Record = EMPTY
    outputs: Record | None = None
    failure: Failed | None = None
    started: int = 0
    ended: int = 0
    # JSON and libraries that walk over fields leave out what begins with an underscore.
    _code: Any = attrs.field(default=None, eq=False, alias="code")

    def finished(  # noqa: PLR0913 - each is a field of the result
        self,
        *,
        calls: tuple[CallAttempt, ...],
        choices: Record,
        world: Record,
        outputs: Record | None,
        failure: Failed | None,
        ended: int,
        code: Any,
    ) -> Trace:
        """Return the trace with its result.

        One constructor call: ``attrs.evolve`` would look at every field, once an execution.
        """
        return Trace(
            self.id,
            self.program,
            self.name,
            self.version,
            self.inputs,
            world,
            self.target,
            self.sample,
            calls,
            choices,
            outputs,
            failure,
            self.started,
            ended,
            code,
        )

    @property
    def code(self) -> Any:
        """The program itself; ``None`` if the trace was read from a store."""
        return self._code

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trace:
        """Make the trace from the JSON values of ``to_dict``.

        Raises:
            ForeignFile: They are not those of a trace, or were changed.
        """
        return read_json("trace", data, lambda fields: cls(**_trace_fields(fields)))

    @property
    def done(self) -> bool:
        """``True`` if the execution is finished, with outputs or a failure."""
        return self.outputs is not None or self.failure is not None

    @functools.cached_property
    def answers(self) -> Mapping[str, CallAttempt]:
        """The attempt that counts at each address: the last one that ended."""
        if len(self.calls) == 1 and self.calls[0].outcome is not None:
            return {self.calls[0].address: self.calls[0]}
        ended = sorted(
            (call for call in self.calls if call.outcome is not None), key=lambda call: call.attempt
        )
        return {call.address: call for call in ended}

    @property
    def reasoning(self) -> Mapping[str, str]:
        """The reasoning that providers returned beside their replies, by the address of the call.

        It is in no output and no demonstration unless a field has the type ``Reasoning``.
        """
        ended = self.answers.items()
        texts = {address: getattr(call.outcome, "reasoning", "") for address, call in ended}
        return {address: text for address, text in texts.items() if text}

    @property
    def orphans(self) -> tuple[CallAttempt, ...]:
        """Calls that started and never ended; the provider may have billed them."""
        return tuple(call for call in self.calls if call.outcome is None)

    def __repr__(self) -> str:
        return f"<Trace {self._headline}>"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.page().html()

    def _repr_markdown_(self) -> str:
        return self.page().markdown()

    def page(self, *, messages: bool = False) -> Page:
        """The trace as a notebook shows it; with ``messages`` all of them stand there in full."""
        text = Text(self.text(messages=messages), most=None if messages else LINES_SHOWN)
        return Page((f"Trace {self._headline}",), (text,))

    @property
    def _headline(self) -> str:
        status = "ok" if self.outputs is not None else "never ended"
        if self.failure is not None:
            status = f"failed by {printable(self.failure.kind, _NAME)}"
        words = f"{status}, {totals(self.calls).words}"
        return clean(f"{printable(self.name, _NAME)} {self.id}: {words}")

    def text(self, *, messages: bool = False, label: str = "trace") -> str:
        """The trace as ``lmflow runs show`` prints it: a tree of inputs, calls and result.

        Args:
            messages: Whether each call is followed by its exact messages and its reply.
            label: The word before the id: the trace's label in its run.
        """
        took = duration(self.started, self.ended)
        version = short(self.version.id)
        calls = (f"│  {line}" for line in call_lines(self.calls, messages=messages))
        lines = [
            f"{printable(label) or 'trace'} {printable(self.id)}  version {version}  {took}",
            f"│  in   {printable(self.inputs, LINE_WIDTH)}",
            *calls,
            f"└─ {self.result_text}",
        ]
        return "\n".join(lines)

    @property
    def result_text(self) -> str:
        """How the execution ended, on one line: its outputs, its failure, or that it never did."""
        return result_text(self)

    @functools.cached_property
    def root(self) -> str:
        """The Merkle root over (address, key, reply) of all calls that count, and the result.

        Times and tokens are not part of it.
        """
        return root_of(self.answers.values(), self.choices, self.outputs, self.failure)


@attrs.frozen(slots=False, repr=False)
class Run(HasOutputs, JsonFields):
    """An ordered list of labels, each of which names a trace.

    Args:
        id: The run's id.
        kind: The kind of work: run, serve, map, what_if, fork, evaluate, optimize, test,
            import, or wave (the requests of one batch).
        name: The name of the program.
        items: The labels and their traces, in order. Of a long run in a store they are read when
            they are looked at.
        target: The program as ``module:program``; empty if the caller did not name it so.
        status: The state of the run: open, done, failed or stopped.
        started: The time of the start, in nanoseconds since the epoch.
        ended: The time of the end, in nanoseconds since the epoch; 0 if the run is open.
        of: The id of the run or trace that this run executes again; empty otherwise.
        wanted: The executions that the run was started for, in order.
        config: The settings of an evaluation or optimization.
        result: The result: an evaluation's root, or the id of an optimization's version.
    """

    json_fields = (
        *("id", "kind", "name", "items", "target", "status", "started", "ended", "of"),
        *("wanted", "config", "result", "root"),
    )

    id: str
    kind: RunKind
    name: str
    items: Sequence[tuple[str, Trace]] = ()
    target: str = ""
    status: RunStatus = "open"
    started: int = 0
    ended: int = 0
    of: str = ""
    wanted: Sequence[PlannedExecution] = ()
    config: Record = attrs.field(factory=Record)
    result: str = ""

    def __iter__(self) -> Iterator[Trace]:
        return (trace for _, trace in self.items)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Run:
        """Make the run from the JSON values of ``to_dict``.

        Raises:
            ForeignFile: They are not those of a run, or were changed.
        """
        return read_json("run", data, lambda fields: cls(**_run_fields(fields)))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def traces(self) -> Sequence[Trace]:
        """The traces, in the order of their labels."""
        if isinstance(self.items, Paged):
            return self.items.each(_second)
        return tuple(trace for _, trace in self.items)

    @property
    def failures(self) -> tuple[tuple[str, Failed], ...]:
        """The failures of the traces that failed, with their labels."""
        return tuple((label, trace.failure) for label, trace in self.items if trace.failure)

    def __repr__(self) -> str:
        return f"<Run {run_headline(self)}>"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.page().html()

    def _repr_markdown_(self) -> str:
        return self.page().markdown()

    def page(self, *, messages: bool = False) -> Page:
        """The run as a notebook shows it; with ``messages`` those of the first traces in full."""
        return run_page(self, messages=messages)

    def text(self, *, messages: bool = False, total: int | None = None) -> str:
        """The run as ``lmflow runs show`` prints it: a line, then the tree of each trace.

        Args:
            messages: Whether each call is followed by its exact messages and its reply.
            total: The number of traces of the whole run. A part of them has no root of the run.
        """
        lines = [run_line(self, len(self) if total is None else total)]
        lines += [trace.text(messages=messages, label=label) for label, trace in self.items]
        return "\n".join(lines)

    @functools.cached_property
    def root(self) -> str:
        """The Merkle root over the labels and the roots of their traces."""
        root = RunRoot()
        for position, (label, trace) in enumerate(self.items):
            root.add(position, label, trace.root)
        return root.value()

    @functools.cached_property
    def sums(self) -> tuple[Totals, int]:
        """The sums over all calls, and the number of executions that failed."""
        sums, failures = Sums(), 0
        for trace in self:
            sums.add(trace.calls)
            failures += trace.failure is not None
        return sums.totals(), failures


def _second(item: tuple[str, Trace]) -> Trace:
    return item[1]


def _trace_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    failure = fields["failure"]
    records = ("inputs", "world", "choices")
    return {
        **fields,
        **{name: record_of_json(fields[name]) for name in records},
        "outputs": outputs_of_json(fields["outputs"]),
        "version": Version.from_dict(fields["version"]),
        "calls": tuple(map(CallAttempt.from_dict, fields["calls"])),
        "failure": None if failure is None else Failed.from_dict(failure),
    }


def _run_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **fields,
        "items": tuple((str(label), Trace.from_dict(trace)) for label, trace in fields["items"]),
        "wanted": tuple(map(PlannedExecution.from_dict, fields["wanted"])),
        "config": Record(fields["config"]),
    }
