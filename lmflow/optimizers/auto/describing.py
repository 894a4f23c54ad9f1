"""Descriptions of tools and of outputs that a model rewrites from runs with verdicts."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from lmflow.library.proposers import redescriber
from lmflow.optimizers.auto.arms import (
    DESCRIPTIONS,
    REFLECTION,
    TOOLS,
    Arm,
    Choice,
    described_slot,
)
from lmflow.optimizers.auto.material import open_arm
from lmflow.optimizers.auto.proposing import Blamed, Writer, need_proposals, read_examples
from lmflow.optimizers.auto.search import Search
from lmflow.optimizers.parts.instructions import LONGEST_TEXT, describe_task
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.reflection import report_step, scored_steps
from lmflow.programs.parameters import complete_params
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

_SHARE = 0.5  # of the rewritings of a step that has descriptions; the others write its instruction


def rewrites_descriptions(search: Search, step: str) -> bool:
    """Return whether the descriptions of a step are rewritten next, by chance, if it has any."""
    predictor = search.task.program.predictors[step]
    return bool(described_slot(predictor)) and search.rng.random() < _SHARE


def redescribe(
    search: Search, writer: Writer, choice: Choice, blamed: Blamed, label: str
) -> Generator[Need, tuple[Trace, ...], Choice | None]:
    """Have the descriptions of a step's tools or outputs rewritten from runs of a choice; return
    the choice with the new arm, ``None`` if nothing new was written.
    """
    step, version = blamed.step, search.arms.version(choice)
    present = _present(search, version, step)
    inputs = {
        "task": describe_task(search.task.program.predictors[step]),
        "present": present,
        "runs": report_step(scored_steps(blamed.rows), step, search.rng),
    }
    rollout = writer.settings.rollout(redescriber(), inputs, writer.next_turn())
    (trace,) = yield need_proposals(search, label, [rollout])
    texts = _written(trace, present)
    if texts == present:
        return None
    path = f"{step}.{described_slot(search.task.program.predictors[step])}"
    keys = [call.key for call in trace.answers.values()]
    at = search.arms.at(step, DESCRIPTIONS)
    parent = search.arms.coordinates[at].arms[choice[at]]
    arm = Arm(
        {path: Record(texts)},
        {path: {"proposal": rollout.key, "key": keys[-1] if keys else ""}},
        hidden=parent.hidden | read_examples(blamed.rows),
        note="descriptions rewritten from its runs",
    )
    position = open_arm(search, at, arm, REFLECTION, parent.weights)
    return None if position is None else (*choice[:at], position, *choice[at + 1 :])


def _present(search: Search, version: Version, step: str) -> dict[str, str]:
    """Return the descriptions that a step has under a version, by name."""
    predictor = search.task.program.predictors[step]
    slot = described_slot(predictor)
    own: Any = complete_params(search.task.program, version).get(f"{step}.{slot}") or {}
    if slot == TOOLS:
        return dict(own)
    outputs = predictor.signature.for_model.outputs
    return {field.name: field.description for field in outputs} | dict(own)


def _written(trace: Trace, present: Mapping[str, str]) -> dict[str, str]:
    """Return the present descriptions with those that a proposer wrote anew. Names that nothing has
    are left out: models make some up.
    """
    values: Any = next(iter(trace.outputs.values()), {}) if trace.outputs else {}
    new = {name: str(text).strip()[:LONGEST_TEXT] for name, text in dict(values).items()}
    return {name: new.get(name) or text for name, text in present.items()}
