"""Demonstrations from examples that a model makes up, where the metric accepts what the teacher
answers to them.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Sequence

from lmflow.data.dataset import Data
from lmflow.library.proposers import inventor
from lmflow.optimizers.few_shot import Who, taught
from lmflow.optimizers.parts.demos import (
    Success,
    filled,
    labelled,
    sampled,
    succeeded,
    success,
    with_demos,
)
from lmflow.optimizers.parts.instructions import Proposers, shown, task_of
from lmflow.optimizers.parts.plan import (
    Bound,
    Need,
    Plan,
    PlannedRollout,
    PlanOptimizer,
    Task,
    need_rollouts,
    randomness,
    plan_optimizer,
)
from lmflow.optimizers.parts.scoring import Best, measured
from lmflow.programs.program import Predict, Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record, canonical, plain


def synthesize(  # noqa: PLR0913 - each is an option
    *, count: int = 4, attempts: int = 16, examples: int = 3, max_labeled: int = 4, threshold: float | None = None,
    teacher: Who = None, proposer: Predict | None = None, model: str = "", seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Demonstrations of every step from ``count`` examples that a model makes up, each step's from
    its own calls; then labelled ones, up to ``max_labeled`` in all. ``only("answer.*",
    synthesize())`` makes those of one step.

    An example is kept only where the metric gives at least ``threshold`` (more than 0 without one)
    to what the teacher answers when it is asked the example's inputs, the example's own answer
    being the label. One whose inputs are those of another, or of any in the data, is dropped: no
    selection example gets into a prompt. The proposer, which reads the task and ``examples``
    training examples at random, is asked ``attempts`` times at most, as often at once as examples
    are still wanted. ``model`` is the proposer's. Asks for at most ``attempts`` proposals and as
    many rollouts.

    Rejection sampling as in Khattab et al. 2023, arXiv 2310.03714, section 4, over inputs that a
    model writes as in Wang et al. 2022, arXiv 2212.10560, section 2 (Self-Instruct).
    """
    options = {
        "count": count, "attempts": attempts, "examples": examples, "max_labeled": max_labeled,
        "threshold": threshold, "teacher": teacher, "proposer": proposer, "model": model, "seed": seed,
    }  # fmt: skip

    def plan(task: Task) -> Plan:
        rng, pool = (
            randomness(task.version, "synthesize", seed),
            labelled(task.program, task.data.train),
        )
        teach = taught(task.program, task.version, teacher, sampled(rng, pool, max_labeled))
        write, ask = proposer or inventor(task.program), Proposers(model)
        seen = {_asked(task.program, row) for part in _parts(task.data) for row in part}
        kept, done = list[Success](), 0
        while len(kept) < count and done < attempts:
            turns = range(done, min(attempts, done + count - len(kept)))
            asked = [ask.asked(write, _shown(task, write, examples, rng), turn) for turn in turns]
            new = yield from _invented(task, asked, seen, f"invent[{done}]")
            wanted = [teach.rollout(example, 0) for example in new]
            rows = yield from measured(
                task.metric, wanted, f"check[{done}]", Best(task.version), "check"
            )
            kept += [success(task.program, row, rng) for row in rows if succeeded(row, threshold)]
            done = turns.stop
        chosen = filled(kept, pool, max_labeled, rng)
        return with_demos(
            task.version, chosen, f"demonstrations from {len(kept)} examples that were made up"
        )

    def bound(program: Program, data: Data) -> Bound:
        del program, data
        return Bound(attempts, attempts)

    return plan_optimizer("synthesize", options, plan, bound)


def _invented(
    task: Task, asked: Sequence[PlannedRollout], seen: set[str], label: str
) -> Generator[Need, tuple[Trace, ...], list[Record]]:
    """The examples that were made up, without those whose inputs were seen before."""
    traces = yield need_rollouts(label, asked, task.version, phase="make examples up")
    found: list[Record] = []
    for example in (trace.outputs for trace in traces if trace.outputs is not None):
        name = _asked(task.program, example)
        if name not in seen:
            seen.add(name)
            found.append(example)
    return found


def _shown(task: Task, write: Predict, most: int, rng: random.Random) -> dict[str, object]:
    """What the proposer reads: the task and some training examples, under the names of its two
    inputs.
    """
    rows = rng.sample(list(task.data.train), min(most, len(task.data.train)))
    fields = [
        field.name
        for side in (task.program.signature.inputs, task.program.signature.outputs)
        for field in side
    ]
    first, second = (field.name for field in write.signature.inputs)
    return {first: task_of(task.program), second: shown(row.only(*fields) for row in rows)}


def _asked(program: Program, example: Record) -> str:
    """The example's inputs in canonical form."""
    return canonical(
        plain(example.only(*(field.name for field in program.signature.inputs if field.required)))
    )


def _parts(data: Data) -> Iterable[Sequence[Record]]:
    return data.train, data.select, data.held
