"""What went wrong, as clients are told it: RFC 9457 problem details, a status for each kind of
error.

Words of ours are told: what is wrong with the input, which limit was met. Words from outside (of
model servers, tools, foreign exceptions, replies) stay in the record, since nobody knows what they
give away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import attrs

from lmflow.errors import (
    BadValue,
    BudgetExceeded,
    ConstraintFailed,
    LmflowError,
    MissingInput,
    ModelFailed,
    ModelUnavailable,
    ParseFailure,
    Refused,
    StepTimeout,
    StoreError,
    ToolFailed,
    UnknownInput,
    VersionError,
    WrongType,
)

MEDIA = "application/problem+json"
_REFUSED = {
    "unauthorized": 401, "forbidden_host": 403, "unknown_path": 404, "unknown_method": 405, "slow_body": 408,
    "large_body": 413, "media_type": 415, "bad_json": 400, "busy": 429, "stopping": 503,
}  # fmt: skip
_MODEL = {"timeout": 504, "rate_limit": 503, "quota": 503, "unreachable": 503}

_TOLD: tuple[
    tuple[type[LmflowError] | tuple[type[LmflowError], ...], int, Callable[[Any], str]], ...
] = (
    ((MissingInput, UnknownInput, WrongType, BadValue), 422, str),
    (
        BudgetExceeded,
        402,
        lambda error: f"it needs more than {error.budget}: spent {error.spent}, left {error.left}.",
    ),
    (StepTimeout, 504, lambda error: f"{error}."),
    (ToolFailed, 502, lambda error: f"the tool {error.tool!r} failed with {error.kind}."),
    (ParseFailure, 502, lambda error: f"{error.step} gave no reply that holds {error.expected}."),
    (
        ConstraintFailed,
        502,
        lambda error: f"the outputs of {error.program} break its constraints, also after retries.",
    ),
    (ModelUnavailable, 503, lambda _: "the model can't be used as it is configured."),
    (VersionError, 503, lambda _: "the version to run can't be found, or doesn't fit the program."),
    (StoreError, 503, lambda _: "the store can't keep what happens, so nothing is executed."),
)


@attrs.frozen
class Problem:
    """A status, the kind of error (its class), what is told of it, and the seconds after which to
    ask again.
    """

    status: int
    error: str
    detail: str
    retry_after: int | None = None

    def body(self, **ids: str) -> dict[str, Any]:
        """The members of the problem's JSON object; ``ids`` that are empty are left out."""
        return {
            "type": f"urn:lmflow:error:{self.error}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "error": self.error,
            **{name: value for name, value in ids.items() if value},
        }


def problem_of(error: BaseException) -> Problem:
    """The problem that an error is told as."""
    kind = type(error).__name__
    if isinstance(error, Refused):
        return Problem(_REFUSED[error.kind], error.kind, error.text, error.retry_after)
    if isinstance(error, ModelFailed):
        said = f" (HTTP {error.status})" if error.status else ""
        after = None if error.retry_after is None else max(1, math.ceil(error.retry_after))
        return Problem(
            _MODEL.get(error.kind, 502),
            kind,
            f"the model gave no answer: {error.kind}{said}.",
            after,
        )
    for kinds, status, words in _TOLD:
        if isinstance(error, kinds):
            return Problem(status, kind, words(error))
    return Problem(500, kind, f"the program failed with {kind}.")
