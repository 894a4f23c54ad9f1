"""OPRO and its extensions to programs: instructions from a scored history (Yang et al. 2023, arXiv
2309.03409).
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping

import attrs

from lmflow.data.dataset import Data
from lmflow.errors import ProgramError, near
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.library.proposers import climber, improver
from lmflow.optimizers.parts.checks import Requirement, check_examples, check_proposer, runs_on
from lmflow.optimizers.parts.instructions import (
    Proposal,
    Proposers,
    ScoredProposal,
    describe_attempts,
    describe_examples,
    describe_task,
    instruction_of,
    propose,
    with_instructions,
)
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import (
    SELECT,
    Plan,
    PlanOptimizer,
    Task,
    Traces,
    plan_optimizer,
)
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best, conclude, score_candidate
from lmflow.programs.program import Predict, Program
from lmflow.traces.trace import Trace

_HISTORY = 20  # attempts that a proposer is shown (Yang et al. 2023, section 5.1)
_EXAMPLES_SHOWN = 3  # training examples that a proposer is shown


@explains_options(OPTIMIZER_OPTIONS)
def opro(  # noqa: PLR0913 - each is an option
    step: str = "", *, steps: int = 10, breadth: int = 8, proposer: Predict | None = None,
    model: str = "", seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Search one step's instruction from a scored history.

    ``steps`` times, ``breadth`` instructions are proposed from the best 20 so far, the worst of
    them first, and three training examples; each is scored on the selection data, and the best
    wins. Needs ``(1 + steps * breadth) * select`` rollouts and ``steps * breadth`` proposals.
    Yang et al. 2023, arXiv 2309.03409, section 3.

    Args:
        step: The step's name; may be left out if the program has one predictor.
        steps: The number of rounds of proposals.
        breadth: The number of proposals a round.
        proposer: The program that writes instructions, instead of the shipped one.
        model: The proposer's model, instead of the program's own.
        seed: The seed of the examples that are shown.

    Returns:
        An optimizer that requires the data part ``select``; its plan raises ``ProgramError`` if the
        program has no such step.
    """
    writer, proposers = proposer or climber(temperature=1.0), Proposers(model)
    check_proposer("opro", writer, "task", "attempts", "examples")

    def plan(task: Task) -> Plan:
        name = resolve_step(task.program, step)
        mean, best = yield from score_candidate(task, task.version, "start", Best(task.version))
        present = Proposal(instruction_of(task.program, task.version, name))
        history = [ScoredProposal(present, mean)]
        for turn in range(steps):
            inputs = {
                "task": describe_task(task.program.predictors[name]),
                "attempts": describe_attempts(history, _HISTORY),
                "examples": _describe_some(task, randomness(task.version, "opro", seed, turn)),
            }
            samples = range(turn * breadth, (turn + 1) * breadth)
            rollouts = [proposers.rollout(writer, inputs, sample) for sample in samples]
            proposals = yield from propose(rollouts, f"step[{turn}]/propose", best)
            for at, proposal in enumerate(proposals):
                note = f"instruction of {name}"
                version = with_instructions(task.version, {name: proposal}, note)
                label = f"step[{turn}]/cand[{at}]"
                mean, best = yield from score_candidate(task, version, label, best)
                history.append(ScoredProposal(proposal, mean))
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        del program
        return Bound((1 + steps * breadth) * len(data.select), steps * breadth)

    options = {
        "step": step, "steps": steps, "breadth": breadth, "proposer": writer, "model": model,
        "seed": seed,
    }  # fmt: skip

    return plan_optimizer("opro", options, plan, bound, SELECT, requires=_has_step(step))


@explains_options(OPTIMIZER_OPTIONS)
def coordinate_ascent_opro(
    *, breadth: int = 10, depth: int = 3, temperature: float = 1.4, again: bool = True,
    model: str = "",
) -> PlanOptimizer:  # fmt: skip
    """Search one step's instruction at a time, each from its own scored history, with the other
    steps at their best so far.

    In each of ``depth`` rounds over the steps, ``breadth`` instructions of a step are scored inside
    the whole program on the selection data. The defaults are COPRO's. Needs ``breadth * depth *
    select`` rollouts for a program of one step; with ``again`` ``steps * breadth * depth * (depth +
    1) / 2 * select`` for more steps; and ``steps * (breadth * depth - 1)`` proposals.
    Opsahl-Ong et al. 2024, arXiv 2406.11695, section 3.3 (CA-OPRO); DSPy's COPRO.

    Args:
        breadth: The number of instructions a step and round.
        depth: The number of rounds over the steps.
        temperature: The temperature of the proposals.
        again: Whether all earlier instructions of a step are scored anew, since the other steps
            have changed (as COPRO does).
        model: The proposers' model, instead of the program's own.

    Returns:
        An optimizer that requires the data part ``select``.
    """
    improve, climb = improver(temperature=temperature), climber(temperature=temperature)
    proposers = Proposers(model)

    def plan(task: Task) -> Plan:
        ascent, best = _Ascent.start(task), Best(task.version)
        for name, step in task.program.predictors.items():
            inputs = {"task": describe_task(step), "present": ascent.chosen[name].text}
            rollouts = [proposers.rollout(improve, inputs, k) for k in range(breadth - 1)]
            proposals = yield from propose(rollouts, f"propose/{name}", best)
            ascent.pools[name] = [*proposals, ascent.chosen[name]]
        for turn in range(depth):
            for name, step in task.program.predictors.items():
                label = f"round[{turn}]/{name}"
                best = yield from ascent.score_pool(name, label, best, again=again)
                if turn < depth - 1:
                    attempts = describe_attempts(list(ascent.history[name].values()), breadth)
                    shown = {"task": describe_task(step), "attempts": attempts}
                    rollouts = [proposers.rollout(climb, shown, k) for k in range(breadth)]
                    proposals = yield from propose(rollouts, f"{label}/propose", best)
                    ascent.pools[name] = list(proposals)
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        steps = len(program.predictors)
        rounds = depth * (depth + 1) // 2 if again and steps > 1 else depth
        return Bound(steps * breadth * rounds * len(data.select), steps * (breadth * depth - 1))

    options = {
        "breadth": breadth, "depth": depth, "temperature": temperature, "again": again,
        "model": model,
    }  # fmt: skip
    name, requires = "coordinate_ascent_opro", runs_on("select")
    return plan_optimizer(name, options, plan, bound, SELECT, requires=requires)


@explains_options(OPTIMIZER_OPTIONS)
def module_opro(
    *, steps: int = 10, breadth: int = 8, model: str = "", seed: int = 0
) -> PlanOptimizer:
    """Search all steps' instructions side by side, each from its own history, in which the whole
    program's score stands for the step's own.

    ``steps`` times, ``breadth`` instructions are proposed for each step; the k-th of all steps are
    scored together on the selection data. Needs ``(1 + steps * breadth) * select`` rollouts, no
    more than ``opro`` for one step, and ``steps * breadth`` proposals a step.
    Opsahl-Ong et al. 2024, arXiv 2406.11695, section 3.3 (Module-Level OPRO).

    Args:
        steps: The number of rounds of proposals.
        breadth: The number of proposals a step and round.
        model: The proposers' model, instead of the program's own.
        seed: The seed of the examples that are shown.

    Returns:
        An optimizer that requires the data part ``select``.
    """
    writer, proposers = climber(temperature=1.0), Proposers(model)

    def plan(task: Task) -> Plan:
        predictors = task.program.predictors
        mean, best = yield from score_candidate(task, task.version, "start", Best(task.version))
        history: dict[str, list[ScoredProposal]] = {}
        for name in predictors:
            present = Proposal(instruction_of(task.program, task.version, name))
            history[name] = [ScoredProposal(present, mean)]
        for turn in range(steps):
            examples = _describe_some(task, randomness(task.version, "module_opro", seed, turn))
            samples = range(turn * breadth, (turn + 1) * breadth)
            pools: dict[str, tuple[Proposal, ...]] = {}
            for name, step in predictors.items():
                inputs = {
                    "task": describe_task(step),
                    "attempts": describe_attempts(history[name], _HISTORY),
                    "examples": examples,
                }
                rollouts = [proposers.rollout(writer, inputs, sample) for sample in samples]
                pools[name] = yield from propose(rollouts, f"step[{turn}]/propose/{name}", best)
            for at in range(max(map(len, pools.values()), default=0)):
                chosen = {name: pool[at % len(pool)] for name, pool in pools.items() if pool}
                note = f"instructions of round {turn + 1}"
                version = with_instructions(task.version, chosen, note)
                label = f"step[{turn}]/cand[{at}]"
                mean, best = yield from score_candidate(task, version, label, best)
                for name, proposal in chosen.items():
                    history[name].append(ScoredProposal(proposal, mean))
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        proposals = steps * breadth * len(program.predictors)
        return Bound((1 + steps * breadth) * len(data.select), proposals)

    options = {"steps": steps, "breadth": breadth, "model": model, "seed": seed}
    return plan_optimizer("module_opro", options, plan, bound, SELECT, requires=runs_on("select"))


def _has_step(step: str) -> Requirement:
    def requires(program: Program, traces: Traces) -> None:
        _ = resolve_step(program, step)
        check_examples(program, traces.data.select, "select")

    return requires


def resolve_step(program: Program, step: str) -> str:
    """Return the step of that name, or the only predictor if no name is given; raise
    ``ProgramError`` if the program has no such step.
    """
    predictors = program.predictors
    if step in predictors:
        return step
    if not step and len(predictors) == 1:
        return next(iter(predictors))
    msg = (
        f"which step? {program} has {', '.join(predictors) or 'no predictor'}."
        f"{near(step, predictors)} Name one, step=..."
    )
    raise ProgramError(msg)


@attrs.frozen(eq=False)
class _Ascent:
    """The state of a coordinate ascent: for each step the instruction chosen so far, the scored
    ones by text, and those to score next.
    """

    task: Task
    chosen: dict[str, Proposal]
    history: dict[str, dict[str, ScoredProposal]]
    pools: dict[str, list[Proposal]] = attrs.field(factory=dict)

    @classmethod
    def start(cls, task: Task) -> _Ascent:
        """Begin with the present instruction of each step, and nothing scored."""
        program, version = task.program, task.version
        present = {
            name: Proposal(instruction_of(program, version, name)) for name in program.predictors
        }
        return cls(task, present, {name: {} for name in program.predictors})

    def score_pool(
        self, step: str, label: str, best: Best, *, again: bool
    ) -> Generator[Need, tuple[Trace, ...], Best]:
        """Score a step's pool, and all earlier instructions of it if ``again``, with the other
        steps as chosen; then choose the step's best.
        """
        earlier: list[Proposal] = []
        if again and len(self.chosen) > 1:
            earlier = [attempt.proposal for attempt in self.history[step].values()]
        candidates = dict.fromkeys((*earlier, *self.pools[step]))
        for at, proposal in enumerate(candidates):
            texts: Mapping[str, Proposal] = self.chosen | {step: proposal}
            version = with_instructions(
                self.task.version, texts, "instructions by coordinate ascent"
            )
            mean, best = yield from score_candidate(self.task, version, f"{label}/cand[{at}]", best)
            attempts = self.history[step]
            if proposal.text not in attempts or mean > attempts[proposal.text].score:
                attempts[proposal.text] = ScoredProposal(proposal, mean)
        ranked = self.history[step].values()
        self.chosen[step] = max(ranked, key=lambda attempt: attempt.score).proposal
        return best


def _describe_some(task: Task, rng: random.Random) -> list[str]:
    """Describe a few training examples for a proposer."""
    rows = list(task.data.train)
    return describe_examples(rng.sample(rows, min(_EXAMPLES_SHOWN, len(rows))))
