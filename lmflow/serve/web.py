"""The aiohttp application of programs on offer: its routes, and what they do with a request."""

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
from lmflow.serve.answers import GONE, Answered, Tell, Told, untold
from lmflow.serve.asking import ANYBODY, Guard, body_of, bound, label_of
from lmflow.serve.events import MEDIA, Events
from lmflow.serve.health import health
from lmflow.serve.limits import STANDARD, Limits
from lmflow.serve.openapi import document, path_of
from lmflow.serve.problems import Problem, problem_of
from lmflow.serve.replies import answer_response, json_response, named, problem_response
from lmflow.serve.service import Offer, Service, Turn, offers
from lmflow.versions.version import Version

SILENCE = 10.0  # seconds after which a stream says that it goes on

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def app(  # noqa: PLR0913 - each is a choice of its own
    programs: Program | Mapping[str, Program],
    ex: Executor,
    version: Version | str | Mapping[str, Version | str | None] | None = None,
    *,
    limits: Limits = STANDARD,
    token: str = "",
    local: bool = False,
    tell: Tell = untold,
) -> web.Application:
    """An aiohttp application that offers programs: ``POST /run`` (or ``/run/NAME``),
    ``/openapi.json``, ``/healthz``.

    ``version`` is a version, or a name that is looked up for each request; for several programs one
    each, by the program's name. With ``token`` it is asked for as a bearer token; ``local`` takes
    only requests that name this machine by its loopback. ``tell`` hears of each request. The
    executor stays yours: close it after the application. Run it with ``handler_cancellation=True``,
    so that who goes away stops what was begun for them.
    """
    return application(
        Service(offers(programs, ex, version, limits.budget), limits),
        Guard.of(token, local=local),
        tell,
    )


def application(service: Service, guard: Guard = ANYBODY, tell: Tell = untold) -> web.Application:
    """The application of a service."""
    handlers = _Handlers(service, guard, tell)
    made = web.Application(middlewares=[handlers.unrouted])
    made.router.add_get("/healthz", handlers.watched(handlers.health))
    made.router.add_get("/openapi.json", handlers.watched(handlers.openapi))
    for name, offer in service.offers.items():
        made.router.add_post(
            path_of(name, service.offers), handlers.watched(handlers.running(offer))
        )

    async def close(_: web.Application) -> None:
        service.close()

    made.on_cleanup.append(close)
    return made


@attrs.define(eq=False)
class _Past:
    """What has become of a request so far: the kind of its error, and the ids of what was executed."""

    error: str = ""
    ids: Mapping[str, str] = attrs.field(factory=dict)

    def answered(self, answered: Answered) -> None:
        """It was executed."""
        self.ids, self.error = answered.ids, type(answered.error).__name__ if answered.error else ""

    def failed(self, error: Exception) -> Problem:
        """It was not; the problem to be told."""
        problem = problem_of(error)
        self.error = problem.error
        return problem


Handling = Callable[[web.Request, _Past], Awaitable[web.StreamResponse]]


@attrs.frozen(eq=False)
class _Handlers:
    """The handlers of one application."""

    service: Service
    guard: Guard
    tell: Tell

    def watched(self, handling: Handling) -> Handler:
        """The handler of requests that may be asked: what goes wrong is a problem in JSON, and each
        end is told.
        """

        async def watched(request: web.Request) -> web.StreamResponse:
            began, past, status = time.perf_counter(), _Past(), GONE
            try:
                response = await self._guarded(request, past, handling)
                status = response.status
            finally:
                self.tell(
                    Told(
                        _route(request), status, time.perf_counter() - began, past.error, **past.ids
                    )
                )
            return response

        return watched

    def running(self, offer: Offer) -> Handling:
        """What executes a program."""

        async def run(request: web.Request, past: _Past) -> web.StreamResponse:
            pending = bound(offer, await body_of(request, self.service.limits.body))
            if MEDIA in request.headers.get("Accept", ""):
                return await self._streamed(request, past, offer, pending)
            async with self.service.turn(offer, pending, label_of(request)) as turn:
                answered = await turn.run()
            past.answered(answered)
            return answer_response(answered)

        return run

    async def openapi(self, request: web.Request, past: _Past) -> web.Response:
        """The document of what is offered here."""
        del past
        programs = {name: offer.program for name, offer in self.service.offers.items()}
        url = request.path.removesuffix("/openapi.json") or "/"
        return json_response(document(programs, url=url, token=bool(self.guard.token)))

    async def health(self, request: web.Request, past: _Past) -> web.Response:
        """Whether programs can be run. Who doesn't have the token is told no more than that."""
        del past
        found = await health(self.service)
        shown = found if self.guard.knows(request) else {"status": found["status"]}
        return json_response(shown, 200 if found["status"] == "ok" else 503)

    @property
    def unrouted(self) -> Any:
        """What aiohttp itself refuses, an unknown path or method, as a problem."""

        @web.middleware
        async def unrouted(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await handler(request)
            except web.HTTPMethodNotAllowed as error:
                allowed = ", ".join(sorted(error.allowed_methods))
                response = problem_response(
                    problem_of(Refused("unknown_method", f"it is asked by {allowed}."))
                )
                response.headers["Allow"] = allowed
                return response
            except web.HTTPNotFound:
                paths = [path_of(name, self.service.offers) for name in self.service.offers]
                told = f"there is {listed([*paths, '/openapi.json', '/healthz'])}."
                return problem_response(problem_of(Refused("unknown_path", told)))

        return unrouted

    async def _guarded(
        self, request: web.Request, past: _Past, handling: Handling
    ) -> web.StreamResponse:
        try:
            self.guard.check(request)
            return await handling(request, past)
        except LmflowError as error:
            return problem_response(past.failed(error))
        except Exception as error:
            request.app.logger.exception("a request failed in the server itself")
            return problem_response(past.failed(error))

    async def _streamed(
        self, request: web.Request, past: _Past, offer: Offer, pending: Pending
    ) -> web.StreamResponse:
        """The pieces of outputs as they come, then the answer. A problem before the first is a
        response of its own.
        """
        events = Events(request)
        try:
            async with self.service.turn(offer, pending, label_of(request)) as turn:
                answered = await _heard(events, turn)
            past.answered(answered)
            if answered.error is None:
                await events.send("done", answered.whole)
            elif not events.begun:
                return answer_response(answered)
            else:
                await events.send("error", problem_of(answered.error).body(**answered.ids))
        except LmflowError as error:
            if not events.begun:
                raise
            await events.send("error", past.failed(error).body())
        except ConnectionError:
            past.error = "gone"
        return events.response


async def _heard(events: Events, turn: Turn) -> Answered:
    """What comes of an execution whose outputs are sent as they come."""
    events.headers |= named({"version": turn.version.id})
    shown = {field.name for field in turn.offer.program.signature.outputs}
    async with turn.streamed() as (parts, task):
        async for part in events.paced(parts, SILENCE):
            if part.field in shown:
                await events.send("piece", attrs.asdict(part))
        return await task


def _route(request: web.Request) -> str:
    """What was asked for, by the server's own name for it."""
    resource = request.match_info.route.resource
    return f"{request.method} {resource.canonical if resource else '?'}"
