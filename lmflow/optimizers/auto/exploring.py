"""Exploration: blocks of rows for the choices that a draw of the model promises most of, new arms
where a draw of a new one promises more, and instructions rewritten from runs.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import attrs

from lmflow.data.dataset import example_id
from lmflow.optimizers.auto.arms import DEMOS, INSTRUCTION, Choice, Coordinate
from lmflow.optimizers.auto.blocks import score_blocks
from lmflow.optimizers.auto.describing import redescribe, rewrites_descriptions
from lmflow.optimizers.auto.material import new_demos
from lmflow.optimizers.auto.proposing import Blamed, Writer, blamed_step, propose_arms, reflect
from lmflow.optimizers.auto.schedule import (
    EXPLORE_UNTIL,
    OPEN_UNTIL,
    REFLECT_EVERY,
    REFLECT_FROM,
    REFLECT_UNTIL,
    REFLECTION_ROWS,
    Schedule,
)
from lmflow.optimizers.auto.search import Planned, Search
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.scoring import Best, ScoredRollout, score_version
from lmflow.traces.trace import Trace

_DRAWN = (INSTRUCTION, DEMOS)  # the kinds of which there is always more
_HALF = 0.5
_LEAST_GAIN = 0.01  # a promise below this is not worth the second half of the budget
_FEWEST_BLOCKS = 3  # fewer say too little to give up
_JOINT_BLOCKS = 2  # the first blocks of several steps, in which each has something new
_PATIENCE = 20  # draws until one is found that has rows left


@attrs.define(eq=False)
class Exploration:
    """The state of an exploration: the proposals that are left, the share of the budget at which an
    instruction is rewritten next, and the number of blocks so far.
    """

    search: Search
    writer: Writer
    schedule: Schedule
    proposals: int
    next_reflection: float = REFLECT_FROM
    turn: int = 0
    checked: bool = False


def explore(exploration: Exploration) -> Generator[Need, tuple[Trace, ...], bool]:
    """Spend the budget up to the race; return whether anything promises to be better than the
    start.
    """
    search = exploration.search
    while search.purse.share < EXPLORE_UNTIL:
        if not exploration.checked and _may_give_up(exploration):
            exploration.checked = True
            if not _promises(search):
                return False
        choices = yield from _draw_choices(exploration)
        batch = _plan_batch(exploration, choices)
        if not batch:
            return True
        share = f"exploration, {search.purse.share:.0%} of the budget spent"
        yield from score_blocks(search, batch, share)
        if _reflection_is_due(exploration):
            exploration.next_reflection += REFLECT_EVERY
            yield from _reflect(exploration)
    return True


def best_by_mean(search: Search) -> Choice:
    """Return the choice of the highest expectation, scored or not."""
    mean = search.fitted.posterior().mean
    return tuple(_best_arm(own, mean) for own in search.arms.coordinates)


def best_by_draw(search: Search, effects: Sequence[float]) -> Choice:
    """Return the choice that is best under a draw of the effects."""
    return tuple(_best_arm(own, effects) for own in search.arms.coordinates)


def _best_arm(coordinate: Coordinate, effects: Sequence[float]) -> int:
    values = _values(coordinate, effects)
    return values.index(max(values))


def _values(coordinate: Coordinate, effects: Sequence[float]) -> list[float]:
    return [
        sum(effects[column] * weight for column, weight in arm.weights.items())
        for arm in coordinate.arms
    ]


def _may_give_up(exploration: Exploration) -> bool:
    return exploration.search.purse.share > _HALF and exploration.turn >= _FEWEST_BLOCKS


def _promises(search: Search) -> bool:
    """Return whether the best choice may be better than the start by more than a trifle."""
    weights = search.weights(best_by_mean(search))
    mean, deviation = search.fitted.posterior().contrast(weights) if weights else (0.0, 0.0)
    return mean + deviation >= _LEAST_GAIN


def _draw_choices(
    exploration: Exploration,
) -> Generator[Need, tuple[Trace, ...], list[Choice]]:
    """Draw a choice for each block that is scored side by side (Thompson 1933); a draw may open one
    arm, and all instructions that are wanted are written side by side.
    """
    search = exploration.search
    drawn = [_draw(exploration) for _ in range(exploration.schedule.width)]
    wanted = [(at, opens) for at, (_, opens) in enumerate(drawn) if opens is not None]
    choices = [choice for choice, _ in drawn]
    requests: list[tuple[int, int]] = []
    for at, opens in wanted:
        if search.arms.coordinates[opens].kind == INSTRUCTION:
            if exploration.proposals > 0:
                exploration.proposals -= 1
                requests.append((at, opens))
        else:
            choices[at] = _with_arm(choices[at], opens, new_demos(search, opens))
    if requests:
        label = f"propose[{exploration.turn}]"
        positions = yield from propose_arms(
            search, exploration.writer, [opens for _, opens in requests], label
        )
        for (at, opens), position in zip(requests, positions, strict=True):
            choices[at] = _with_arm(choices[at], opens, position)
    return choices


def _draw(exploration: Exploration) -> tuple[Choice, int | None]:
    """Draw a choice, and the coordinate in which a new arm promises more than all that there are;
    ``None`` if there is no such.
    """
    search = exploration.search
    effects = search.fitted.posterior().draw(search.rng)
    if exploration.turn < _JOINT_BLOCKS and len(search.task.program.predictors) > 1:
        return _all_new(search, effects), None
    choice, opens = best_by_draw(search, effects), None
    may_open = search.purse.share < OPEN_UNTIL
    for at, coordinate in enumerate(search.arms.coordinates):
        if opens is None and may_open and _has_room(exploration, coordinate):
            mean = effects[search.fitted.model.mean_of[coordinate.kind]]
            promise = mean + search.rng.gauss(0, search.fitted.scales.effects[coordinate.kind])
            if promise > _values(coordinate, effects)[choice[at]]:
                opens = at
    return choice, opens


def _all_new(search: Search, effects: Sequence[float]) -> Choice:
    """Return the best choice under a draw in which every step has new instructions and
    demonstrations, as far as there are any. It differs most from the start, so it tells most of
    what is to be gained at all.
    """
    return tuple(_best_new_arm(own, effects) for own in search.arms.coordinates)


def _best_new_arm(coordinate: Coordinate, effects: Sequence[float]) -> int:
    values = _values(coordinate, effects)[1:]
    if not values or coordinate.kind not in _DRAWN:
        return 0
    return 1 + values.index(max(values))


def _has_room(exploration: Exploration, coordinate: Coordinate) -> bool:
    if coordinate.kind == INSTRUCTION and exploration.proposals <= 0:
        return False
    return coordinate.kind in _DRAWN and len(coordinate.arms) <= exploration.schedule.arms


def _with_arm(choice: Choice, at: int, position: int | None) -> Choice:
    return choice if position is None else (*choice[:at], position, *choice[at + 1 :])


def _plan_batch(exploration: Exploration, choices: Sequence[Choice]) -> list[Planned]:
    """Plan a block for each choice; one that has no rows left gives way to another draw."""
    search, batch = exploration.search, list[Planned]()
    for choice in choices:
        for _ in range(_PATIENCE):
            plan = search.plan_block(choice, f"block[{exploration.turn}]", batch)
            if plan.rows:
                batch.append(plan)
                exploration.turn += 1
                break
            choice = best_by_draw(search, search.fitted.posterior().draw(search.rng))  # noqa: PLW2901
    return batch


def _reflection_is_due(exploration: Exploration) -> bool:
    share = exploration.search.purse.share
    wanted = exploration.schedule.reflections > 0 and len(exploration.search.task.data.train) > 0
    return wanted and exploration.next_reflection < share < REFLECT_UNTIL


def _reflect(exploration: Exploration) -> Generator[Need, tuple[Trace, ...], None]:
    """Run the best choice on some training examples, have an instruction rewritten from what went
    wrong, and score it on a block.
    """
    search, turn = exploration.search, exploration.turn
    choice = best_by_mean(search)
    if search.is_vetoed(choice):
        return
    rows = yield from _runs_to_read(search, choice, f"reflect[{turn}]")
    if all((row.value or 0.0) >= 1.0 for row in rows):
        return
    blamed = Blamed(blamed_step(search, choice, rows), rows)
    rewrite = redescribe if rewrites_descriptions(search, blamed.step) else reflect
    label = f"reflect[{turn}]/write"
    rewritten = yield from rewrite(search, exploration.writer, choice, blamed, label)
    if rewritten is not None:
        batch = [search.plan_block(rewritten, f"reflect[{turn}]/block")]
        if batch[0].rows:
            yield from score_blocks(search, batch, "the rewritten instruction")


def _runs_to_read(
    search: Search, choice: Choice, label: str
) -> Generator[Need, tuple[Trace, ...], list[ScoredRollout]]:
    """Run a choice on some training examples, unless it has run there; scores on rows that versions
    are chosen by count.
    """
    hidden, version = search.arms.hidden(choice), search.arms.version(choice)
    train = list(search.task.data.train)
    rows = [row for row in train if example_id(row) not in hidden] or train
    some = search.rng.sample(rows, min(REFLECTION_ROWS, len(rows)))
    fresh = [row for row in some if (version.tree, example_id(row)) not in search.runs]
    if fresh:
        unknown, phase = Best(search.task.version), "runs to learn from"
        scores = yield from score_version(search.task, version, fresh, label, unknown, phase)
        search.note_runs(version, scores.rows)
        search.learn(choice, search.scores_by_row(choice, scores.rows))
    return [search.runs[version.tree, example_id(row)] for row in some]
