"""Optimizers whose needs are heard before they are met."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import Plan, PlanOptimizer, Task, advance_plan


def heard(optimizer: PlanOptimizer, hear: Callable[[Need], object]) -> PlanOptimizer:
    """The optimizer, which calls ``hear`` with each need before it is met."""

    def plan(task: Task) -> Plan:
        running = optimizer.plan(task)
        try:
            state = advance_plan(running)
            while isinstance(state, Need):
                hear(state)
                traces = yield state
                state = advance_plan(running, traces)
            return state
        finally:
            running.close()

    return attrs.evolve(optimizer, plan=plan)
