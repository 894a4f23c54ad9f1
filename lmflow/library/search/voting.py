"""Votes over samples: all at once, or in waves until a rule says that the vote is decided."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

import attrs

from lmflow.errors.composing import UnknownInput
from lmflow.interpreter.choices import Decision
from lmflow.library.checks import check_positive
from lmflow.library.composed import set_signature
from lmflow.library.search.sampling import Attempt, Search, draw_samples, successes
from lmflow.programs.decisions import optional_paths
from lmflow.programs.election import election
from lmflow.programs.program import Predict, Program, check_programs, pending_of
from lmflow.signatures.choices import Choice, choice_of
from lmflow.signatures.fields import Field
from lmflow.values.functions import Function, function_of
from lmflow.values.record import Record, canonical

OutputOrFunction = str | Callable[[Mapping[str, Any]], Any]
"""The name of an output, or a function of the outputs."""

StopRule = Literal["never", "settled", "posterior", "unanimous"]
"""When a vote ends before all samples are drawn.

``settled``: no other answer can overtake the leader. ``posterior``: the leader is the majority with
a given probability. ``unanimous``: a whole wave says the same.
"""


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class SelfConsistency(Search):
    """A program sampled up to ``n`` times, whose samples vote; see ``self_consistency``.

    ``key`` is what votes are compared by, ``weight`` what each counts, ``share`` the output to add
    for the winner's share, ``level`` the probability that the rule ``posterior`` waits for.
    """

    n: int
    width: int
    key_of: str | Function
    weight: str | Function
    share: str
    stop: StopRule
    level: float

    def __attrs_post_init__(self) -> None:
        signature = self.part.signature
        if self.share:
            outputs = (*signature.outputs, Field(name=self.share, type=float))
            signature = attrs.evolve(signature, outputs=outputs)
        set_signature(self, signature)

    @property
    def runs(self) -> int:
        """The most runs of its part."""
        return self.n

    async def body(self, inputs: Record) -> Record:
        """Return the first sample that says what most say; on a tie what was said first."""
        if self.n == 1:
            outputs: Record = await pending_of(self.part, inputs)
            return self._with_share(outputs, 1.0)
        decision = await self._decision()
        overlay = {} if decision is None else dict.fromkeys(optional_paths(self.part))
        attempts: list[Attempt] = []
        while len(attempts) < self.n and not self._is_decided(attempts, decision):
            stop = min(self.n, len(attempts) + self.width)
            attempts += await draw_samples(self.part, inputs, len(attempts), stop, overlay)
        samples = successes(attempts)
        await self._decision(samples)
        if decision is not None:
            return self._chosen(decision, samples)
        votes = [vote_of(sample, self.key_of) for sample in samples]
        winner, share = elected(votes, [self._weight_of(sample) for sample in samples])
        return self._with_share(samples[winner], share)

    @property
    def choice(self) -> Choice | None:
        """The choice that is voted on, ``None`` unless the part is a step that chooses by it."""
        choice = choice_of(self.part.signature) if isinstance(self.part, Predict) else None
        if choice is None or self.weight:
            return None
        key = self.key_of or self.part.signature.outputs[-1].name
        return choice if key == choice.name else None

    async def _decision(self, samples: Sequence[Record] = ()) -> Decision | None:
        """Return the decision by which the version counts votes; tell watchers the votes."""
        choice = self.choice
        if choice is None or not isinstance(self.part, Predict):
            return None
        votes = [choice.label(sample[choice.name]) for sample in samples]
        decision: Decision | None = await election(self.part, votes)
        return decision

    def _chosen(self, decision: Decision, samples: Sequence[Record]) -> Record:
        """Return the first sample with the value that a decision chooses; else the first one with
        that value in it.
        """
        choice = decision.choice
        votes = [choice.label(sample[choice.name]) for sample in samples]
        label = decision.elected(votes)
        at = votes.index(label) if label in votes else 0
        outputs = samples[at] | {choice.name: choice.value(label)}
        return self._with_share(outputs, votes.count(label) / len(votes))

    def _is_decided(self, attempts: Sequence[Attempt], decision: Decision | None) -> bool:
        if decision is not None:
            samples = [each.outputs for each in attempts if each.outputs is not None]
            choice = decision.choice
            votes = [choice.label(sample[choice.name]) for sample in samples]
            return decision.is_settled(votes, self.n - len(attempts))
        votes_or_none = [self._vote(attempt) for attempt in attempts]
        match self.stop:
            case "never":
                return False
            case "unanimous":
                wave = votes_or_none[-self.width :]
                return len(votes_or_none) >= self.width and is_unanimous(wave)
            case "posterior":
                return bool(votes_or_none) and leader_is_majority(votes_or_none, self.level)
            case "settled":
                return is_settled(votes_or_none, self.n - len(votes_or_none))

    def _vote(self, attempt: Attempt) -> str | None:
        return None if attempt.outputs is None else vote_of(attempt.outputs, self.key_of)

    def _weight_of(self, outputs: Record) -> float:
        if isinstance(self.weight, Function):
            return float(self.weight.call(outputs))
        return float(outputs[self.weight]) if self.weight else 1.0

    def _with_share(self, outputs: Record, share: float) -> Record:
        return outputs | {self.share: share} if self.share else outputs


def self_consistency(  # noqa: PLR0913 - each is a choice of its own
    program: Program,
    *,
    n: int,
    key: OutputOrFunction = "",
    weight: OutputOrFunction = "",
    width: int | None = None,
    share: str = "",
    version: str | None = None,
) -> SelfConsistency:
    """Sample a program ``n`` times and return the outputs of the first sample that most agree with.

    Cost: ``n`` runs of the program, all side by side. With a ``width`` below ``n`` samples come in
    waves of that many and end when no other answer can overtake the leader: the same answer for
    fewer runs (votes with ``weight`` go on). ``n=1`` is the program itself.

    If the program is a step with one ``bool`` or ``Literal`` output that asks for no logprobs, its
    ``step.threshold`` and ``step.weights`` are applied to the shares of the votes, and
    ``fit_thresholds`` fits them to recorded votes.

    Texts are compared without case and outer space. Samples that fail don't vote; if all do, the
    first failure is raised. On a tie what was said first wins.

    Args:
        program: The program to sample.
        n: The most samples, at least 1.
        key: The output, or function of the outputs, that votes are compared by; by default the last
            output.
        weight: The output or function that says how much a vote counts; by default each counts 1.
        width: How many samples are drawn at once, at least 1; by default ``n``.
        share: The name of an output to add: the winner's share of the votes, for a ``cascade`` to
            accept by.
        version: Identifies functions whose source doesn't.

    Returns:
        A program with the signature of ``program`` and the output ``share`` if that is named.

    Raises:
        ValueError: ``n`` or ``width`` is less than 1.
        UnknownInput: ``program`` has no output ``key`` or ``weight``.

    Wang et al. 2022, arXiv 2203.11171, section 2; weighted by a verifier: Li et al. 2022, arXiv
    2206.02336.
    """
    stop: StopRule = "never" if weight else "settled"
    key_of, weight_of = _reader(program, key, version), _reader(program, weight, version)
    check_positive("n", n)
    wave = n if width is None else check_positive("width", width)
    return SelfConsistency(program, n, wave, key_of, weight_of, share, stop, 0.0)


def adaptive_consistency(  # noqa: PLR0913 - each is a choice of its own
    program: Program,
    *,
    n: int,
    level: float = 0.95,
    key: OutputOrFunction = "",
    width: int = 1,
    share: str = "",
    version: str | None = None,
) -> SelfConsistency:
    """Let samples vote until the leader is the majority with probability ``level``.

    Cost: at most ``n`` runs of the program, in waves of ``width``. With ``a`` and ``b`` votes for
    the first two it stops when ``P(Beta(a + 1, b + 1) > 1/2) >= level``, computed exactly as a
    binomial tail; so if all agree, after ``ceil(-log2(1 - level)) - 1`` runs, 4 at 0.95.

    Args:
        program: The program to sample.
        n: The most samples, at least 1.
        level: The probability that is enough, above 0.5 and below 1.
        key: As in ``self_consistency``.
        width: How many samples are drawn at once, at least 1.
        share: As in ``self_consistency``.
        version: Identifies a function whose source doesn't.

    Returns:
        A program with the signature of ``program`` and the output ``share`` if that is named.

    Raises:
        ValueError: ``level``, ``n`` or ``width`` is out of bounds.
        UnknownInput: ``program`` has no output ``key``.

    Aggarwal et al. 2023, arXiv 2305.11860, section 3 (the Beta stopping criterion).
    """
    if not 0.5 < level < 1:  # noqa: PLR2004 - below one half every leader is the majority
        msg = f"level must be above 0.5 and below 1, found {level}"
        raise ValueError(msg)
    key_of = _reader(program, key, version)
    n, width = check_positive("n", n), check_positive("width", width)
    return SelfConsistency(program, n, width, key_of, "", share, "posterior", level)


def early_stopping_consistency(  # noqa: PLR0913 - each is a choice of its own
    program: Program,
    *,
    n: int,
    window: int = 5,
    key: OutputOrFunction = "",
    share: str = "",
    version: str | None = None,
) -> SelfConsistency:
    """Let windows of samples vote, and stop after one in which all say the same.

    Cost: at most ``n`` runs of the program, and ``min(n, window)`` if all agree. A window with a
    failed sample isn't unanimous.

    Args:
        program: The program to sample.
        n: The most samples, at least 1.
        window: How many samples are drawn at once, at least 1.
        key: As in ``self_consistency``.
        share: As in ``self_consistency``.
        version: Identifies a function whose source doesn't.

    Returns:
        A program with the signature of ``program`` and the output ``share`` if that is named.

    Raises:
        ValueError: ``n`` or ``window`` is less than 1.
        UnknownInput: ``program`` has no output ``key``.

    Li et al. 2024, arXiv 2401.10480, section 3.
    """
    key_of = _reader(program, key, version)
    n, window = check_positive("n", n), check_positive("window", window)
    return SelfConsistency(program, n, window, key_of, "", share, "unanimous", 0.0)


def vote_of(outputs: Mapping[str, Any], key: str | Function = "") -> str:
    """Return the vote of outputs as comparable text: of their last field, or of ``key``.

    Case and white space of texts don't count.
    """
    value = key.call(outputs) if isinstance(key, Function) else outputs[key or list(outputs)[-1]]
    return canonical(" ".join(value.casefold().split()) if isinstance(value, str) else value)


def elected(votes: Sequence[str], weights: Sequence[float] | None = None) -> tuple[int, float]:
    """Return the position of the first vote for the winner, and the winner's share of the weight.

    The earlier vote wins a tie.
    """
    weights_by_vote: dict[str, list[float]] = defaultdict(list)
    for vote, weight in zip(votes, weights or [1.0] * len(votes), strict=True):
        weights_by_vote[vote].append(weight)
    # fsum, since the order of addition may not decide which of two equal sums is the greater.
    totals = {vote: math.fsum(own) for vote, own in weights_by_vote.items()}
    winner = max(totals, key=lambda vote: totals[vote])
    whole = math.fsum(totals.values())
    return votes.index(winner), totals[winner] / whole if whole else 0.0


def leader_is_majority(votes: Sequence[str | None], level: float) -> bool:
    """Say whether ``P(Beta(a + 1, b + 1) > 1/2) >= level`` for the counts of the first two."""
    a, b = _top_counts(votes)
    # Beta(a + 1, b + 1) is above 1/2 exactly if Binomial(a + b + 1, 1/2) is at most a; fractions,
    # since at a level that a tail meets exactly a rounded sum would draw one sample more or less.
    n = a + b + 1
    return Fraction(sum(math.comb(n, i) for i in range(a + 1)), 2**n) >= Fraction(level)


def is_unanimous(votes: Sequence[str | None]) -> bool:
    """Say whether all votes are the same, none of them missing."""
    return None not in votes and len(set(votes)) == 1


def is_settled(votes: Sequence[str | None], remaining: int) -> bool:
    """Say whether no answer can overtake the leader, or draw level, with ``remaining`` votes."""
    a, b = _top_counts(votes)
    return a - b > remaining


def _top_counts(votes: Sequence[str | None]) -> tuple[int, int]:
    """Return how many votes the two most frequent answers have, 0 for an answer that is missing."""
    top = Counter(vote for vote in votes if vote is not None).most_common(2)
    first, second, *_ = [*(count for _, count in top), 0, 0]
    return first, second


def _reader(program: Program, source: OutputOrFunction, version: str | None) -> str | Function:
    """Return the output or function that votes are compared or weighed by.

    Raises ``UnknownInput`` if the program has no such output.
    """
    check_programs(program)
    names = tuple(field.name for field in program.signature.outputs)
    if not isinstance(source, str):
        return function_of(source, version)
    if source and source not in names:
        raise UnknownInput(f"the vote on {program}", source, names)
    return source
