"""The inputs of a plan, and the plan as a generator."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import attrs

from lmflow.data.dataset import Data
from lmflow.optimizers.parts.evidence import Evidence
from lmflow.optimizers.parts.needs import Need
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version

Plan = Generator["Need", "tuple[Trace, ...]", Version]
"""A generator that yields needs, is sent their traces, and returns a version.

A live driver keeps the generator between needs: running it anew at each need would score all
earlier rollouts again. A resumed optimization runs a fresh generator over the recorded answers.
Both arrive at the same need because a plan depends on its task and on the traces sent to it, and
on nothing else: no clock, no global randomness, no look at what is already answered.
"""


@attrs.frozen(eq=False)
class Task:
    """The inputs of a plan: the program, the start version, the examples, the traces recorded
    earlier, and the metric. It holds no answers, so a plan cannot depend on what is answered. The
    plan adds the scores that it sees to ``evidence``.
    """

    program: Program
    version: Version
    data: Data
    prior: tuple[Trace, ...]
    metric: Any
    evidence: Evidence = attrs.field(factory=Evidence)


def advance_plan(plan: Plan, traces: tuple[Trace, ...] | None = None) -> Need | Version:
    """Run a plan up to its next need, or to its end.

    Args:
        plan: The plan.
        traces: The traces of the need that the plan waits for; ``None`` begins the plan.

    Returns:
        The next need, or the version that the plan returned.
    """
    try:
        return next(plan) if traces is None else plan.send(traces)
    except StopIteration as stop:
        version: Version = stop.value
        return version
