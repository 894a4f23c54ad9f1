"""What a budget buys: how many rows, candidates and proposals, and which stages at all."""

from __future__ import annotations

import math

import attrs

from lmflow.optimizers.auto.search import BLOCK

FEWEST_PROPOSALS = 3
"""Fewer proposals are no search: the best of one or two is mostly the luckier."""

EXPLORE_UNTIL = 0.75
"""The share of the budget after which the best few race with the start."""

OPEN_UNTIL = 0.6
"""The share of the budget until which arms are opened: later ones would be scored too little."""

REFLECT_FROM, REFLECT_EVERY, REFLECT_UNTIL = 0.5, 0.08, 0.7
"""The shares of the budget between which instructions are rewritten, and from one to the next."""

REFLECTION_ROWS = 8
"""Runs that a rewriting reads. A third of all batches of three hold nothing that tells."""

_FIRST_ROWS = 20
_START_SHARE = 0.1
_MOST_START_SHARE = 0.3
_FEWEST_ROWS = 5
_HARVEST_SHARE = 0.04
_FEWEST_TRIES = 8
_FREE_SHARE = 0.15
_MOST_FREE = 8
_JOINT_BLOCKS = 2  # left for versions in which every step has something new
_WIDE = 40  # blocks of a search for each block that is scored side by side
_WIDEST = 8


@attrs.frozen
class Schedule:
    """The stages of a search and their sizes.

    Attributes:
        calls: The model calls of the whole search.
        rollouts: The executions of the program that these would buy.
        start: The rows that the start version is scored on first.
        tries: The runs of the start version that demonstrations are harvested from.
        free: The candidates that cost no proposal, such as labelled demonstrations.
        proposals: The most instructions that are proposed.
        reflections: The most instructions that are rewritten from runs.
        arms: The most arms of one kind for one step.
        blocks: The comparisons of ten rows in all.
        width: The blocks that are scored side by side.
    """

    calls: int
    rollouts: int
    start: int
    tries: int
    free: int
    proposals: int
    reflections: int
    arms: int
    blocks: int
    width: int

    @property
    def searches(self) -> bool:
        """True if instructions are proposed; else demonstrations alone are chosen."""
        return self.proposals > 0

    @property
    def written(self) -> int:
        """The most calls of proposers: proposals, rewritings, and the note on the data."""
        return self.proposals + self.reflections + 1 if self.searches else 0

    def __str__(self) -> str:
        head = f"{self.start} rows of the start version, {self.free} candidates at no proposal"
        comparisons = f"about {self.blocks} comparisons of {BLOCK} rows"
        if not self.searches:
            return (
                f"buys {head} and {comparisons}; fewer than {FEWEST_PROPOSALS} proposals is no"
                " search, so it will only choose demonstrations"
            )
        written = f"{self.proposals} proposals, {self.reflections} rewritings"
        return f"buys {head}, {written} and {comparisons}"


def plan_schedule(calls: int, rollouts: int, steps: int, rows: int, *, harvests: bool) -> Schedule:
    """Return what a number of calls buys.

    Args:
        calls: The model calls.
        rollouts: The scored executions of the program that they buy.
        steps: The model steps of the program.
        rows: The examples that versions can be scored on.
        harvests: Whether good runs for demonstrations are looked for before anything is compared.
    """
    start = max(_FIRST_ROWS, round(_START_SHARE * rollouts))
    start = min(start, max(_FEWEST_ROWS, round(_MOST_START_SHARE * rollouts)), rows)
    tries = max(_FEWEST_TRIES, round(_HARVEST_SHARE * rollouts)) if harvests else 0
    tries = min(tries, round(_START_SHARE * rollouts))
    blocks = max(0, rollouts - start - tries) // BLOCK
    free = min(_MOST_FREE, max(min(2, blocks), round(_FREE_SHARE * rollouts / BLOCK)))
    arms = max(2, round(1 + 0.5 * math.sqrt(rollouts / (2 * max(1, steps)))))
    # A comparison tells of one arm a step at once, so many steps are worth as many proposals more;
    # one proposal for each of them costs hardly more than a rollout.
    rounds = max(0, blocks - free) // 2
    if steps >= FEWEST_PROPOSALS and blocks > free:
        rounds, free = max(1, rounds), max(1, min(free, blocks - _JOINT_BLOCKS))
    proposals = steps * min(arms - 1, rounds)
    if proposals < FEWEST_PROPOSALS:
        proposals = 0
    reflections = math.ceil((REFLECT_UNTIL - REFLECT_FROM) / REFLECT_EVERY) if proposals else 0
    width = max(1, min(_WIDEST, blocks // _WIDE))
    return Schedule(
        calls, rollouts, start, tries, free, proposals, reflections, arms, blocks, width
    )
