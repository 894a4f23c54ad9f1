"""The laws of problems: a status for each kind of error, our own words, and none from outside."""

from __future__ import annotations

import pytest

from lmflow.errors import (
    BudgetExceeded,
    ConstraintFailed,
    ModelFailed,
    ModelUnavailable,
    NotFound,
    ParseFailure,
    RefusalKind,
    Refused,
    ReplayDiverged,
    StepTimeout,
    ToolFailed,
    UnknownVersion,
    WrongType,
)
from lmflow.serve import problems
from lmflow.serve.problems import problem_of

SECRET = "org-1234 at 10.0.0.7"  # noqa: S105 - what no client may see


@pytest.mark.parametrize(
    ("status", "retry", "error"),
    [
        (502, None, ModelFailed("auth", SECRET, 401, raw=SECRET)),
        (503, 2, ModelFailed("rate_limit", SECRET, 429, 1.2)),
        (503, 1, ModelFailed("quota", SECRET, 429, 0.0)),
        (503, None, ModelFailed("unreachable", SECRET)),
        (503, None, ModelFailed("unavailable", SECRET)),
        (504, None, ModelFailed("timeout", SECRET)),
        (502, None, ModelFailed("bad_reply", SECRET)),
        (502, None, ToolFailed("search", "OSError", SECRET)),
        (502, None, ParseFailure("answer", "`n` (a whole number)", (SECRET,), (SECRET,))),
        (502, None, ConstraintFailed("answer", (SECRET,))),
        (504, None, StepTimeout("answer", 3.0)),
        (402, None, BudgetExceeded("the budget of 1 call", "1 call", "0 calls", "1 call", SECRET)),
        (503, None, ModelUnavailable("openai/x", SECRET, SECRET)),
        (503, None, UnknownVersion("prod", (SECRET,))),
        (503, None, NotFound(SECRET, SECRET)),
        (500, None, ReplayDiverged(SECRET, SECRET, SECRET)),
        (500, None, LookupError(SECRET)),
        (422, None, WrongType("answer.n", "'x'", "int")),
    ],
)
def test_a_kind_of_error_has_a_status(status: int, retry: int | None, error: Exception) -> None:
    """Status and wait follow from the kind; the class is named; words from outside stay inside."""
    problem = problem_of(error)
    assert (status, retry, type(error).__name__) == (
        problem.status,
        problem.retry_after,
        problem.error,
    )
    assert SECRET not in str(problem.body())


@pytest.mark.parametrize("kind", sorted(problems._REFUSED_STATUSES))
def test_a_refusal_has_a_status(kind: RefusalKind) -> None:
    """A refused request has its kind as the error, and its own words."""
    problem = problem_of(Refused(kind, "No.", 3))
    assert (kind, "No.", 3) == (problem.error, problem.detail, problem.retry_after)
    assert 400 <= problem.status <= 503


def test_a_problem_is_by_the_rfc() -> None:
    """Type, title, status and detail, and the ids that there are."""
    assert {
        "type": "urn:lmflow:error:WrongType",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "a.n expects int, found 'x'.",
        "error": "WrongType",
        "run": "r1",
    } == problem_of(WrongType("a.n", "'x'", "int")).body(run="r1", trace="")
