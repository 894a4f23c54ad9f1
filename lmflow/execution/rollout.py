"""A rollout: what to execute once, and what may answer it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from random import Random
from typing import Protocol

import attrs

from lmflow.models.base import Model
from lmflow.programs.effects import Pending
from lmflow.programs.environment import overlay_values
from lmflow.programs.parameters import complete_params, init
from lmflow.programs.program import Program
from lmflow.replays.reuse import NO_ANSWERS, Reuse
from lmflow.traces.trace import PlannedExecution, Trace
from lmflow.values.unicode import well_formed
from lmflow.versions.version import Version

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SHIFTS = range(85, -1, -5)


@attrs.frozen
class Rollout:
    """An execution to make: a program with its inputs, a version of its parameters, and a label.

    Attributes:
        pending: The program with its inputs; its ``sample`` tells intended repeats apart.
        version: The parameters to run with.
        label: The name of the execution in its run.
        reuse: Recorded answers that are used instead of sending requests.
        interrupted: The unfinished trace to go on with, if there is one.
        first: The root ancestor of the version, if it is known.
    """

    pending: Pending
    version: Version
    label: str = attrs.field(default="", converter=well_formed)
    reuse: Reuse = attrs.field(default=NO_ANSWERS, eq=False)
    interrupted: Trace | None = None
    first: Version | None = attrs.field(default=None, eq=False)

    @property
    def program(self) -> Program:
        """The program."""
        program: Program = self.pending.program
        return program


class Answers(Protocol):
    """A recording that answers an executor's rollouts in place of models and tools."""

    def rollout(self, rollout: Rollout) -> Rollout:
        """Return the rollout with the answers to use, as its ``reuse``. It is called for each
        rollout in order, before any of them runs.
        """
        ...

    def model(self, name: str, make: Callable[[], Model]) -> Model:
        """Return the model to use for a name, ``""`` for the default; ``make`` makes the model
        that the name means.
        """
        ...


def version_with_overlay(pending: Pending, version: Version | None) -> Version:
    """Return the version that a pending call runs with.

    An overlay becomes a child of the version, so that the trace names all of its parameters.
    Without a version it is the program's defaults.
    """
    program: Program = pending.program
    base = version or init(program)
    if not pending.overlay:
        return base
    if not base.params.keys() >= set(program.paths):
        base = attrs.evolve(base, params=complete_params(program, base))
    return base.put(overlay_values(base.params, pending.overlay), note="overlay")


def planned_executions(rollouts: Iterable[Rollout]) -> tuple[PlannedExecution, ...]:
    """Describe rollouts as the executions that a run is opened for."""
    return tuple(
        PlannedExecution(
            rollout.label,
            rollout.pending.inputs,
            rollout.version.id,
            rollout.pending.sample or 0,
        )
        for rollout in rollouts
    )


def new_id(random: Random) -> str:
    """Make an id of 18 letters that sorts by time."""
    number = (time.time_ns() // 1_000_000 << 40) | random.getrandbits(40)
    return "".join([_ALPHABET[number >> shift & 31] for shift in _SHIFTS])
