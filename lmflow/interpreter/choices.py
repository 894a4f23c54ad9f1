"""Decisions: the probabilities that a reply's tokens give to a step's values, and the value that a
threshold and weights choose by them.

Both are read with the reply, so they are no part of a request: under another threshold every
recorded call answers as before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import NoLogprobs
from lmflow.messages.replies import ChatReply, Token
from lmflow.programs.environment import Env
from lmflow.programs.program import Predict
from lmflow.signatures.choices import THRESHOLD, WEIGHTS, Choice, choice_of
from lmflow.values.record import EMPTY, Record

_DIGITS = 9  # as of a reply's confidence: exp differs in the last digits between machines
_UNSEEN = 1e-6  # the share of a value that is not among the likeliest tokens
_MARKERS = ("[[{}]]", "[[ ## {} ## ]]", '"{}"', "<{}>")


@attrs.frozen
class Decision:
    """How a step's value is chosen by the probabilities of its values.

    Each probability is multiplied by its weight, 1 unless given. Of two values the first is chosen
    if its share is ``threshold`` or more; else the value of the highest share is.
    """

    choice: Choice
    threshold: float | None = None
    weights: Mapping[str, float] = EMPTY

    def label(self, shares: Mapping[str, float]) -> str:
        """Return the label that is chosen; the earlier of equals."""
        weighted = {
            label: shares[label] * self.weights.get(label, 1.0) for label in self.choice.labels
        }
        if self.threshold is None:
            return max(weighted, key=lambda label: weighted[label])
        first, second = self.choice.labels
        share = weighted[first] / (weighted[first] + weighted[second])
        return first if round(share, _DIGITS) >= self.threshold else second

    def elected(self, votes: Sequence[str]) -> str:
        """Return the label that is chosen if the shares are those of votes."""
        return self.label(vote_shares(self.choice, votes))

    def is_settled(self, votes: Sequence[str], remaining: int) -> bool:
        """Tell whether no votes that are still to come can change the label that is chosen."""
        if not votes:
            return False
        elected = self.elected(votes)
        ends = ([*votes, *[label] * remaining] for label in self.choice.labels)
        return all(self.elected(end) == elected for end in ends)

    def outputs(self, step: str, read: Record, replies: Sequence[ChatReply]) -> Record:
        """Replace the value that was read by the one that is chosen.

        Raises ``NoLogprobs`` if no reply that holds the value has logprobs.
        """
        shares = shares_of(self.choice, read[self.choice.name], replies)
        if shares is None:
            model = replies[-1].model if replies else ""
            raise NoLogprobs(step, self.choice.name, model or "the model")
        value = self.choice.value(self.label(shares))
        return read | {self.choice.name: value}


def decision_of(step: Predict, env: Env) -> Decision | None:
    """Return a step's decision under parameters; ``None`` if the reply's own value counts."""
    choice = choice_of(step.signature)
    threshold, weights = env.get(f"{step.name}.{THRESHOLD}"), env.get(f"{step.name}.{WEIGHTS}")
    if choice is None or (threshold is None and not weights):
        return None
    return Decision(choice, threshold, weights or EMPTY)


def voting_decision_of(step: Predict, env: Env) -> Decision | None:
    """Return a step's decision if votes are counted by it: the step asks for no logprobs."""
    asks = env[f"{step.name}.options"].get("logprobs")
    return None if asks else decision_of(step, env)


def vote_shares(choice: Choice, votes: Sequence[str]) -> Record:
    """Return the shares of votes for a choice's values, which add up to 1."""
    return _normalized(choice, {label: votes.count(label) / len(votes) for label in choice.labels})


def shares_of(choice: Choice, value: Any, replies: Sequence[ChatReply]) -> Record | None:
    """Return the probabilities of a choice's values, which add up to 1, by the newest reply that
    holds the value that was read.

    Args:
        choice: The choice.
        value: The value that was read from the replies.
        replies: The replies to the step, oldest first.

    Returns:
        label -> probability; ``None`` if no reply that holds the value has logprobs.
    """
    for reply in reversed(replies):
        tokens = reply.tokens
        span = _find("".join(token.text for token in tokens), choice, choice.label(value))
        if span is not None:
            return _normalized(choice, _masses(choice, tokens, *span, choice.label(value)))
    return None


def _find(text: str, choice: Choice, label: str) -> tuple[int, int] | None:
    """Find where a reply writes a label: after the mark of its field, else the last time."""
    marks = [mark.format(choice.name) for mark in _MARKERS]
    ends = [text.rfind(mark) + len(mark) for mark in marks if mark in text]
    forms = "|".join(map(re.escape, choice.forms(label)))
    pattern = re.compile(rf"(?<!\w)(?:{forms})(?!\w)", re.IGNORECASE)
    matches = list(pattern.finditer(text, max(ends, default=0)))
    if not matches:
        return None
    return (matches[0] if ends else matches[-1]).span()


# The reply went one way; at each of its tokens the likeliest others show how probable it was to
# turn off towards another value. A beginning that several values share counts in equal parts.
def _masses(
    choice: Choice, tokens: Sequence[Token], start: int, end: int, label: str
) -> dict[str, float]:
    masses = dict.fromkeys(choice.labels, 0.0)
    written, logprob, at = "", 0.0, 0
    for token in tokens:
        after = at + len(token.text)
        if after > start and at < end:
            lead = token.text[: max(0, start - at)]
            for text, other in token.top:
                piece = _piece(text, lead)
                labels = _labels_beginning(choice, written + piece) if piece else []
                if text != token.text and labels:
                    for each in labels:
                        masses[each] += math.exp(logprob + other) / len(labels)
            written += token.text[len(lead) :]
            logprob += token.logprob
        at = after
    masses[label] += math.exp(logprob)
    return masses


def _piece(text: str, lead: str) -> str:
    """Return what a token adds to a value, without the part before the value begins."""
    if lead.strip():
        return text[len(lead) :] if text.startswith(lead) else ""
    return text.lstrip() if lead else text


def _labels_beginning(choice: Choice, written: str) -> list[str]:
    """Return the labels that a text begins, or begins with."""
    return [
        label
        for label in choice.labels
        if any(_begins(form.lower(), written.lower()) for form in choice.forms(label))
    ]


def _begins(form: str, written: str) -> bool:
    if form.startswith(written):
        return True
    return written.startswith(form) and not written[len(form)].isalnum()


def _normalized(choice: Choice, masses: Mapping[str, float]) -> Record:
    seen = {label: max(masses[label], _UNSEEN) for label in choice.labels}
    total = math.fsum(seen.values())
    return Record({label: round(mass / total, _DIGITS) for label, mass in seen.items()})
