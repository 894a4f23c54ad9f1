"""Rules induced from examples, appended to the instructions."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping

from lmflow.data.dataset import Data
from lmflow.library.proposers import inducer
from lmflow.optimizers.few_shot import Who, taught
from lmflow.optimizers.parts.demos import (
    Bootstrap,
    Demo,
    DemoSet,
    bootstrapped,
    filled,
    labelled,
    sampled,
)
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    assembled,
    instruction,
    proposal_of,
    shown,
    task_of,
)
from lmflow.optimizers.parts.plan import (
    SELECT,
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
from lmflow.optimizers.parts.scoring import Best, concluded, tried
from lmflow.programs.program import Predict, Program
from lmflow.traces.trace import Trace

HEAD = "Follow these rules:"


def infer_rules(  # noqa: PLR0913 - each is an option
    *, candidates: int = 10, rules: int = 10, examples: int = 20, max_bootstrapped: int = 4, max_labeled: int = 4,
    threshold: float | None = None, teacher: Who = None, proposer: Predict | None = None, model: str = "",
    seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Each step's instruction with rules appended that a proposer induced from examples of the
    step: the best of ``candidates`` such versions, of the bootstrapped demonstrations without
    rules, and of the start version, by the mean on the selection data; ties go to the earlier.

    Each candidate's rules, at most ``rules``, come from a sample of ``examples`` of what the step
    did well and of the labelled training examples, always appended to the start's instruction. A
    step whose proposal failed keeps that; a candidate that changes nothing isn't scored again.
    ``model`` is the proposer's. Asks for ``(2 + candidates) * select`` rollouts, those of the
    bootstrap (at most ``train``), and ``candidates`` proposals a step.

    DSPy's ``InferRules``, without its defects: its rules pile up on one shared signature, and it is
    scored on what it was shown.
    """
    write, ask = proposer or inducer(), Proposers(model)
    options = {
        "candidates": candidates, "rules": rules, "examples": examples, "max_bootstrapped": max_bootstrapped,
        "max_labeled": max_labeled, "threshold": threshold, "teacher": teacher, "proposer": write, "model": model,
        "seed": seed,
    }  # fmt: skip

    def plan(task: Task) -> Plan:
        rng, labels = (
            randomness(task.version, "infer_rules", seed),
            labelled(task.program, task.data.train),
        )
        _, best = yield from tried(task, task.version, "start", Best(task.version))
        teach = taught(task.program, task.version, teacher, sampled(rng, labels, max_labeled))
        how = Bootstrap(max_bootstrapped, 1, threshold)
        boot = yield from bootstrapped(task, teach, task.data.train, how, "bootstrap", best, rng)
        found = filled(boot, labels, max_labeled, rng)
        demos: DemoSet = {step: held for step, held in found.items() if held}
        seen = {task.version.tree}
        for turn in range(-1, candidates):
            texts: Mapping[str, Proposal] = {}
            if turn >= 0:
                asked = _asked(task, filled(boot, labels, len(task.data.train), rng), turn)
                texts = yield from _ruled(task, asked, turn, best)
            version = assembled(
                task.version,
                texts,
                demos,
                f"rules induced from {examples} examples" if texts else "demonstrations",
            )
            if version.tree not in seen:
                seen.add(version.tree)
                _, best = yield from tried(
                    task, version, f"cand[{turn + 1}]", best, f"rules {turn + 1} of {candidates}"
                )
        return (yield from concluded(best))

    def _asked(task: Task, shows: DemoSet, turn: int) -> dict[str, PlannedRollout]:
        rng = randomness(task.version, "infer_rules", seed, turn)
        return {
            step: ask.asked(write, {
                "task": task_of(leaf), "present": instruction(task.program, task.version, step), "most": rules,
                "examples": shown(demo.record for demo in _some(shows[step], examples, rng)),
            }, turn)
            for step, leaf in task.program.predictors.items() if shows[step]
        }  # fmt: skip

    def bound(program: Program, data: Data) -> Bound:
        return Bound(
            (2 + candidates) * len(data.select) + len(data.train),
            candidates * len(program.predictors),
        )

    return plan_optimizer("infer_rules", options, plan, bound, SELECT)


def _ruled(
    task: Task, asked: Mapping[str, PlannedRollout], turn: int, best: Best
) -> Generator[Need, tuple[Trace, ...], dict[str, Proposal]]:
    """Per step the start's instruction with the rules that were induced; without the steps whose
    proposal failed.
    """
    label = f"cand[{turn + 1}]/induce"
    traces = yield need_rollouts(label, asked.values(), best.version, score=best.score, phase="induce rules")
    found: dict[str, Proposal] = {}
    for (step, rollout), trace in zip(asked.items(), traces, strict=True):
        if it := proposal_of(rollout, trace):
            own = instruction(task.program, task.version, step)
            found[step] = Proposal(f"{own}\n\n{HEAD}\n{it.text}".strip(), it.rollout)
    return found


def _some(demos: tuple[Demo, ...], most: int, rng: random.Random) -> list[Demo]:
    return rng.sample(demos, min(most, len(demos)))
