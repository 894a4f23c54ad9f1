"""Answers and problems as HTTP responses: JSON in ASCII under its own media type, never a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from lmflow.serve.answers import Answered, text
from lmflow.serve.problems import MEDIA, Problem, problem_of

PLAIN: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Server": "lmflow",
}
"""What every response says: keep it nowhere, take it for nothing else; and not which aiohttp wrote
it.
"""


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] = PLAIN
) -> web.Response:
    """JSON; its media type is among the headers where it has one of its own."""
    response = web.Response(status=status, body=text(value).encode("ascii"), headers=headers)
    if "Content-Type" not in headers:
        response.content_type = "application/json"
    return response


def problem_response(problem: Problem, **ids: str) -> web.Response:
    """Problem details, with what else their status asks for."""
    headers = {**PLAIN, **named(ids), "Content-Type": MEDIA}
    response = json_response(problem.body(**ids), problem.status, headers)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    if problem.error == "unauthorized":
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def answer_response(answered: Answered) -> web.Response:
    """The outputs with the ids of what answered, or the problem."""
    if answered.error is not None:
        return problem_response(problem_of(answered.error), **answered.ids)
    return json_response(answered.whole, headers={**PLAIN, **named(answered.ids)})


def named(ids: Mapping[str, str]) -> dict[str, str]:
    """The headers of ids."""
    return {f"Lmflow-{name.title()}": value for name, value in ids.items() if value}
