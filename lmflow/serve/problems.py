"""Errors as clients see them: RFC 9457 problem details, with a status for each kind of error.

Clients get lmflow's own words: what is wrong with the input, which limit was met. Words of model
servers, tools, foreign exceptions and replies stay in the record, since they may hold secrets.
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
_REFUSED_STATUSES = {
    "bad_json": 400,
    "malformed": 400,
    "unauthorized": 401,
    "forbidden_host": 403,
    "unknown_path": 404,
    "unknown_method": 405,
    "slow_body": 408,
    "large_body": 413,
    "media_type": 415,
    "busy": 429,
    "stopping": 503,
    "full": 503,
}
_MODEL_STATUSES = {
    "timeout": 504,
    "rate_limit": 503,
    "quota": 503,
    "unreachable": 503,
    "unavailable": 503,
}

_DETAILS: tuple[
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
    """Problem details: the HTTP status, the error's class, the words for the client, and the
    seconds after which a retry makes sense.
    """

    status: int
    error: str
    detail: str
    retry_after: int | None = None

    def body(self, **ids: str) -> dict[str, Any]:
        """The members of the problem's JSON object, without empty ``ids``."""
        return {
            "type": f"urn:lmflow:error:{self.error}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "error": self.error,
            **{name: value for name, value in ids.items() if value},
        }


def problem_of(error: BaseException) -> Problem:
    """The problem details of an error."""
    kind = type(error).__name__
    if isinstance(error, Refused):
        return Problem(_REFUSED_STATUSES[error.kind], error.kind, error.text, error.retry_after)
    if isinstance(error, ModelFailed):
        http_status = f" (HTTP {error.status})" if error.status else ""
        after = None if error.retry_after is None else max(1, math.ceil(error.retry_after))
        detail = f"the model gave no answer: {error.kind}{http_status}."
        return Problem(_MODEL_STATUSES.get(error.kind, 502), kind, detail, after)
    for kinds, status, words in _DETAILS:
        if isinstance(error, kinds):
            return Problem(status, kind, words(error))
    return Problem(500, kind, f"the program failed with {kind}.")
