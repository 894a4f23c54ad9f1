"""Votes over samples: self-consistency, all at once or until a rule says that the vote is decided."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import attrs
import toolz

from lmflow.errors import UnknownInput
from lmflow.library.search.samples import Attempt, Search, drawn, outputs_of, positive
from lmflow.programs.program import Program, check_programs, take
from lmflow.signatures.signature import Field
from lmflow.values.functions import Function, function_of
from lmflow.values.record import Record, canonical

Of = str | Callable[[Mapping[str, Any]], Any]


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class SelfConsistency(Search):
    """A program sampled up to ``n`` times and voted on; ``stop`` names the rule that ends it early."""

    n: int
    width: int
    by: str | Function
    weight: str | Function
    share: str
    stop: str
    level: float

    def __attrs_post_init__(self) -> None:
        signature = self.part.signature
        if self.share:
            signature = attrs.evolve(
                signature, outputs=(*signature.outputs, Field(name=self.share, type=float))
            )
        object.__setattr__(self, "signature", signature)
        _ = self.steps

    @property
    def runs(self) -> int:
        """The most runs of its part."""
        return self.n

    async def body(self, inputs: Record) -> Record:
        """The first sample that says what most say; what was said first where they tie."""
        if self.n == 1:
            plain: Record = await take(self.part, inputs)
            return self._with_share(plain, 1.0)
        attempts: list[Attempt] = []
        while len(attempts) < self.n:
            stop = min(self.n, len(attempts) + self.width)
            wave = await drawn(self.part, inputs, len(attempts), stop)
            attempts += wave
            if self._decided([self._vote(attempt) for attempt in attempts], self.n - len(attempts)):
                break
        found = outputs_of(attempts)
        winner, share = elected(
            [vote_of(it, self.by) for it in found], [self._weight(it) for it in found]
        )
        return self._with_share(found[winner], share)

    def _vote(self, attempt: Attempt) -> str | None:
        return None if attempt.outputs is None else vote_of(attempt.outputs, self.by)

    def _weight(self, outputs: Record) -> float:
        if isinstance(self.weight, Function):
            return float(self.weight.call(outputs))
        return float(outputs[self.weight]) if self.weight else 1.0

    def _decided(self, votes: Sequence[str | None], left: int) -> bool:
        if self.stop == "unanimous":
            return unanimous(votes[-self.width :]) and len(votes) >= self.width
        if self.stop == "posterior":
            return leads(votes, self.level)
        return self.stop == "settled" and settled(votes, left)

    def _with_share(self, outputs: Record, share: float) -> Record:
        return outputs | {self.share: share} if self.share else outputs


def self_consistency(  # noqa: PLR0913 - each is a choice of its own
    program: Program, *, n: int, key: Of = "", weight: Of = "", width: int | None = None, share: str = "",
    version: str | None = None,
) -> SelfConsistency:  # fmt: skip
    """What most of ``n`` samples of a program say: the outputs of the first sample that says it.

    Cost: ``n`` runs of the program, all side by side; with a ``width`` below ``n`` they come in
    waves of that many, and end when no other answer can overtake the leader: the same answer for
    fewer runs (votes with ``weight`` go on).

    ``key`` is the output, or the function of the outputs, that votes are compared by: by default
    the last output. Texts are compared without case and outer space. ``weight`` is the output or
    function that says how much a vote counts. ``share`` names an output to add: the winner's share
    of the votes, for a ``cascade`` to accept by. Samples that fail don't vote; where all do, the
    first failure is raised. Ties go to what was said first. ``n=1`` is the program itself.
    ``version`` identifies functions whose source doesn't.

    Wang et al. 2022, arXiv 2203.11171, section 2; weighted by a verifier: Li et al. 2022, arXiv
    2206.02336.
    """
    stop = "never" if weight else "settled"
    ways = _way(program, key, version), _way(program, weight, version)
    wave = positive("n", n) if width is None else positive("width", width)
    return SelfConsistency(program, n, wave, *ways, share, stop, 0.0)


def adaptive_consistency(  # noqa: PLR0913 - each is a choice of its own
    program: Program, *, n: int, level: float = 0.95, key: Of = "", width: int = 1, share: str = "",
    version: str | None = None,
) -> SelfConsistency:  # fmt: skip
    """``self_consistency`` that stops once the leader is the majority with probability ``level``.

    Cost: at most ``n`` runs of the program, in waves of ``width``. With ``a`` and ``b`` votes for
    the first two it stops when ``P(Beta(a + 1, b + 1) > 1/2) >= level``, reckoned exactly as a
    binomial tail; so where all agree after ``ceil(-log2(1 - level)) - 1`` runs, 4 at 0.95.

    Aggarwal et al. 2023, arXiv 2305.11860, section 3 (the Beta stopping criterion).
    """
    if not 0.5 < level < 1:  # noqa: PLR2004 - below one half every leader is the majority
        msg = f"level must be above 0.5 and below 1, found {level}"
        raise ValueError(msg)
    by = _way(program, key, version)
    return SelfConsistency(
        program, positive("n", n), positive("width", width), by, "", share, "posterior", level
    )


def early_stopping_consistency(  # noqa: PLR0913 - each is a choice of its own
    program: Program,
    *,
    n: int,
    window: int = 5,
    key: Of = "",
    share: str = "",
    version: str | None = None,
) -> SelfConsistency:
    """``self_consistency`` that draws windows of samples and stops after one in which all say the
    same.

    Cost: at most ``n`` runs of the program, and ``min(n, window)`` where all agree. A window with a
    failed sample isn't unanimous.

    Li et al. 2024, arXiv 2401.10480, section 3.
    """
    by = _way(program, key, version)
    return SelfConsistency(
        program, positive("n", n), positive("window", window), by, "", share, "unanimous", 0.0
    )


def vote_of(outputs: Mapping[str, Any], key: str | Function = "") -> str:
    """What outputs say, for comparison: of their last field, or of ``key``; texts without case and
    outer space.
    """
    said = key.call(outputs) if isinstance(key, Function) else outputs[key or list(outputs)[-1]]
    return canonical(" ".join(said.casefold().split()) if isinstance(said, str) else said)


def elected(votes: Sequence[str], weights: Sequence[float] | None = None) -> tuple[int, float]:
    """The position of the first vote for the winner, and the winner's share of the weight. Ties go
    to the earlier.
    """
    pairs = list(zip(votes, weights or [1.0] * len(votes), strict=True))
    totals = {
        vote: math.fsum(weight for _, weight in found)
        for vote, found in toolz.groupby(0, pairs).items()
    }
    winner = max(totals, key=lambda vote: totals[vote])
    whole = math.fsum(totals.values())
    return votes.index(winner), totals[winner] / whole if whole else 0.0


def leads(votes: Sequence[str | None], level: float) -> bool:
    """Whether ``P(Beta(a + 1, b + 1) > 1/2) >= level`` for the counts ``a`` and ``b`` of the first
    two.
    """
    a, b = _first_two(votes)
    n = a + b + 1  # Beta(a + 1, b + 1) above 1/2 is Binomial(a + b + 1, 1/2) at most a
    return Fraction(sum(math.comb(n, i) for i in range(a + 1)), 2**n) >= Fraction(level)


def unanimous(votes: Sequence[str | None]) -> bool:
    """Whether all say the same."""
    return None not in votes and len(set(votes)) == 1


def settled(votes: Sequence[str | None], left: int) -> bool:
    """Whether no answer can overtake the leader, or draw level, with the votes that are left."""
    a, b = _first_two(votes)
    return a - b > left


def _first_two(votes: Sequence[str | None]) -> tuple[int, int]:
    counts = [
        count for _, count in Counter(vote for vote in votes if vote is not None).most_common(2)
    ]
    return (*counts, 0, 0)[0], (*counts, 0, 0)[1]


def _way(program: Program, of: Of, version: str | None) -> str | Function:
    """How votes are compared or weighed: by an output that the program has, or by a function."""
    check_programs(program)
    names = tuple(field.name for field in program.signature.outputs)
    if not isinstance(of, str):
        return function_of(of, version)
    if of and of not in names:
        raise UnknownInput(f"the vote on {program}", of, names)
    return of
