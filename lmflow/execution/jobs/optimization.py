"""The result of an optimization: its version, what it took, and how good that is."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from lmflow.errors import short
from lmflow.evaluation.comparison import Comparison, compare
from lmflow.evaluation.evaluation import Evaluation
from lmflow.execution.budget import NOTHING, Spent
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.traces.trace import Run
from lmflow.values.printing import printable
from lmflow.versions.version import Version


@attrs.frozen
class Stage:
    """One need of an optimization.

    Attributes:
        phase: The stage of the search, in words.
        label: The label of its first rollout.
        asked: The rollouts that it needed.
        ran: The rollouts that were run for it; the others were known already.
        calls: The calls that were sent by its end.
        score: The best mean score before it, ``None`` if there was none.
    """

    phase: str
    label: str
    asked: int
    ran: int
    calls: int
    score: float | None


@attrs.frozen(eq=False, repr=False)
class Optimization:
    """The result of an optimization. Printed, it says what it came to, how sure that is, and what
    it took.

    Attributes:
        version: The version that it came to; the best so far if a budget stopped it.
        start: The version that it started from.
        optimizer: The optimizer.
        run: The run, with all traces.
        stages: What it did, in order.
        stopped: Why a budget stopped it; empty if it came to its end.
        spent: What its calls cost.
        before: The start version's scores on the held-back data, ``None`` if none is held back.
        after: The new version's scores on the held-back data.
    """

    version: Version
    start: Version
    optimizer: PlanOptimizer
    run: Run
    stages: tuple[Stage, ...]
    stopped: str = ""
    spent: Spent = NOTHING
    before: Evaluation | None = None
    after: Evaluation | None = None

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """The learning curve: pairs of a number of calls and the best score after that many."""
        # A stage holds the score that was known before it ran, so each score belongs to the calls
        # that were sent by the end of the stage before.
        calls_before = (0, *(stage.calls for stage in self.stages))
        return tuple(
            (calls, stage.score)
            for calls, stage in zip(calls_before, self.stages, strict=False)
            if stage.score is not None
        )

    @property
    def comparison(self) -> Comparison | None:
        """The new version against the start on the held-back data; ``None`` if none is held back,
        or if the start version was kept.
        """
        if self.before is None or self.after is None or self.start.id == self.version.id:
            return None
        return compare(self.before, self.after)

    @property
    def outcome(self) -> str:
        """The version that it came to, with the note that the optimizer wrote on it."""
        if self.start.id == self.version.id:
            return "the start version is kept"
        return f"version {short(self.version.id)}: {printable(self.version.note, 100)}"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def __repr__(self) -> str:
        return f"<Optimization {self._headline()}>"

    def _headline(self) -> str:
        return printable(f"{self.run.name}: {self.outcome}", 400)

    def _lines(self) -> Iterator[str]:
        yield self._headline()
        if self.stopped:
            yield printable(f"stopped early: {self.stopped}", 400)
        if self.before is None:
            yield (
                "no data was held back, so nothing says whether it is better:"
                " lf.Data(..., held=rows)"
            )
        else:
            yield printable(f"before {self.before.headline}", 400)
        comparison = self.comparison
        if self.after is not None and comparison:
            yield printable(f"after {self.after.headline}", 400)
            yield comparison.verdict
        yield f"spent {self.spent}"
