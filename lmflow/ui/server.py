"""The application of the web view: routes, checks of each request, pages and their JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
from aiohttp import web

from lmflow.errors import BadCondition, LmflowError, NotFound, UnknownVersion
from lmflow.serve.event_stream import EventStream
from lmflow.ui.access import READS, SAFE_HEADERS, Access
from lmflow.ui.assets import Asset, load_assets
from lmflow.ui.pages import Act, Asked, BadQuery, Screen, Shown, Sources
from lmflow.ui.rendering import Templates, make_templates
from lmflow.ui.tail import Change, Tail
from lmflow.values.record import plain

LARGEST_FORM = 64_000
"""Bytes of a form."""

SILENCE = 10.0
"""Seconds without a change after which an open page is sent a comment."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_NO_SESSION = (
    "This page needs the link that `lmflow ui` printed in the terminal: it has a token in it.\n"
)


def application(
    sources: Sources, access: Access, screens: Sequence[Screen], acts: Sequence[Act] = ()
) -> web.Application:
    """Make the application of screens and acts over a store.

    Args:
        sources: Everything that screens use from outside.
        access: The secret of the server.
        screens: The pages.
        acts: The forms that may be posted.

    Returns:
        The application. Run it with ``handler_cancellation=True``.
    """
    view = _View(sources, access, screens)
    app = web.Application(middlewares=[view.guarded], client_max_size=LARGEST_FORM)
    app.router.add_get("/static/{name}", view.static)
    app.router.add_get("/favicon.ico", view.icon)
    app.router.add_get("/events", view.events)
    for screen in screens:
        app.router.add_get(screen.path, view.screen(screen))
    for act in acts:
        app.router.add_post(act.path, view.act(act))

    async def close(_: web.Application) -> None:
        view.tail.close()

    app.on_shutdown.append(close)
    return app


@attrs.define(eq=False)
class _View:
    """The handlers of one application."""

    sources: Sources
    access: Access
    screens: Sequence[Screen]
    templates: Templates = attrs.field(factory=make_templates)
    assets: Mapping[str, Asset] = attrs.field(factory=load_assets)
    tail: Tail = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tail = Tail(self.sources.reading)

    @property
    def guarded(self) -> Any:
        """The middleware that admits requests and gives each response the safe headers."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await self._admitted(request, handler)
            if not response.prepared:
                response.headers.update(SAFE_HEADERS)
                response.headers.setdefault("Cache-Control", "no-store")
            return response

        return guarded

    async def _admitted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if problem := self.access.problem(request):
            return web.Response(status=403, text=f"refused: {problem}.\n")
        if "token" in request.query and request.method in READS:
            return self._first_visit(request)
        if not self.access.has_session(request):
            return web.Response(status=401, text=_NO_SESSION)
        return await self._answered(request, handler)

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return self._problem(request, f"a form may have {LARGEST_FORM:,} bytes.", 413)
        except web.HTTPException as error:
            return self._problem(request, f"{request.path}: {error.reason}.", error.status)
        except LmflowError as error:
            return self._problem(request, str(error), _status(error))

    def _first_visit(self, request: web.Request) -> web.Response:
        """Answer the printed URL: the token becomes a cookie, and leaves the address bar."""
        if not self.access.has_token(request):
            return web.Response(status=401, text=_NO_SESSION)
        rest = request.rel_url.without_query_params("token")
        response = web.Response(status=303, headers={"Location": str(rest)})
        name = self.access.cookie_name(request)
        response.set_cookie(name, self.access.session, path="/", httponly=True, samesite="Strict")
        return response

    def screen(self, screen: Screen) -> Handler:
        """The handler of a screen: a page, one of its fragments, or its JSON values."""

        async def show(request: web.Request) -> web.StreamResponse:
            query = {name: request.query.getall(name) for name in request.query}
            shown = await asyncio.to_thread(self._load, screen, request.match_info, query)
            if request.query.get("format") == "json":
                return _json_response(shown.data)
            return self._rendered(request, screen, shown)

        return show

    def _load(
        self, screen: Screen, path: Mapping[str, str], query: Mapping[str, Sequence[str]]
    ) -> Shown:
        with self.sources.reading() as reader:
            return screen.load(Asked(self.sources, reader, dict(path), query))

    def _rendered(self, request: web.Request, screen: Screen, shown: Shown) -> web.Response:
        values = {**shown.data, **self._frame(request, shown, screen.path)}
        fragment = request.query.get("fragment", "")
        if not fragment:
            return _page(self.templates.page(screen.template, values))
        text = self.templates.fragment(screen.template, fragment, values)
        if text is None:
            raise BadQuery("fragment", fragment, "a part of this page")
        return _page(text)

    def act(self, act: Act) -> Handler:
        """The handler of a posted form: does it, then shows the page that the act names."""

        async def post(request: web.Request) -> web.StreamResponse:
            form = {name: str(value) for name, value in (await request.post()).items()}
            if not self.access.has_form_token(form):
                return web.Response(status=403, text="refused: the form is not of this server.\n")
            return web.Response(status=303, headers={"Location": await act.do(self.sources, form)})

        return post

    async def static(self, request: web.Request) -> web.StreamResponse:
        """Answer with a file of the fixed table."""
        asset = self.assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "max-age=31536000, immutable"}
        return web.Response(body=asset.content, content_type=asset.media, headers=headers)

    async def icon(self, request: web.Request) -> web.StreamResponse:
        """Answer with the icon, which browsers ask for by themselves."""
        del request
        asset = self.assets["icon.svg"]
        return web.Response(body=asset.content, content_type=asset.media)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Tell an open page what changes in the store, or in the run ``?run=ID``."""
        run, stream = request.query.get("run", "*"), EventStream(request)
        stream.headers |= SAFE_HEADERS
        with contextlib.suppress(ConnectionError):
            async with self.tail.listen() as queue:
                await stream.send("hello", {})
                changes: asyncio.Queue[Change | None] = queue  # type: ignore[assignment]
                async for change in stream.keep_alive(changes, SILENCE):
                    if change.concerns(run):
                        await stream.send("change", attrs.asdict(change))
                    if change.problem:
                        break
        return stream.response

    def _frame(self, request: web.Request, shown: Shown, place: str) -> dict[str, Any]:
        """Return what every page has beside the values of its screen."""
        plain_url = request.rel_url.without_query_params("format", "fragment")
        return {
            "title": shown.title,
            "command": shown.command,
            "live": shown.live,
            "store": self.sources.store,
            "who": self.sources.who,
            "screens": [screen for screen in self.screens if screen.word],
            "place": place,
            "here": str(plain_url),
            "json_url": str(plain_url.update_query(format="json")),
            "form_token": self.access.form_token,
            "tags": {name: asset.tag for name, asset in self.assets.items()},
        }

    def _problem(self, request: web.Request, text: str, status: int) -> web.Response:
        if request.query.get("format") == "json":
            return _json_response({"error": text, "status": status}, status)
        frame = self._frame(request, Shown("Problem", "", {}), "")
        values = {**frame, "text": text, "status": status}
        return _page(self.templates.page("problem.html", values), status)


def _page(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")


def _json_response(value: Any, status: int = 200) -> web.Response:
    # ASCII, so that no text of a model is taken for another encoding.
    text = json.dumps(plain(value), indent=2)
    return web.Response(text=text, status=status, content_type="application/json")


def _status(error: LmflowError) -> int:
    if isinstance(error, (NotFound, UnknownVersion)):
        return 404
    return 400 if isinstance(error, (BadQuery, BadCondition)) else 409
