"""A warm start: what recorded traces of the program say before anything runs."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from lmflow.data.dataset import example_id
from lmflow.evaluation.judges import Judge
from lmflow.optimizers.auto.arms import DEMOS, DESCRIPTIONS, FORMAT, INSTRUCTION, Arm, Choice
from lmflow.optimizers.auto.material import open_bundle
from lmflow.optimizers.auto.search import Search
from lmflow.optimizers.parts.needs import Need, PlannedRollout, traces_of_examples
from lmflow.optimizers.parts.scoring import Best, ScoredRollout, add_evidence, score_traces
from lmflow.programs.parameters import complete_params
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

_KINDS = {
    "instruction": INSTRUCTION, "demos": DEMOS, "pool": DEMOS, "adapter": FORMAT,
    "tools": DESCRIPTIONS, "outputs": DESCRIPTIONS,
}  # fmt: skip
_MOST_VERSIONS = 6
_MOST_JUDGED = 50  # a judge's verdict on a recorded trace is a call


def learn_from_prior(search: Search) -> Generator[Need, tuple[Trace, ...], None]:
    """Score recorded traces of the program on examples of the search. Runs that went well become
    material, and scores of versions that differ from the start in nothing but instructions,
    demonstrations and the form of outputs become scores of arms.
    """
    task = search.task
    examples = [*task.data.train, *task.data.select]
    pairs = [
        (PlannedRollout(task.program, trace.version, example), trace)
        for example, trace in traces_of_examples(task.program, examples, task.prior)
    ]
    if isinstance(task.metric, Judge):
        pairs = pairs[:_MOST_JUDGED]
    if not pairs:
        return
    rows = yield from score_traces(task, pairs, "prior", Best(task.version), "recorded traces")
    for row in rows:
        search.note_runs(row.rollout.version, [row])
    by_version: dict[str, list[ScoredRollout]] = {}
    for row in rows:
        by_version.setdefault(row.rollout.version.tree, []).append(row)
    largest = sorted(by_version.values(), key=lambda own: -len(own))[:_MOST_VERSIONS]
    for own in largest:
        _learn_version(search, own)


def _learn_version(search: Search, results: list[ScoredRollout]) -> None:
    version = results[0].rollout.version
    choice = _choice_of(search, version)
    if choice is None:
        return
    values = search.scores_by_row(choice, results)
    if values:
        search.learn(choice, values)
        add_evidence(search.task, search.arms.version(choice), results)


def _choice_of(search: Search, version: Version) -> Choice | None:
    """Return the choice that makes a version, its arms opened; ``None`` if the version differs
    from the start in a path that the search does not tune.
    """
    program = search.task.program
    own: Any = complete_params(program, version)
    start: Any = complete_params(program, search.task.version)
    changes = {path: own[path] for path in own if own[path] != start[path]}
    bundle: dict[int, Arm] = {}
    for path, value in changes.items():
        step, _, slot = path.rpartition(".")
        if slot not in _KINDS or step not in program.predictors:
            return None
        at = search.arms.at(step, _KINDS[slot])
        other = bundle.get(at, Arm())
        hidden = _shown_examples(search, value) if _KINDS[slot] == DEMOS else frozenset[str]()
        origin = {path: {"version": version.id}}
        bundle[at] = Arm(
            {**other.changes, path: value},
            {**other.origin, **origin},
            hidden=other.hidden | hidden,
            note=f"as in version {version.id[-12:]}",
        )
    return open_bundle(search, bundle)


def _shown_examples(search: Search, demos: tuple[Record, ...]) -> frozenset[str]:
    """Return the examples of which demonstrations hold all inputs."""
    data = search.task.data
    names = [field.name for field in search.task.program.signature.inputs]
    by_inputs: Mapping[Record, str] = {
        example.only(*names): example_id(example) for example in [*data.train, *data.select]
    }
    shown = (by_inputs.get(demo.only(*names)) for demo in demos)
    return frozenset(example for example in shown if example is not None)
