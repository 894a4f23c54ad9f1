"""Recorded executions under other decisions: what a program gives if a step chooses otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.errors import ReplayDiverged
from lmflow.interpreter.choices import Decision, shares_of, vote_shares
from lmflow.interpreter.driver import Frame, drive_pure
from lmflow.messages.replies import ChatReply
from lmflow.metrics import score_of
from lmflow.programs.decisions import optional_paths
from lmflow.programs.effects import Pending
from lmflow.programs.election import Election
from lmflow.programs.program import Program
from lmflow.replays.exact import recall
from lmflow.replays.reuse import recorded_env
from lmflow.signatures.choices import THRESHOLD, WEIGHTS, Choice
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

Decisions = tuple[str, ...]
"""The label that a step chooses in each of its calls, in order."""


def undecided(version: Version, program: Program) -> Version:
    """Return the version without thresholds and weights."""
    optional = optional_paths(program)
    names = [path for path in version.params if path not in optional]
    return Version(params=version.params.only(*names))


@attrs.define(eq=False)
class RecordedDecisions:
    """One recorded execution, and its scores by what one step decides in it.

    The program is run again for decisions that were not met yet, each call answered by the
    recording. Decisions after which the program sends what was not recorded have no score.
    """

    program: Program
    trace: Trace
    example: Record
    metric: Any
    step: str
    choice: Choice
    _scores: dict[tuple[Decisions, Record], float | None] = attrs.field(factory=dict, init=False)
    _shares: tuple[Record, ...] | None = attrs.field(default=None, init=False)

    @property
    def shares(self) -> tuple[Record, ...]:
        """The probabilities of the values in each call of the step, or their shares of the votes in
        each election; empty if the recording doesn't hold those of all.
        """
        if self._shares is None:
            self._shares = self._read_shares()
        return self._shares

    def score(self, decision: Decision, others: Record) -> float | None:
        """Return the score under a decision of the step and decisions of other steps, ``None`` if
        the recording can't tell.

        Args:
            decision: The decision of the step.
            others: The thresholds and weights of other steps, by path.
        """
        key = tuple(decision.label(shares) for shares in self.shares), others
        if key not in self._scores:
            self._scores[key] = self._replay(others | decision_params(self.step, decision))
        return self._scores[key]

    def _replay(self, params: Mapping[str, Any]) -> float | None:
        version = undecided(self.trace.version, self.program)
        env = recorded_env(self.trace, self.program, Version(params=version.params | params))
        pending = self.program(**self.trace.inputs)
        try:
            outputs = drive_pure(pending, env, recall(self.trace), self.trace.choices)
        except ReplayDiverged:
            return None
        except Exception:  # noqa: BLE001 - the program may fail on a decision, as it may live
            return 0.0
        try:
            return score_of(self.metric, self.example, outputs, self.trace).value
        except Exception:  # noqa: BLE001 - a metric's failure is neither a score nor a zero
            return None

    def _read_shares(self) -> tuple[Record, ...]:
        shares: list[Record | None] = []
        by_votes: list[Record] = []

        def watch(pending: Pending, frame: Frame, ending: Any) -> None:
            program = pending.program
            if isinstance(program, Election) and frame.env.prefix + program.step.name == self.step:
                if votes := self._votes(pending, frame):
                    by_votes.append(vote_shares(self.choice, votes))
                return
            name = frame.env.prefix + str(getattr(program, "name", ""))
            if name == self.step and isinstance(ending, Record):
                replies = _replies(self.trace, frame.at)
                shares.append(shares_of(self.choice, ending[self.choice.name], replies))

        env = recorded_env(self.trace, self.program, undecided(self.trace.version, self.program))
        pending = self.program(**self.trace.inputs)
        try:
            drive_pure(pending, env, recall(self.trace), self.trace.choices, on_end=watch)
        except Exception:  # noqa: BLE001 - a program without its decisions may go another way
            return ()
        if by_votes:
            return tuple(by_votes)
        known = tuple(each for each in shares if each is not None)
        return known if len(known) == len(shares) else ()

    def _votes(self, pending: Pending, frame: Frame) -> tuple[str, ...]:
        """Return the votes of an election; none if the step asks for logprobs, which then count."""
        asks = frame.env[f"{pending.program.step.name}.options"].get("logprobs")
        votes: tuple[str, ...] = () if asks else pending.inputs["votes"]
        return votes


def decision_params(step: str, decision: Decision) -> dict[str, Any]:
    """Return the parameters of a decision by path; none for one that only takes the likeliest."""
    params: dict[str, Any] = {}
    if decision.threshold is not None:
        params[f"{step}.{THRESHOLD}"] = decision.threshold
    if decision.weights:
        params[f"{step}.{WEIGHTS}"] = Record(decision.weights)
    return params


def _replies(trace: Trace, frame: str) -> list[ChatReply]:
    calls = [
        (int(call.address.rpartition("[")[2].removesuffix("]")), call.outcome)
        for call in trace.answers.values()
        if call.address.rpartition("/")[0] == frame
    ]
    ordered = sorted(calls, key=lambda pair: pair[0])
    return [outcome for _, outcome in ordered if isinstance(outcome, ChatReply)]
