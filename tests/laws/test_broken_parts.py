"""The laws of the suites: each finds a part that breaks it, and says what is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import attrs
import pytest
from own_adapter import PAIRS

import lmflow as lf
from lmflow import testing
from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply
from lmflow.optimizers.parts.needs import Need
from lmflow.testing import LawBroken


def _broken(check: Callable[[], None]) -> str:
    """The words of the law that a check finds broken."""
    with pytest.raises(LawBroken) as caught:
        check()
    return str(caught.value)


def _forgetful(signature: Any, text: str, whole: bool) -> Any:  # noqa: FBT001 - the shape of read
    outputs = dict(PAIRS.read(signature, text, whole))
    return lf.Record({name: "" if isinstance(v, str) else v for name, v in outputs.items()})


def _crashing(signature: Any, text: str, whole: bool) -> Any:  # noqa: FBT001 - the shape of read
    if not text.strip():
        raise IndexError
    return PAIRS.read(signature, text, whole)


COUNTER = itertools.count()


def _changing(_: Any) -> str:
    return f"Reply, for the {next(COUNTER)}th time."


def _half(signature: Any, text: str) -> dict[str, str]:
    del text
    return {field.name: "half" for field in signature.outputs}


ADAPTERS: dict[str, tuple[lf.Adapter, str]] = {
    "reads something else": (attrs.evolve(PAIRS, read=_forgetful), "are those that ``read`` reads"),
    "crashes on a reply": (attrs.evolve(PAIRS, read=_crashing), "raised IndexError"),
    "asks in other words": (
        attrs.evolve(PAIRS, form=_changing),
        "Form, cue and schema are the same",
    ),
    "streams something else": (attrs.evolve(PAIRS, partial=_half), ""),
    "writes the inputs": (
        attrs.evolve(PAIRS, answer=lambda s, v: str(len(s.outputs)) + str(v), version="1"),
        "which it wrote",
    ),
}


@pytest.mark.parametrize("name", sorted(set(ADAPTERS) - {"streams something else"}))
def test_a_broken_adapter_is_found(name: str) -> None:
    """An adapter that can't read what it wrote, or isn't a pure function, is refused in words."""
    adapter, words = ADAPTERS[name]
    assert words in _broken(lambda: testing.check_adapter(adapter))


def test_pieces_that_are_wrong_are_taken_back() -> None:
    """What an adapter shows too early or wrongly of a stream is void once the reply is whole."""
    testing.check_adapter(ADAPTERS["streams something else"][0])


@attrs.define
class _Bypassing:
    """A model that answers beside ``send``."""

    name: str = "mine/bypassing"
    endpoint: str = "here"

    async def __call__(self, request: Any, send: Any) -> Any:
        del request, send
        return ChatReply("yes")

    async def aclose(self) -> None:
        pass


@attrs.define
class _Renaming(_Bypassing):
    """A model that has another name after each call."""

    async def __call__(self, request: Any, send: Any) -> Any:
        self.name += "+"

        async def exchange(_: Any) -> ChatReply:
            return ChatReply(str(request))

        return await send(exchange)


@attrs.define
class _Swallowing(_Bypassing):
    """A model that answers whatever happens."""

    async def __call__(self, request: Any, send: Any) -> Any:
        async def exchange(_: Any) -> ChatReply:
            return ChatReply(str(request))

        try:
            return await send(exchange)
        except Exception:  # noqa: BLE001 - what is wrong with it
            return ChatReply("fine")


@attrs.define
class _Mumbling(_Bypassing):
    """A model whose pieces aren't its text."""

    async def __call__(self, request: Any, send: Any) -> Any:
        async def exchange(http: Any) -> ChatReply:
            if not hasattr(request, "messages"):
                raise ModelFailed("request", "it has no vectors")
            if http.hear is not None:
                http.hear("something else")
            return ChatReply("yes", chunks=(3,) if http.hear else ())

        return await send(exchange)


MODELS: dict[str, tuple[Any, str]] = {
    "bypasses send": (_Bypassing, "never called send"),
    "changes its name": (_Renaming, "Name and endpoint"),
    "swallows errors": (_Swallowing, "answered"),
    "streams another text": (_Mumbling, "the pieces that the listener heard"),
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_broken_model_is_found(name: str) -> None:
    """A model that isn't recorded, or changes under its key, is refused in words."""
    make, words = MODELS[name]
    assert words in _broken(lambda: testing.check_model(make()))


class _Losing(lf.MemoryStore):
    """A store that says that it keeps events, and loses each third."""

    lost = 0

    def append(self, *events: Any) -> Future[None]:
        """Keep two of three events."""
        self.lost += 1
        if self.lost % 3 == 0 and events:
            return super().append()
        return super().append(*events)


class _Halving(lf.MemoryStore):
    """A store that keeps events one by one, so that a part of an append may stay."""

    def append(self, *events: Any) -> Future[None]:
        """Keep each event by itself."""
        future = super().append()
        for event in events:
            future = super().append(event)
        return future


class _Reversed(lf.MemoryStore):
    """A store that finds the oldest answer of a key."""

    def answer(self, key: str) -> Any:
        """The answer, but of another trace."""
        found = super().answer(key)
        return found and ("another", found[1])


STORES: dict[str, tuple[Callable[[], Any], str]] = {
    "loses events": (_Losing, ""),
    "keeps halves": (_Halving, "none of the append is kept"),
    "names another trace": (_Reversed, "the answer"),
}


@pytest.mark.parametrize("name", sorted(STORES))
def test_a_broken_store_is_found(name: str) -> None:
    """A store that loses or mixes what it was given is refused in words."""
    make, words = STORES[name]
    assert words in _broken(lambda: testing.check_store(make))


TIMES = itertools.count()


@lf.staged(bound=lambda _program, data, **_: len(data.select), parts=["select"])
def _impure(task: Any, *, seed: int = 0) -> Any:
    del seed
    version = task.version.put({"think.instruction": f"Think {next(TIMES)}."})
    yield from lf.score_candidate(task, version, "one", lf.Best(task.version))
    return version


@lf.staged()
def _unbounded(task: Any, *, seed: int = 0) -> Any:
    del seed
    yield from lf.score_candidate(task, task.version, "one", lf.Best(task.version))
    return task.version


@lf.staged()
def _cheating(task: Any, *, seed: int = 0) -> Any:
    del seed
    yield from ()
    demos = [lf.Record(row).only("question", "answer") for row in task.data.select]
    return task.version.put({"decide.demos": demos})


def _orphaned(program: Any, traces: Any, metric: Any) -> lf.Version | Need:
    del program, metric
    return lf.Version(params=traces.version.params, note="of nobody")


def _foreign(program: Any, traces: Any, metric: Any) -> lf.Version | Need:
    del program, metric
    start = traces.version
    return lf.Version(params={**start.params, "nobody.instruction": "x"}, parents=(start.id,))


OPTIMIZERS: dict[str, tuple[Any, str]] = {
    "is impure": (_impure(), "the second answer to the same arguments"),
    "needs more than its bound": (_unbounded(), "the bound is 0"),
    "shows what it is judged by": (_cheating(), "the examples for selection that are shown"),
    "returns a version of nobody": (_orphaned, "the parents of the version"),
    "invents a path": (_foreign, "the paths that the program lacks"),
}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_broken_optimizer_is_found(name: str) -> None:
    """An optimizer that can't be resumed, bounded or trusted is refused in words."""
    optimizer, words = OPTIMIZERS[name]
    assert words in _broken(lambda: testing.check_optimizer(optimizer))


CALLS = itertools.count()


@lf.tool
def counting(text: str) -> str:
    """Count the calls."""
    return f"{text}{next(CALLS)}"


@lf.tool
def undescribed(text: str) -> str:  # noqa: D103 - what is wrong with it
    return text


TOOLS: dict[str, tuple[lf.Program, str]] = {
    "answers differently": (counting, "the second answer of a cached tool"),
    "has no description": (undescribed, "give its function a docstring"),
    "takes no names": (lf.tool("count", "text -> n: int", len, version="1"), "no keyword"),
    "gives another type": (
        lf.tool("wrong", "text -> n: int", lambda text: text, version="1", description="?"),
        "expects int",
    ),
}


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_broken_tool_is_found(name: str) -> None:
    """A tool whose answers can't be used again, or that no model can use, is refused in words."""
    tool, words = TOOLS[name]
    assert words in _broken(lambda: testing.check_tool(tool, text="a"))  # type: ignore[arg-type]


def test_a_law_names_itself() -> None:
    """The error begins with the sentence of the law."""
    words = _broken(lambda: testing.check_tool(undescribed, text="a"))
    assert words.startswith("An agent can offer the tool")


async def test_a_suite_runs_inside_a_loop() -> None:
    """A notebook, which has a running loop, can check a part too."""
    testing.check_model(lf.scripted(lambda _: "yes"))


@lf.tool
def release(version: str, store: str) -> str:
    """Name a release."""
    return f"{store} {version}"


@lf.staged()
def same_version(task: lf.Task) -> Any:
    """Keep the version."""
    yield from ()
    return task.version


def test_a_tool_may_have_inputs_named_like_options_of_a_run() -> None:
    """The suite gives a tool its inputs whatever their names are."""
    testing.check_tool(release, version="2.0", store="main")


UNTYPED: Any = testing


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: UNTYPED.check_tool(release, {"version": "1"}), "check_tool(release, version=..."),
        (lambda: UNTYPED.check_tool(len, text="a"), "Write @lf.tool above"),
        (lambda: UNTYPED.check_store(lf.MemoryStore()), "check_store(lf.MemoryStore)."),
        (lambda: UNTYPED.check_optimizer(same_version), "check_optimizer(same_version())."),
    ],
)
def test_a_part_in_the_wrong_form_is_named(call: Callable[[], None], words: str) -> None:
    """What isn't a part of the kind is no broken law: the line to write is named."""
    with pytest.raises(TypeError) as caught:
        call()
    assert words in str(caught.value)
