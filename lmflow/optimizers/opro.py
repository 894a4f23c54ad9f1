"""OPRO and its extensions to programs: instructions from a scored history (Yang et al. 2023, arXiv
2309.03409).
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping

from lmflow.data.dataset import Data
from lmflow.errors import ProgramError, near
from lmflow.library.proposers import climber, improver
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    Tried,
    attempts,
    instruction,
    proposed,
    shown,
    task_of,
    with_instructions,
)
from lmflow.optimizers.parts.plan import (
    SELECT,
    Bound,
    Need,
    Plan,
    PlanOptimizer,
    Task,
    randomness,
    plan_optimizer,
)
from lmflow.optimizers.parts.scoring import Best, concluded, tried
from lmflow.programs.program import Predict, Program
from lmflow.traces.trace import Trace

_HISTORY = 20  # attempts that a proposer is shown (Yang et al. 2023, section 5.1)
_SHOWN = 3


def opro(  # noqa: PLR0913 - each is an option
    step: str = "",
    *,
    steps: int = 10,
    breadth: int = 8,
    proposer: Predict | None = None,
    model: str = "",
    seed: int = 0,
) -> PlanOptimizer:
    """One step's instruction, from a scored history: ``steps`` times, ``breadth`` instructions are
    proposed from the best 20 so far, worst first, and three training examples; each is scored on
    the selection data, the best kept.

    ``step`` may be left out where the program has one predictor. ``model`` is the proposer's, the
    program's own by default. Asks for ``(1 + steps * breadth) * select`` rollouts and ``steps *
    breadth`` proposals.

    Yang et al. 2023, arXiv 2309.03409, section 3.
    """
    write = proposer or climber(temperature=1.0)

    def plan(task: Task) -> Plan:
        name = chosen_step(task.program, step)
        leaf = task.program.predictors[name]
        mean, best = yield from tried(task, task.version, "start", Best(task.version))
        history = [Tried(Proposal(instruction(task.program, task.version, name)), mean)]
        for turn in range(steps):
            rows = _rows(task, randomness(task.version, "opro", seed, turn))
            inputs = {
                "task": task_of(leaf),
                "attempts": attempts(history, _HISTORY),
                "examples": rows,
            }
            asked = [
                Proposers(model).asked(write, inputs, turn * breadth + k) for k in range(breadth)
            ]
            for at, it in enumerate((yield from proposed(asked, f"step[{turn}]/propose", best))):
                version = with_instructions(task.version, {name: it}, f"instruction of {name}")
                mean, best = yield from tried(task, version, f"step[{turn}]/cand[{at}]", best)
                history.append(Tried(it, mean))
        return (yield from concluded(best))

    def bound(program: Program, data: Data) -> Bound:
        del program
        return Bound((1 + steps * breadth) * len(data.select), steps * breadth)

    options = {
        "step": step,
        "steps": steps,
        "breadth": breadth,
        "proposer": write,
        "model": model,
        "seed": seed,
    }
    return plan_optimizer("opro", options, plan, bound, SELECT)


def coordinate_ascent_opro(
    *,
    breadth: int = 10,
    depth: int = 3,
    temperature: float = 1.4,
    again: bool = True,
    model: str = "",
) -> PlanOptimizer:
    """One step's instruction at a time, each from its own scored history, the other steps at their
    best so far: the coordinate ascent that the lecture begins with, which costs as many times
    more as there are steps.

    ``depth`` rounds over the steps; in each, ``breadth`` instructions of a step are scored inside
    the whole program on the selection data, with ``again`` also all earlier ones of that step,
    since the others changed (as COPRO does). The defaults are COPRO's. Asks for ``breadth * depth *
    select`` rollouts where there is one step, with ``again`` for ``steps * breadth * depth * (depth
    + 1) / 2 * select`` where there are more, and for ``steps * (breadth * depth - 1)`` proposals.

    Opsahl-Ong et al. 2024, arXiv 2406.11695, section 3.3 (CA-OPRO); DSPy's COPRO.
    """
    first, later, ask = (
        improver(temperature=temperature),
        climber(temperature=temperature),
        Proposers(model),
    )

    def plan(task: Task) -> Plan:
        steps, best = task.program.predictors, Best(task.version)
        held = {name: Proposal(instruction(task.program, task.version, name)) for name in steps}
        history: dict[str, dict[str, Tried]] = {name: {} for name in steps}
        pools: dict[str, list[Proposal]] = {}
        for name, leaf in steps.items():
            inputs = {"task": task_of(leaf), "present": held[name].text}
            asked = [ask.asked(first, inputs, k) for k in range(breadth - 1)]
            pools[name] = [*(yield from proposed(asked, f"propose/{name}", best)), held[name]]
        for turn in range(depth):
            for name, leaf in steps.items():
                label = f"round[{turn}]/{name}"
                earlier = (
                    [it.proposal for it in history[name].values()]
                    if again and len(steps) > 1
                    else []
                )
                choices = {it: held | {name: it} for it in (*earlier, *pools[name])}
                best = yield from _climbed(task, choices, history[name], label, best)
                held[name] = max(history[name].values(), key=lambda it: it.score).proposal
                if turn < depth - 1:
                    best_so_far = attempts(list(history[name].values()), breadth)
                    shown_to = {"task": task_of(leaf), "attempts": best_so_far}
                    asked = [ask.asked(later, shown_to, k) for k in range(breadth)]
                    pools[name] = list((yield from proposed(asked, f"{label}/propose", best)))
        return (yield from concluded(best))

    def bound(program: Program, data: Data) -> Bound:
        steps = len(program.predictors)
        rounds = depth * (depth + 1) // 2 if again and steps > 1 else depth
        return Bound(steps * breadth * rounds * len(data.select), steps * (breadth * depth - 1))

    options = {
        "breadth": breadth,
        "depth": depth,
        "temperature": temperature,
        "again": again,
        "model": model,
    }
    return plan_optimizer("coordinate_ascent_opro", options, plan, bound, SELECT)


def module_opro(
    *, steps: int = 10, breadth: int = 8, model: str = "", seed: int = 0
) -> PlanOptimizer:
    """All steps' instructions side by side, each from its own history, in which the whole program's
    score stands for the step's own: what the lecture settles on, since it costs no more than one
    step's OPRO.

    ``steps`` times, ``breadth`` instructions are proposed for each step; the k-th of all steps are
    scored together on the selection data. Asks for ``(1 + steps * breadth) * select`` rollouts and
    ``steps * breadth`` proposals a step.

    Opsahl-Ong et al. 2024, arXiv 2406.11695, section 3.3 (Module-Level OPRO).
    """
    write, ask = climber(temperature=1.0), Proposers(model)

    def plan(task: Task) -> Plan:
        leaves = task.program.predictors
        mean, best = yield from tried(task, task.version, "start", Best(task.version))
        history = {
            name: [Tried(Proposal(instruction(task.program, task.version, name)), mean)]
            for name in leaves
        }
        for turn in range(steps):
            rows = _rows(task, randomness(task.version, "module_opro", seed, turn))
            pools: dict[str, tuple[Proposal, ...]] = {}
            for name, leaf in leaves.items():
                inputs = {
                    "task": task_of(leaf),
                    "attempts": attempts(history[name], _HISTORY),
                    "examples": rows,
                }
                asked = [ask.asked(write, inputs, turn * breadth + k) for k in range(breadth)]
                pools[name] = yield from proposed(asked, f"step[{turn}]/propose/{name}", best)
            for at in range(max(map(len, pools.values()), default=0)):
                chosen = {name: pool[at % len(pool)] for name, pool in pools.items() if pool}
                version = with_instructions(
                    task.version, chosen, f"instructions of round {turn + 1}"
                )
                mean, best = yield from tried(task, version, f"step[{turn}]/cand[{at}]", best)
                for name, it in chosen.items():
                    history[name].append(Tried(it, mean))
        return (yield from concluded(best))

    def bound(program: Program, data: Data) -> Bound:
        return Bound(
            (1 + steps * breadth) * len(data.select), steps * breadth * len(program.predictors)
        )

    options = {"steps": steps, "breadth": breadth, "model": model, "seed": seed}
    return plan_optimizer("module_opro", options, plan, bound, SELECT)


def chosen_step(program: Program, step: str) -> str:
    """The step of that name; the one predictor where none is named. ``ProgramError`` otherwise."""
    known = program.predictors
    if step in known:
        return step
    if not step and len(known) == 1:
        return next(iter(known))
    msg = f"which step? {program} has {', '.join(known) or 'no predictor'}.{near(step, known)} Name one, step=..."
    raise ProgramError(msg)


def _climbed(
    task: Task,
    choices: Mapping[Proposal, Mapping[str, Proposal]],
    history: dict[str, Tried],
    label: str,
    best: Best,
) -> Generator[Need, tuple[Trace, ...], Best]:
    """Score each instruction of one step with the others held; ``history`` keeps the best score of
    each.
    """
    for at, (it, chosen) in enumerate(choices.items()):
        version = with_instructions(task.version, chosen, "instructions by coordinate ascent")
        mean, best = yield from tried(task, version, f"{label}/cand[{at}]", best)
        if it.text not in history or mean > history[it.text].score:
            history[it.text] = Tried(it, mean)
    return best


def _rows(task: Task, rng: random.Random) -> list[str]:
    """A few training examples as a proposer reads them."""
    return shown(rng.sample(list(task.data.train), min(_SHOWN, len(task.data.train))))
