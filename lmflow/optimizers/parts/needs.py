"""Needs: the rollouts that must run before an optimizer can go on."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import attrs

from lmflow.data.dataset import example_id
from lmflow.evaluation.stats import Estimate
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record, digest
from lmflow.versions.version import Version


@attrs.frozen(slots=False)
class PlannedRollout:
    """An execution that a plan needs: a program under a version on an example. ``sample`` tells
    intended repeats apart.
    """

    program: Program
    version: Version
    example: Record
    sample: int = 0

    @functools.cached_property
    def key(self) -> str:
        """The hash of the program, the parameters it runs with, its inputs and the sample."""
        inputs = self.example.only(*(field.name for field in self.program.signature.inputs))
        params = _params_digest(self.program, self.version)
        return digest("rollout", [self.program.key, params, inputs, self.sample])


@attrs.frozen
class Need:
    """The rollouts that must run before an optimizer can go on.

    Attributes:
        rollouts: The executions, in the order in which their traces are sent back.
        labels: The place of each rollout in the run tree.
        best: The best version so far: the answer if the optimization ends here.
        score: The best mean score so far, ``None`` while there is none.
        phase: The stage of the search, in words.
        reason: Why ``best`` is the answer, in words; empty if the search does not say.
        estimate: The mean score of ``best`` with its interval, ``None`` if it was not scored.
    """

    rollouts: tuple[PlannedRollout, ...]
    labels: tuple[str, ...]
    best: Version
    score: float | None = None
    phase: str = ""
    reason: str = ""
    estimate: Estimate | None = None


def traces_of_examples(
    program: Program, examples: Iterable[Record], traces: Iterable[Trace]
) -> list[tuple[Record, Trace]]:
    """Pair each trace in which the program gave outputs for an example's inputs with that
    example.
    """
    finished = [
        trace for trace in traces if trace.program == program.key and trace.outputs is not None
    ]
    if not finished:
        return []
    names = [field.name for field in program.signature.inputs]
    example_by_inputs = {example.only(*names): example for example in examples}
    inputs_and_traces = [(trace.inputs.only(*names), trace) for trace in finished]
    return [
        (example_by_inputs[inputs], trace)
        for inputs, trace in inputs_and_traces
        if inputs in example_by_inputs
    ]


def need_rollouts(
    label: str,
    rollouts: Iterable[PlannedRollout],
    best: Version,
    *,
    score: float | None = None,
    phase: str = "",
) -> Need:
    """Make the need of rollouts, each labelled ``label/ex[id]``, and ``/n[k]`` if it is a
    repeat.
    """
    needed = tuple(rollouts)
    labels = tuple(_rollout_label(label, rollout) for rollout in needed)
    return Need(needed, labels, best, score, phase or label)


def unanswered(need: Need, answers: Mapping[str, Trace]) -> Need:
    """Leave out of a need the rollouts that have an answer, and repeats of one rollout."""
    missing: dict[str, tuple[PlannedRollout, str]] = {}
    for rollout, label in zip(need.rollouts, need.labels, strict=True):
        if rollout.key not in answers:
            missing.setdefault(rollout.key, (rollout, label))
    rollouts = tuple(rollout for rollout, _ in missing.values())
    labels = tuple(label for _, label in missing.values())
    return attrs.evolve(need, rollouts=rollouts, labels=labels)


def _rollout_label(label: str, rollout: PlannedRollout) -> str:
    place = f"{label}/ex[{example_id(rollout.example)}]"
    return f"{place}/n[{rollout.sample}]" if rollout.sample else place


# A search scores each of its versions on many examples, and the digest of a version's parameters is
# part of each rollout's key: without the cache that digest would dominate the search's own time.
@functools.lru_cache(maxsize=4096)
def _params_digest(program: Program, version: Version) -> str:
    """The digest of the parameters that the program runs with."""
    return complete_params(program, version).digest
