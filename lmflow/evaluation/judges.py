"""Judges: metrics made of programs, so that judging is recorded, replayed and tuned like any other
execution.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from lmflow.data.dataset import Dataset
from lmflow.errors import BadScore, MissingInput, near
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.rescoring import examples_of, make_evaluation
from lmflow.evaluation.rows import row_of
from lmflow.metrics import Metric, Score, as_score, metric_key
from lmflow.programs.effects import gather
from lmflow.programs.factories import predict
from lmflow.programs.flows import flow
from lmflow.programs.parameters import init
from lmflow.programs.program import Program, check_programs
from lmflow.traces.trace import Failed, Run, Trace
from lmflow.values.attributes import uncached
from lmflow.values.record import Record, digest
from lmflow.versions.version import Version

Winner = Literal["a", "b", "tie"]
_SIDES = ("example", "outputs")


@attrs.frozen(slots=False)
class Judge:
    """A program as a metric.

    Args:
        program: The program that judges.
        version: The version that it judges under; the program's defaults if ``None``.
        reads: The source of each input: ``{"question": "example.question", "response":
            "outputs.answer"}``.
        score_from: The output that is the score.
        feedback_from: The output that is the feedback, if the program has it.
        scale: The score of each answer (``{"yes": 1, "no": 0}``); the answer itself is the score
            if empty.

    Raises:
        MissingInput: A required input has no source.
        BadScore: The program has no output ``score_from``, or a source is neither a field of the
            example nor of the outputs.

    Example:
        >>> import lmflow as lf
        >>> grade = lf.predict("grade", "question, response -> verdict: Literal['yes', 'no']")
        >>> judge = lf.Judge(
        ...     grade,
        ...     reads={"question": "example.question", "response": "outputs.answer"},
        ...     score_from="verdict",
        ...     scale={"yes": 1, "no": 0},
        ... )
        >>> judge.score({"verdict": "yes"}).value
        1.0
    """

    program: Program
    version: Version | None = None
    reads: Record = attrs.field(factory=Record, converter=Record, kw_only=True)
    score_from: str = attrs.field(default="score", kw_only=True)
    feedback_from: str = attrs.field(default="feedback", kw_only=True)
    scale: Record = attrs.field(factory=Record, converter=Record, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_programs(self.program)
        for field in self.program.signature.inputs:
            if field.required and field.name not in self.reads:
                raise MissingInput(str(self.program), field.name, tuple(self.reads))
        for name, source in self.reads.items():
            if str(source).partition(".")[0] not in _SIDES or "." not in str(source):
                fix = 'Write "example.FIELD" or "outputs.FIELD".'
                raise BadScore(self.name, f"it reads {name!r} from {source!r}", fix)
        outputs = [field.name for field in self.program.signature.outputs]
        if self.score_from not in outputs:
            fix = near(self.score_from, outputs).strip()
            fix = fix or f"It has {', '.join(outputs)}: score_from=..."
            raise BadScore(self.name, f"its program has no output {self.score_from!r}", fix)

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    @property
    def name(self) -> str:
        """The program's name."""
        return str(self.program)

    @functools.cached_property
    def under(self) -> Version:
        """The version that it judges under: ``version``, or the program's defaults."""
        return self.version or init(self.program)

    @functools.cached_property
    def key(self) -> str:
        """The hash of program, parameters, sources of inputs and scale."""
        interface = [self.reads, self.score_from, self.feedback_from, self.scale]
        return digest("judge", [self.program.key, self.under.tree, interface])

    def inputs(self, example: Mapping[str, Any], outputs: Mapping[str, Any]) -> Record:
        """Assemble the program's inputs for an example and its outputs.

        Args:
            example: The example.
            outputs: The outputs to judge.

        Returns:
            The inputs.

        Raises:
            MissingInput: The example or the outputs lack a field.
        """
        sides = {"example": example, "outputs": outputs}
        inputs = {}
        for name, source in self.reads.items():
            side, _, field = source.partition(".")
            if field not in sides[side]:
                sources = tuple(f"{side}.{present}" for present in sides[side])
                raise MissingInput(f"judge {self.name}", source, sources)
            inputs[name] = sides[side][field]
        return Record(inputs)

    def score(self, outputs: Mapping[str, Any]) -> Score:
        """Read the score from the program's outputs.

        Args:
            outputs: The outputs of the judge's program.

        Returns:
            The score with the feedback.

        Raises:
            BadScore: The answer is not on the scale, or it is not a number.
        """
        answer = outputs[self.score_from]
        if self.scale and str(answer) not in self.scale:
            fix = f"Its scale has {', '.join(self.scale)}."
            raise BadScore(self.name, f"it said {answer!r}", fix)
        score = as_score(self.name, self.scale[str(answer)] if self.scale else answer)
        return attrs.evolve(score, feedback=str(outputs.get(self.feedback_from, "")))


Scorers = Metric | Judge | Sequence[Metric | Judge] | Mapping[str, Metric | Judge]
"""A metric or judge, or several in an order or by name."""


def scorer_key(metric: Metric | Judge) -> str:
    """Return the key of a metric or a judge: a hash of its definition."""
    return metric.key if isinstance(metric, Judge) else metric_key(metric)


def evaluation_by_judge(
    run: Run, examples: Dataset, judge: Judge, verdicts: Mapping[str, Trace]
) -> Evaluation:
    """Make the evaluation of a run by a judge from the judge's traces, by the labels of the run's.

    A row that the judge failed on is a failed row. Raises ``MetricFailed`` if it failed on all.
    """
    rows = [
        row_of(label, example, trace, verdict_of(judge, verdicts.get(label)))
        for (label, trace), example in zip(run.items, examples_of(run, examples), strict=True)
    ]
    return make_evaluation(run, examples, rows, judge.key, judge.name)


def verdict_of(judge: Judge, trace: Trace | None) -> Score | Failed | None:
    """Return the score that a judge's execution gives, or why it gives none."""
    if trace is None or trace.outputs is None:
        return trace.failure if trace else Failed("Unjudged", "the judge wasn't asked")
    return judge.score(trace.outputs)


_compare_ideas = predict(
    "compare_ideas",
    "question, reference, response -> reference_ideas: list[str], missing: list[str], "
    "response_ideas: list[str], unsupported: list[str]",
    """Compare a response with a reference answer to the same question, by ideas and not by words.
    reference_ideas: the key ideas of the reference, each a short statement.
    missing: those of them that the response doesn't express.
    response_ideas: the key ideas of the response, each a short statement.
    unsupported: those of them that the reference doesn't express.""",
)
_check_claims = predict(
    "check_claims",
    "context: list[str], response -> claims: list[str], unsupported: list[str]",
    """Check a response against its context alone, whatever else you know.
    claims: the factual claims of the response, each a short statement; none if it makes none.
    unsupported: those of them that the context doesn't state or imply.""",
)
_compare_two = predict(
    "compare_two",
    "question, first, second -> reason, better: Literal['first', 'second', 'tie']",
    "Say which of two responses answers the question better. Look at what is right, complete and"
    " to the point; length\n    and order don't count. Say tie where neither is clearly better.",
)


@flow("question, reference, response -> score: float, feedback", uses=[_compare_ideas])
async def semantic_f1(question: str, reference: str, response: str) -> Record:
    """Score a response by the F1 of its ideas against those of a reference answer.

    Recall is the share of the reference's ideas that the response has, precision the share of the
    response's that the reference has. The model lists the ideas, the code counts them: one call.

    Args:
        question: The question that both answer.
        reference: The reference answer.
        response: The response to score.

    Returns:
        A record of ``score``, from 0 to 1, and ``feedback``: the missing and unsupported ideas.

    Raises:
        BadScore: The model found no idea in the reference.
    """
    found = await _compare_ideas(question=question, reference=reference, response=response)
    if not found.reference_ideas:
        raise BadScore(
            "semantic_f1",
            "the judge found no idea in the reference",
            "Ask another model, or look at it.",
        )
    recall = _share(found.reference_ideas, found.missing)
    precision = _share(found.response_ideas, found.unsupported) if found.response_ideas else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return Record(score=f1, feedback=_said(missing=found.missing, unsupported=found.unsupported))


@flow("context: list[str], response -> score: float, feedback", uses=[_check_claims])
async def grounded(context: tuple[str, ...], response: str) -> Record:
    """Score a response by the share of its claims that the context supports.

    A response without claims scores 1, so a metric of the answer itself belongs beside it. One
    call.

    Args:
        context: The passages that may support the response.
        response: The response to score.

    Returns:
        A record of ``score``, from 0 to 1, and ``feedback``: the unsupported claims.
    """
    found = await _check_claims(context=context, response=response)
    share = _share(found.claims, found.unsupported) if found.claims else 1.0
    return Record(score=share, feedback=_said(unsupported=found.unsupported))


@flow("question, a, b -> winner: Literal['a', 'b', 'tie'], feedback", uses=[_compare_two])
async def pairwise(question: str, a: str, b: str) -> Record:
    """Choose the better of two responses to a question.

    The model is asked in both orders, since models prefer one place (Zheng et al. 2023, arXiv
    2306.05685, section 3.4); if the orders disagree it is a tie. Two calls.

    Args:
        question: The question that both answer.
        a: One response.
        b: The other response.

    Returns:
        A record of ``winner`` (``a``, ``b`` or ``tie``) and ``feedback``: both reasons.
    """
    there, back = await gather(
        _compare_two(question=question, first=a, second=b),
        _compare_two(question=question, first=b, second=a),
    )
    one: dict[str, Winner] = {"first": "a", "second": "b", "tie": "tie"}
    other: dict[str, Winner] = {"first": "b", "second": "a", "tie": "tie"}
    agreed = one[there.better] == other[back.better]
    return Record(
        winner=one[there.better] if agreed else "tie", feedback=f"{there.reason} / {back.reason}"
    )


def _share(whole: tuple[str, ...], lacking: tuple[str, ...]) -> float:
    return max(0.0, 1 - len(lacking) / len(whole))


def _said(**lists: tuple[str, ...]) -> str:
    return "; ".join(f"{name}: {', '.join(items)}" for name, items in lists.items() if items)
