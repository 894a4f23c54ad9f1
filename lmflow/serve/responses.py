"""HTTP responses of results and problems: JSON in ASCII under its own media type, never HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from lmflow.serve.problems import MEDIA, Problem, problem_of
from lmflow.serve.results import RequestResult, compact_json

COMMON_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Server": "lmflow",
}
"""The headers of every response: no cache, no guess of the type, and no version of aiohttp."""


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] = COMMON_HEADERS
) -> web.Response:
    """A response of JSON, under ``application/json`` unless the headers name a media type."""
    response = web.Response(
        status=status, body=compact_json(value).encode("ascii"), headers=headers
    )
    if "Content-Type" not in headers:
        response.content_type = "application/json"
    return response


def problem_response(problem: Problem, **ids: str) -> web.Response:
    """A response of problem details, with the headers that the problem's status demands."""
    headers = {**COMMON_HEADERS, **id_headers(ids), "Content-Type": MEDIA}
    response = json_response(problem.body(**ids), problem.status, headers)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    if problem.error == "unauthorized":
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def result_response(result: RequestResult) -> web.Response:
    """A response of the outputs and ids, or of the problem."""
    if result.error is not None:
        return problem_response(problem_of(result.error), **result.ids)
    return json_response(result.body, headers={**COMMON_HEADERS, **id_headers(result.ids)})


def id_headers(ids: Mapping[str, str]) -> dict[str, str]:
    """The headers of ids, without the empty ones."""
    return {f"Lmflow-{name.title()}": value for name, value in ids.items() if value}
