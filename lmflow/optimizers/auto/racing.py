"""The last stage: a race of the few choices that promise most with the start version."""

from __future__ import annotations

from collections.abc import Generator

from lmflow.optimizers.auto.arms import Choice
from lmflow.optimizers.auto.blocks import score_blocks
from lmflow.optimizers.auto.exploring import best_by_draw, best_by_mean
from lmflow.optimizers.auto.schedule import Schedule
from lmflow.optimizers.auto.search import Planned, Search
from lmflow.optimizers.parts.needs import Need
from lmflow.traces.trace import Trace

OWN = "own"
"""The kind of an effect that a racing choice has beside those of its arms."""

_FIELD = 5
_DRAWS = 60
_SECOND_DRAWS = 40


def race(search: Search, schedule: Schedule) -> Generator[Need, tuple[Trace, ...], None]:
    """Spend the rest of the budget on the few choices that promise most and the start version.

    Each gets an effect of its own, since arms may do better or worse together than apart. Rows go
    to the two that lead under draws of the model, first to the one that was scored on fewer
    (top-two Thompson sampling: Russo 2016, arXiv 1602.08448).
    """
    field = [search.arms.zero, *_challengers(search)]
    for choice in field:
        search.give_own_effect(choice, OWN)
    turn = 0
    while search.purse.share < 1.0 and len(field) > 1:
        batch: list[Planned] = []
        for _ in range(max(1, schedule.width)):
            plan = _next_block(search, field, batch, f"race[{turn}]")
            if plan is not None:
                batch.append(plan)
                turn += 1
        if not batch:
            return
        yield from score_blocks(search, batch, f"race of {len(field)}")


def _challengers(search: Search) -> list[Choice]:
    """Return the choice of the highest expectation, two of those that were scored, and others that
    are best under draws of the model.
    """
    posterior, zero = search.fitted.posterior(exact=True), search.arms.zero
    scored = [choice for choice in search.summaries if choice != zero]
    scored.sort(key=lambda choice: -posterior.value(search.weights(choice)))
    field = dict.fromkeys([best_by_mean(search), *scored[:2]])
    for _ in range(_DRAWS):
        if len(field) >= _FIELD:
            break
        field.setdefault(best_by_draw(search, posterior.draw(search.rng)))
    return [choice for choice in field if choice != zero and not search.is_vetoed(choice)]


def _next_block(
    search: Search, field: list[Choice], batch: list[Planned], label: str
) -> Planned | None:
    """Plan a block for one of the two leaders of a draw; ``None`` if none has rows left, or no rows
    can be paid.
    """
    count = search.affordable_rows(batch)
    if not count:
        return None
    posterior = search.fitted.posterior()
    leaders: dict[Choice, None] = {}
    for _ in range(_SECOND_DRAWS):
        effects = posterior.draw(search.rng)
        values = [
            sum(effects[column] * weight for column, weight in search.weights(choice).items())
            for choice in field
        ]
        leaders.setdefault(field[values.index(max(values))])
        if len(leaders) > 1:
            break
    rows_of = {choice: len(search.scores.get(choice, {})) for choice in field}
    others = sorted(set(field) - leaders.keys(), key=rows_of.__getitem__)
    for choice in [*sorted(leaders, key=rows_of.__getitem__), *others]:
        taken = {row for plan in batch if plan.choice == choice for row in plan.rows}
        rows = [row for row in search.open_rows(choice) if row not in taken]
        if rows:
            return Planned(label, choice, tuple(rows[:count]))
    return None
