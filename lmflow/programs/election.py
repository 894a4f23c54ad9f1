"""Elections: how the votes of a step's samples are counted under the parameters."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from lmflow.programs.effects import Pending
from lmflow.programs.program import Predict, Program
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Election(Program):
    """Reads the decision by which votes on a step's choice are counted; see ``election``."""

    step: Predict


def election(step: Predict, votes: Iterable[str] = ()) -> Pending:
    """Return what a program awaits to learn how a step's version counts votes.

    It sends nothing and opens no frame. Awaiting it returns the step's ``Decision``, or ``None`` if
    the version has no threshold and weights, or they are for the logprobs that the step asks for.

    Args:
        step: The step whose samples vote.
        votes: The labels that were voted for; they are for whoever watches the program run.
    """
    return Pending(Election(step), Record(votes=tuple(votes)))
