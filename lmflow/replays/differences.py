"""The differences between a recording and a program under a version, as values and as text."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, get_args

import attrs

from lmflow.errors import short
from lmflow.messages.requests import Request
from lmflow.programs.program import Program
from lmflow.replays.simulate import Simulation
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.printing import clean, printable
from lmflow.values.text_diff import changed_lines
from lmflow.versions.version import Version
from lmflow.views.lines import counted
from lmflow.views.page import (
    ROWS_SHOWN,
    WIDEST_LINE,
    Block,
    Table,
    Text,
    page_html,
    page_markdown,
)

CallDifference = Literal["same", "moved", "reissued", "changed", "new", "dropped", "unknown"]
"""How a call of a recording relates to one that is requested now.

``moved``: recorded at another address. ``reissued``: the same request, sent anew all the same, as
those of live tools are. ``dropped``: no longer requested. ``unknown``: whether the program requests
it depends on a reply that isn't known.
"""
CALL_DIFFERENCES: tuple[CallDifference, ...] = get_args(CallDifference)

ResultDifference = Literal["same", "changed", "unknown"]

_LINES = 40  # lines of the tree that a page shows
_SHOWN = 20  # executions that `str` shows


@attrs.frozen(eq=False)
class CallDiff:
    """A call of a recording, of the program as it is now, or of both.

    ``blame`` names what changed a request: paths of parameters, ``model``, ``inputs`` or ``code``.
    """

    address: str
    kind: CallDifference
    recorded: CallAttempt | None
    request: Request | None = None
    blame: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The words in which a changed request differs, as ``[-old-]{+new+}``; empty otherwise."""
        if self.kind != "changed" or self.recorded is None:
            return ""
        return changed_lines(str(self.recorded.request), str(self.request))

    def to_json(self) -> dict[str, Any]:
        """Return the call as JSON values, without empty fields."""
        data = {
            "address": self.address,
            "kind": self.kind,
            "blame": list(self.blame),
            "words": self.words,
        }
        if self.kind == "moved" and self.recorded is not None:
            data["from"] = self.recorded.address
        return {name: value for name, value in data.items() if value}


@attrs.frozen(eq=False)
class TraceDiff:
    """A recorded execution beside its inputs under another version: the calls of both, in order.

    ``simulation`` has the outputs if they are known without sending anything.
    """

    label: str
    trace: Trace
    calls: tuple[CallDiff, ...]
    simulation: Simulation
    program: Program

    @property
    def same(self) -> bool:
        """True if every call and the result are the same."""
        return all(call.kind == "same" for call in self.calls) and self.result == "same"

    @property
    def result(self) -> ResultDifference:
        """The result's difference: same, changed or unknown."""
        simulation = self.simulation
        if not simulation.whole:
            return "unknown"
        before = self.trace.outputs, self.trace.failure
        return "same" if before == (simulation.outputs, simulation.failure) else "changed"

    def to_json(self) -> dict[str, Any]:
        """Return the execution as JSON values."""
        return {
            "label": self.label,
            "trace": self.trace.id,
            "result": self.result,
            "outputs": self.simulation.outputs,
            "failure": self.simulation.failure,
            "calls": [call.to_json() for call in self.calls],
        }


@attrs.frozen(eq=False, repr=False)
class Divergence:
    """The differences between a recording and a program under a version; ``str`` is a tree of them.

    ``assumed`` says that changed requests were answered by their recorded replies, so that the
    calls after them are compared too.
    """

    version: Version
    items: tuple[TraceDiff, ...]
    assumed: bool = True

    @property
    def counts(self) -> Mapping[CallDifference, int]:
        """The number of calls of each kind, zeros too."""
        counter = Counter(call.kind for item in self.items for call in item.calls)
        return {kind: counter[kind] for kind in CALL_DIFFERENCES}

    @property
    def same(self) -> bool:
        """True if no execution differs."""
        return all(item.same for item in self.items)

    def __repr__(self) -> str:
        return f"<Divergence {self._headline}>"

    def _repr_html_(self) -> str:
        return page_html((f"Divergence {self._headline}",), *self.blocks())

    def _repr_markdown_(self) -> str:
        return page_markdown((f"Divergence {self._headline}",), *self.blocks())

    def blocks(self) -> tuple[Block, ...]:
        """The parts of a page: the executions that differ, then their calls as a tree."""
        differing = [item for item in self.items if not item.same]
        rows = [_execution_cells(item) for item in differing[:ROWS_SHOWN]]
        table = Table(rows, "Executions that differ", total=len(differing), noun="execution")
        return table, Text(str(self), most=_LINES)

    @property
    def _headline(self) -> str:
        executions = counted(len(self.items), "execution")
        return f"{short(self.version.id)}: {executions}, {count_text(self.counts)}"

    def __str__(self) -> str:
        differing = [item for item in self.items if not item.same]
        same = len(self.items) - len(differing)
        head = count_text(self.counts)
        if self.assumed and self.counts["changed"]:
            head += "; changed requests are taken to be answered as recorded"
        lines = [head, *(line for item in differing[:_SHOWN] for line in _tree(item))]
        if len(differing) > _SHOWN:
            lines.append(f"… {len(differing) - _SHOWN} more that differ")
        if same:
            lines.append(f"{same} of {len(self.items)} the same throughout")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the divergence as JSON values."""
        return {
            "version": self.version.id,
            "assumed": self.assumed,
            "counts": dict(self.counts),
            "items": [item.to_json() for item in self.items],
        }


def count_text(counts: Mapping[CallDifference, int]) -> str:
    """Write counts in words: ``40 same, 2 changed``; ``no calls`` if all are zero."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "no calls"


def _execution_cells(item: TraceDiff) -> dict[str, Any]:
    counter = Counter(call.kind for call in item.calls)
    counts: dict[str, Any] = {kind: counter[kind] or None for kind in CALL_DIFFERENCES}
    return {
        "label": item.label or "trace",
        "trace": item.trace.id,
        "result": item.result,
        **counts,
        "outputs": item.simulation.outputs if item.simulation.whole else None,
    }


def _tree(item: TraceDiff) -> list[str]:
    """Write an execution as lines: calls under their frames, changed ones with their words."""
    counter = Counter(call.kind for call in item.calls)
    counts: dict[CallDifference, int] = {kind: counter[kind] for kind in CALL_DIFFERENCES}
    lines = [f"{printable(item.label) or 'trace'} {item.trace.id}  {count_text(counts)}"]
    open_frames: list[str] = []
    for call in item.calls:
        *frames, leaf = call.address.split("/")
        shared = _shared(open_frames, frames)
        lines += [
            f"│  {'  ' * depth}{printable(frames[depth])}" for depth in range(shared, len(frames))
        ]
        open_frames = frames
        indent = f"│  {'  ' * len(frames)}"
        lines.append(f"{indent}{printable(leaf)}  {printable(_kind_text(call), WIDEST_LINE)}")
        lines += [f"{indent}  {text}" for text in clean(call.words).splitlines()]
    return [*lines, f"└─ result {item.result}"]


def _shared(frames: list[str], others: list[str]) -> int:
    """Count the frames that two addresses have in common, from the outermost on."""
    pairs = zip(frames, others, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _kind_text(call: CallDiff) -> str:
    if call.kind == "moved" and call.recorded is not None:
        return f"moved from {call.recorded.address}"
    return f"{call.kind} by {', '.join(call.blame)}" if call.blame else call.kind
