"""Rules induced from examples, appended to the instructions."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Generator, Mapping

import attrs

from lmflow.data.dataset import Data
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.library.proposers import inducer
from lmflow.optimizers.parts.bootstrap import (
    Bootstrap,
    TeacherSource,
    bootstrap_demos,
    make_teacher,
)
from lmflow.optimizers.parts.checks import check_proposer, runs_on
from lmflow.optimizers.parts.demos import (
    Demo,
    DemoSet,
    fill_with_labelled,
    labelled_demos,
    sample_demos,
)
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    assemble,
    describe_examples,
    describe_task,
    instruction_of,
    proposal_of,
)
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.parts.plan import SELECT, Plan, PlanOptimizer, Task, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best, conclude, score_candidate
from lmflow.programs.program import Predict, Program
from lmflow.traces.trace import Trace

HEAD = "Follow these rules:"
"""The line above the rules of an instruction."""


@explains_options(OPTIMIZER_OPTIONS)
def infer_rules(  # noqa: PLR0913 - each is an option
    *, candidates: int = 10, rules: int = 10, examples: int = 20, max_bootstrapped: int = 4,
    max_labeled: int = 4, threshold: float | None = None, teacher: TeacherSource = None,
    proposer: Predict | None = None, model: str = "", seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Append to each step's instruction rules that a proposer induced from examples of the step.

    Each candidate's rules come from a sample of the step's good runs and of the labelled training
    examples, and are appended to the start version's instruction. The best of ``candidates`` such
    versions, of the bootstrapped demonstrations without rules, and of the start version wins, by
    the mean on the selection data; ties go to the earlier. A step whose proposal failed keeps its
    instruction; a candidate that changes nothing is not scored again.

    Needs ``(2 + candidates) * select`` rollouts, at most ``train`` for the bootstrap, and
    ``candidates`` proposals a step. DSPy's ``InferRules``, without its defects: its rules pile up
    on one shared signature, and it is scored on the examples that it was shown.

    Args:
        candidates: The number of versions with rules.
        rules: The most rules an instruction.
        examples: The number of examples that a proposer reads.
        max_bootstrapped: The number of successes of the bootstrap.
        max_labeled: The most demonstrations a step, labelled ones included.
        threshold: The score that counts as success; any score above 0 if ``None``.
        teacher: A version, a program or a model (``provider/model``) instead of the start version.
        proposer: The program that writes rules, instead of the shipped one.
        model: The proposer's model, instead of the program's own.
        seed: The seed of all random choices.

    Returns:
        An optimizer that requires the data part ``select``.
    """
    writer, proposers = proposer or inducer(), Proposers(model)
    options = {
        "candidates": candidates, "rules": rules, "examples": examples,
        "max_bootstrapped": max_bootstrapped, "max_labeled": max_labeled, "threshold": threshold,
        "teacher": teacher, "proposer": writer, "model": model, "seed": seed,
    }  # fmt: skip
    check_proposer("infer_rules", writer, "task", "present", "most", "examples")
    induction = _Induction(writer, proposers, rules, examples, seed)

    def plan(task: Task) -> Plan:
        rng = randomness(task.version, "infer_rules", seed)
        labelled = labelled_demos(task.program, task.data.train)
        _, best = yield from score_candidate(task, task.version, "start", Best(task.version))
        shown = sample_demos(rng, labelled, max_labeled)
        teaching = make_teacher(task.program, task.version, teacher, shown)
        bootstrap = Bootstrap(max_bootstrapped, 1, threshold)
        successes = yield from bootstrap_demos(
            task, teaching, task.data.train, bootstrap, "bootstrap", best, rng
        )
        chosen = fill_with_labelled(successes, labelled, max_labeled, rng)
        demos: DemoSet = {step: own for step, own in chosen.items() if own}
        material = functools.partial(
            fill_with_labelled, successes, labelled, len(task.data.train), rng
        )
        best = yield from induction.search(task, demos, material, candidates, best)
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        rollouts = (2 + candidates) * len(data.select) + len(data.train)
        return Bound(rollouts, candidates * len(program.predictors))

    requires = runs_on("select", "train", teacher=teacher)
    return plan_optimizer("infer_rules", options, plan, bound, SELECT, requires=requires)


@attrs.frozen
class _Induction:
    """The inducing of rules: the proposer, its settings, the most rules, the examples it reads."""

    writer: Predict
    proposers: Proposers
    rules: int
    examples: int
    seed: int

    def search(
        self,
        task: Task,
        demos: DemoSet,
        material: Callable[[], DemoSet],
        candidates: int,
        best: Best,
    ) -> Generator[Need, tuple[Trace, ...], Best]:
        """Score the demonstrations without rules, then with the rules that are induced from each
        draw of the material; return the best.
        """
        scored_trees = {task.version.tree}
        for number in range(candidates + 1):
            texts: Mapping[str, Proposal] = {}
            if number:
                texts = yield from self.induce(task, material(), number, best)
            note = f"rules induced from {self.examples} examples" if texts else "demonstrations"
            version = assemble(task.version, texts, demos, note)
            if version.tree not in scored_trees:
                scored_trees.add(version.tree)
                label, phase = f"cand[{number}]", f"rules {number} of {candidates}"
                _, best = yield from score_candidate(task, version, label, best, phase)
        return best

    def induce(
        self, task: Task, material: DemoSet, number: int, best: Best
    ) -> Generator[Need, tuple[Trace, ...], dict[str, Proposal]]:
        """Return each step's start instruction with the rules induced from its demonstrations,
        without the steps whose proposal failed.
        """
        rollouts = self._rollouts(task, material, number - 1)
        label = f"cand[{number}]/induce"
        traces = yield need_rollouts(
            label, rollouts.values(), best.version, score=best.score, phase="induce rules"
        )
        texts: dict[str, Proposal] = {}
        for (step, rollout), trace in zip(rollouts.items(), traces, strict=True):
            if proposal := proposal_of(rollout, trace):
                present = instruction_of(task.program, task.version, step)
                text = f"{present}\n\n{HEAD}\n{proposal.text}".strip()
                texts[step] = Proposal(text, proposal.rollout)
        return texts

    def _rollouts(self, task: Task, material: DemoSet, turn: int) -> dict[str, PlannedRollout]:
        rng = randomness(task.version, "infer_rules", self.seed, turn)
        rollouts = {}
        for name, step in task.program.predictors.items():
            if not material[name]:
                continue
            inputs = {
                "task": describe_task(step),
                "present": instruction_of(task.program, task.version, name),
                "most": self.rules,
                "examples": describe_examples(
                    demo.record for demo in _sample(material[name], self.examples, rng)
                ),
            }
            rollouts[name] = self.proposers.rollout(self.writer, inputs, turn)
        return rollouts


def _sample(demos: tuple[Demo, ...], most: int, rng: random.Random) -> list[Demo]:
    return rng.sample(demos, min(most, len(demos)))
