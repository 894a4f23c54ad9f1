"""A model that answers from a script: for tests, examples and CI without a key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, ModelRequest
from lmflow.models.base import Http, Send

Answer = str | ChatReply | ModelFailed
Script = Callable[[ChatRequest], Answer]


@attrs.frozen(eq=False)
class Scripted:
    """Answers each request by a function of it, word by word where somebody listens."""

    script: Script
    name: str = "scripted/model"
    endpoint: str = "scripted"

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """What the script says; a ``ModelFailed`` in it is raised."""

        async def exchange(http: Http) -> ChatReply:
            if isinstance(request, EmbedRequest):
                raise ModelFailed("request", "the script has no vectors")
            answer = self.script(request)
            if isinstance(answer, ModelFailed):
                raise answer
            reply = answer if isinstance(answer, ChatReply) else ChatReply(answer, model=self.name)
            return reply if http.hear is None else _streamed(reply, http.hear)

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


def scripted(
    script: Script | Mapping[str, Answer] | Iterable[Answer], *, name: str = "scripted/model"
) -> Scripted:
    """A model from a function of the request, from answers in order, or from a mapping: the first
    key that occurs in the last message gives the answer.

    Answers are texts, replies or ``ModelFailed`` values. What the script doesn't cover is a
    ``ModelFailed``. Answers in order depend on the order of calls: with concurrency use a function
    or a mapping.
    """
    if callable(script):
        return Scripted(script, name)
    answers = _by_text(script) if isinstance(script, Mapping) else _in_order(iter(script))  # type: ignore[arg-type, unused-ignore]
    return Scripted(answers, name)


def _streamed(reply: ChatReply, hear: Callable[[str], None]) -> ChatReply:
    words = re.findall(r"\s*\S+|\s+$", reply.text)
    for word in words:
        hear(word)
    return attrs.evolve(reply, chunks=tuple(map(len, words)))


def _by_text(answers: Mapping[str, Answer]) -> Script:
    def answer(request: ChatRequest) -> Answer:
        text = request.messages[-1].content
        return next((reply for key, reply in answers.items() if key in text), _nothing(text))

    return answer


def _in_order(answers: Iterator[Answer]) -> Script:
    return lambda request: next(answers, _nothing(request.messages[-1].content))


def _nothing(text: str) -> ModelFailed:
    return ModelFailed("request", f"the script has no answer for {text[:200]!r}")
