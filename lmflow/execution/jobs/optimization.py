"""The result of an optimization: its version, what it took, and how good that is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from lmflow.errors import NotComparable, short
from lmflow.errors.missing_attributes import ExplainsAttributes
from lmflow.evaluation.comparison import Comparison, compare
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.stats import Estimate, format_score
from lmflow.execution.budget import NOTHING, Spent
from lmflow.execution.jobs.front import FRONT_COLUMNS, FrontEntry, front_cells
from lmflow.execution.jobs.optimization_text import (
    SPENDING_COLUMNS,
    curve_text,
    scored,
    spending,
)
from lmflow.optimizers.parts.plan import PlanOptimizer
from lmflow.traces.trace import Run
from lmflow.values.json_fields import JsonFields
from lmflow.values.printing import clean, printable
from lmflow.versions.changes import Style, diff_text
from lmflow.versions.diff import Diff, diff
from lmflow.versions.diff_page import diff_block
from lmflow.versions.version import Version
from lmflow.views.page import Block, Table, Text, page_html, page_markdown
from lmflow.views.tables import left_table

_HOLD_BACK = "lf.Data(..., held=rows)"


@attrs.frozen
class Stage:
    """A need of an optimization, after it was met.

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
class Optimization(ExplainsAttributes, JsonFields):
    """The result of an optimization. Printed, it says what it came to, how sure that is, and what
    it took.

    Attributes:
        version: The version that it came to; the best so far if a budget stopped it.
        start: The version that it started from.
        optimizer: The optimizer.
        run: The run, with all traces.
        stages: What it did, in order.
        stopped: Why a budget stopped it; empty if it came to its end.
        spent: What its calls cost, judging included.
        before: The start version's scores on the held-back data, ``None`` if it was not judged.
        after: The new version's scores on the held-back data.
        judging: The part of ``spent`` that the judging on the held-back data cost.
        problem: The error that ended the judging; empty if none did.
        skipped: Why there was nothing to judge; empty if there was.
        not_moved: Why the ref was not moved; empty if it was, or if none was given.
        reason: Why the search came to this version; empty if the optimizer does not say.
        front: The versions of which no other was as good, as cheap and as fast in the search, the
            best score first: pick another one than ``version`` by what matters to you.
    """

    json_fields = (
        *("version", "start", "optimizer", "run", "stages", "stopped", "spent", "before", "after"),
        *("comparison", "judging", "not_judged", "not_moved", "reason", "selected", "front"),
        "curve",
    )

    version: Version
    start: Version
    optimizer: PlanOptimizer
    run: Run
    stages: tuple[Stage, ...]
    stopped: str = ""
    spent: Spent = NOTHING
    before: Evaluation | None = None
    after: Evaluation | None = None
    judging: Spent = NOTHING
    problem: str = ""
    skipped: str = ""
    not_moved: str = ""
    reason: str = ""
    front: tuple[FrontEntry, ...] = ()

    def __getitem__(self, name: str) -> Any:
        if name == "run":
            return self.run.id  # its traces are in the store
        if name == "optimizer":
            return {"name": self.optimizer.name, "options": self.optimizer.options.to_dict()}
        if name == "front":
            return front_cells(self.front)
        return JsonFields.__getitem__(self, name)

    @property
    def selected(self) -> float | None:
        """The score by which the version was chosen, on examples that the search has seen; ``None``
        if it was chosen by no score.
        """
        return next(
            (stage.score for stage in reversed(self.stages) if stage.score is not None), None
        )

    @property
    def optimism(self) -> Estimate | None:
        """How much higher the score is by which the version was chosen than its score on held-back
        data; ``None`` if either is unknown, or if the start version was kept.
        """
        held = self.after.mean if self.after is not None else None
        if self.selected is None or held is None or self.start.id == self.version.id:
            return None
        low = None if held.high is None else self.selected - held.high
        high = None if held.low is None else self.selected - held.low
        return Estimate(self.selected - held.value, held.se, low, high, held.n, held.method)

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
        """The new version against the start on the held-back data; ``None`` if there is none, and
        then ``not_judged`` says why.
        """
        return self._compared()[0]

    @property
    def not_judged(self) -> str:
        """Why there is no comparison; empty if there is one, or if the start version was kept."""
        return self._compared()[1]

    def reason_to_keep(self, ref: str) -> str:
        """Return why a ref must not move to the new version; empty if it may.

        Args:
            ref: The ref's name.

        Returns:
            The reason, with the command that moves it all the same.
        """
        if self.start.id == self.version.id:
            return f"ref {ref} was not moved: the start version was kept"
        comparison, version = self.comparison, short(self.version.id)
        if comparison is not None and comparison.better == "a":
            reason = "the held-back data says that the new version is worse"
        elif comparison is None and (self.before is not None or self.problem):
            reason = "the new version could not be judged on the held-back data"
        else:
            return ""
        return f"ref {ref} was not moved: {reason}; to move it: lmflow ref set {ref} {version}"

    def _compared(self) -> tuple[Comparison | None, str]:
        if self.start.id == self.version.id:
            return None, ""
        if self.problem:
            return None, self.problem
        if self.before is None or self.after is None:
            return None, self.skipped
        try:
            return compare(self.before, self.after), ""
        except NotComparable as error:
            return None, str(error)

    @property
    def outcome(self) -> str:
        """The version that it came to, with the note that the optimizer wrote on it."""
        if self.start.id == self.version.id:
            return "the start version is kept"
        return f"version {short(self.version.id)}: {printable(self.version.note, 100)}"

    def __str__(self) -> str:
        return self.text()

    def text(
        self,
        refused: Evaluation | None = None,
        *,
        style: Style | None = None,
        hold_back: str = _HOLD_BACK,
    ) -> str:
        """Return the optimization as ``lmflow optimize`` reports it.

        Args:
            refused: The evaluation of the version that a guard refused, if it refused one.
            style: Writes the words that changed, by default as ``[-old-]{+new+}``.
            hold_back: The words that hold data back.

        Returns:
            What it came to, the scores on the held-back data, what changed, the spending by phase
            and the learning curve.
        """
        lines = [self.outcome, *self._score_lines(hold_back), *self._guard_lines(refused)]
        lines += ["", diff_text(self._changes, style), ""]
        lines += ["spending by phase", left_table(spending(self.run), SPENDING_COLUMNS)]
        lines += [self._spent_line, "", f"learning curve  {curve_text(self.curve)}"]
        if len(self.front) > 1:
            lines += ["", "as good, or cheaper, or faster, on examples that the search saw"]
            lines += [left_table(front_cells(self.front), FRONT_COLUMNS)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Optimization {self._headline()}>"

    def _repr_html_(self) -> str:
        return page_html(self._page_lines(), *self._blocks())

    def _repr_markdown_(self) -> str:
        return page_markdown(self._page_lines(), *self._blocks())

    def _page_lines(self) -> tuple[str, ...]:
        return f"Optimization {self._headline()}", *self._score_lines(), self._spent_line

    def _blocks(self) -> tuple[Block, ...]:
        phases = Table(spending(self.run), "Spending by phase", noun="phase")
        curve = Text(f"learning curve  {curve_text(self.curve)}")
        return diff_block(self._changes.changes), phases, curve

    def _headline(self) -> str:
        return printable(f"{self.run.name}: {self.outcome}", 400)

    @property
    def _changes(self) -> Diff:
        return diff(self.start, self.version)

    @property
    def _spent_line(self) -> str:
        judging = f", of which {self.judging} on judging" if self.before else ""
        return f"in all {self.spent}{judging}"

    def _score_lines(self, hold_back: str = _HOLD_BACK) -> Iterator[str]:
        if self.stopped:
            yield f"stopped early: {printable(self.stopped, 160)}"
        if self.before is not None:
            yield f"before    {clean(scored(self.before))}"
        comparison = self.comparison
        if self.problem or (self.before is not None and self.not_judged):
            yield f"not judged: {printable(self.not_judged, 400)}"
        elif self.skipped:
            yield self.skipped.replace(_HOLD_BACK, hold_back)
        if comparison and self.after is not None:
            yield f"after     {clean(scored(self.after))}"
            yield f"held back {clean(comparison.verdict)}"
        if self.optimism is not None:
            yield (
                f"chosen by {format_score(self.selected or 0.0)} on examples that the search saw,"
                f" {self.optimism} above the held-back score"
            )
        if self.reason:
            yield f"reason    {printable(self.reason, 400)}"
        if self.not_moved:
            yield printable(self.not_moved, 400)

    def _guard_lines(self, refused: Evaluation | None) -> Iterator[str]:
        if refused is not None and self.before is not None:
            yield f"refused   {clean(scored(refused))}, version {short(refused.version)}"
            yield f"guard     {clean(compare(self.before, refused).verdict)}"
