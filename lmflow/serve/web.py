"""The aiohttp application of programs on offer: its routes and handlers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
from aiohttp import web

from lmflow.errors import LmflowError, Refused, listed
from lmflow.execution.executor import Executor
from lmflow.programs.effects import Pending
from lmflow.programs.program import Program
from lmflow.serve.connections import check_reserved
from lmflow.serve.event_stream import MEDIA, EventStream
from lmflow.serve.health import health
from lmflow.serve.limits import DEFAULT_LIMITS, Limits
from lmflow.serve.openapi import document, path_of
from lmflow.serve.problems import Problem, problem_of
from lmflow.serve.requests import OPEN, Guard, bind_inputs, read_body, run_label
from lmflow.serve.responses import id_headers, json_response, problem_response, result_response
from lmflow.serve.results import CLIENT_GONE, AccessLog, AccessRecord, RequestResult, no_log
from lmflow.serve.service import Offer, Service, Turn, make_offers
from lmflow.versions.version import Version

SILENCE = 10.0
"""Seconds without an event after which a stream sends a comment."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def app(  # noqa: PLR0913 - each is a choice of its own
    programs: Program | Mapping[str, Program],
    ex: Executor,
    version: Version | str | Mapping[str, Version | str | None] | None = None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    token: str = "",
    local: bool = False,
    tell: AccessLog = no_log,
) -> web.Application:
    """Makes an aiohttp application that offers programs: ``POST /run`` (or ``/run/NAME`` for
    several), ``/openapi.json``, ``/healthz``.

    Run the application with ``handler_cancellation=True``, so that a client that goes away stops
    its execution.

    Args:
        programs: A program, or programs by name.
        ex: Runs the requests. It stays yours: close it after the application.
        version: A version, or a ref that is resolved for each request; for several programs one
            each by the program's name; by default the program's own parameters.
        limits: The limits of the server.
        token: If set, requests need it as a bearer token.
        local: Whether only requests that name this machine by a loopback name are admitted.
        tell: Takes a record of each request once the request is over.

    Returns:
        The application.

    Raises:
        Unservable: If a name can't stand in a path, or a version is for an unknown program.
        LmflowError: If a program couldn't run now, with the error that keeps it from running.
    """
    service = Service(make_offers(programs, ex, version, limits.budget), limits)
    return application(service, Guard.of(token, local=local), tell)


def application(service: Service, guard: Guard = OPEN, log: AccessLog = no_log) -> web.Application:
    """The application of a service."""
    handlers = _Handlers(service, guard, log)
    app_ = web.Application(middlewares=[handlers.routing_problems])
    app_.router.add_get("/healthz", handlers.handle(handlers.health))
    app_.router.add_get("/openapi.json", handlers.handle(handlers.openapi))
    for name, offer in service.offers.items():
        app_.router.add_post(path_of(name, service.offers), handlers.handle(handlers.run(offer)))

    async def close(_: web.Application) -> None:
        service.close()

    app_.on_cleanup.append(close)
    return app_


@attrs.define(eq=False)
class _Progress:
    """A request so far: the kind of its error, and the ids of its run, for the access log."""

    error: str = ""
    ids: Mapping[str, str] = attrs.field(factory=dict)

    def note_result(self, result: RequestResult) -> None:
        """Notes that the request was executed."""
        self.ids = result.ids
        self.error = type(result.error).__name__ if result.error else ""

    def note_error(self, error: Exception) -> Problem:
        """Notes that the request was not executed, and returns the problem for the client."""
        problem = problem_of(error)
        self.error = problem.error
        return problem


Handling = Callable[[web.Request, _Progress], Awaitable[web.StreamResponse]]


@attrs.frozen(eq=False)
class _Handlers:
    """The handlers of one application."""

    service: Service
    guard: Guard
    log: AccessLog

    def handle(self, handling: Handling) -> Handler:
        """The handler of admitted requests: errors become problems in JSON, and each end is
        logged.
        """

        async def handle(request: web.Request) -> web.StreamResponse:
            started, progress, status = time.perf_counter(), _Progress(), CLIENT_GONE
            # A client that goes away cancels the handler: only `finally` still sees that end.
            try:
                response = await self._respond(request, progress, handling)
                status = response.status
            finally:
                seconds = time.perf_counter() - started
                route = _route(request)
                self.log(AccessRecord(route, status, seconds, progress.error, **progress.ids))
            return response

        return handle

    def run(self, offer: Offer) -> Handling:
        """The handling that executes a program."""

        async def run(request: web.Request, progress: _Progress) -> web.StreamResponse:
            body = await read_body(request, self.service.limits.body)
            pending = bind_inputs(offer, body)
            if MEDIA in request.headers.get("Accept", ""):
                return await self._stream(request, progress, offer, pending)
            async with self.service.turn(offer, pending, run_label(request)) as turn:
                result = await turn.run()
            progress.note_result(result)
            return result_response(result)

        return run

    async def openapi(self, request: web.Request, progress: _Progress) -> web.Response:
        """Answers with the OpenAPI document of the programs."""
        del progress
        programs = {name: offer.program for name, offer in self.service.offers.items()}
        url = request.path.removesuffix("/openapi.json") or "/"
        return json_response(document(programs, url=url, token=bool(self.guard.token)))

    async def health(self, request: web.Request, progress: _Progress) -> web.Response:
        """Answers whether programs can be run; a client without the token gets the status only."""
        del progress
        state = await health(self.service)
        shown = state if self.guard.accepts_token(request) else {"status": state["status"]}
        return json_response(shown, 200 if state["status"] == "ok" else 503)

    @property
    def routing_problems(self) -> Any:
        """The middleware that answers unknown paths and methods with problems, which aiohttp itself
        would answer with a page.
        """

        @web.middleware
        async def routing_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await handler(request)
            except web.HTTPMethodNotAllowed as error:
                allowed = ", ".join(sorted(error.allowed_methods))
                refusal = Refused("unknown_method", f"it is asked by {allowed}.")
                response = problem_response(problem_of(refusal))
                response.headers["Allow"] = allowed
                return response
            except web.HTTPNotFound:
                paths = [path_of(name, self.service.offers) for name in self.service.offers]
                words = f"there is {listed([*paths, '/openapi.json', '/healthz'])}."
                return problem_response(problem_of(Refused("unknown_path", words)))

        return routing_problems

    async def _respond(
        self, request: web.Request, progress: _Progress, handling: Handling
    ) -> web.StreamResponse:
        try:
            check_reserved(request)
            self.guard.check(request)
            return await handling(request, progress)
        except LmflowError as error:
            return problem_response(progress.note_error(error))
        except Exception as error:
            request.app.logger.exception("a request failed in the server itself")
            return problem_response(progress.note_error(error))

    async def _stream(
        self, request: web.Request, progress: _Progress, offer: Offer, pending: Pending
    ) -> web.StreamResponse:
        """Sends the parts of the outputs as they arrive, then the result. A problem before the
        first part is a response of its own.
        """
        events = EventStream(request)
        try:
            async with self.service.turn(offer, pending, run_label(request)) as turn:
                result = await _send_parts(events, turn)
            progress.note_result(result)
            if result.error is None:
                await events.send("done", result.body)
            elif not events.started:
                return result_response(result)
            else:
                await events.send("error", problem_of(result.error).body(**result.ids))
        except LmflowError as error:
            if not events.started:
                raise
            await events.send("error", progress.note_error(error).body())
        except ConnectionError:
            progress.error = "gone"
        return events.response


async def _send_parts(events: EventStream, turn: Turn) -> RequestResult:
    """Executes a request, sends the parts of its outputs as they arrive, and returns its result."""
    events.headers |= id_headers({"version": turn.version.id})
    outputs = {field.name for field in turn.offer.program.signature.outputs}
    async with turn.stream() as (parts, task):
        async for part in events.keep_alive(parts, SILENCE):
            if part.field in outputs:
                await events.send("piece", attrs.asdict(part))
        return await task


def _route(request: web.Request) -> str:
    """The request's method, and the pattern of its route: paths of clients could be anything."""
    resource = request.match_info.route.resource
    return f"{request.method} {resource.canonical if resource else '?'}"
