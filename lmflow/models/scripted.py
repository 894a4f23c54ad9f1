"""``scripted``: a model that answers from a script, for tests, examples and CI without a key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, ModelRequest
from lmflow.models.base import Http, Send

ScriptedAnswer = str | ChatReply | ModelFailed
Script = Callable[[ChatRequest], ScriptedAnswer]


@attrs.frozen(eq=False)
class Scripted:
    """Answers each request by a function of the request, word by word if somebody listens."""

    script: Script
    name: str = "scripted/model"
    endpoint: str = "scripted"

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The script's answer to a request. A ``ModelFailed`` in the script is raised."""

        async def exchange(http: Http) -> ChatReply:
            if isinstance(request, EmbedRequest):
                raise ModelFailed("request", "the script has no vectors")
            answer = self.script(request)
            if isinstance(answer, ModelFailed):
                raise answer
            reply = answer if isinstance(answer, ChatReply) else ChatReply(answer, model=self.name)
            return reply if http.hear is None else _stream_words(reply, http.hear)

        return await send(exchange)

    async def aclose(self) -> None:
        """Does nothing."""


def scripted(
    script: Script | Mapping[str, ScriptedAnswer] | Iterable[ScriptedAnswer],
    *,
    name: str = "scripted/model",
) -> Scripted:
    """Makes a model that answers from a script.

    Args:
        script: A function of the request; answers in order; or a mapping, in which the first key
            that occurs in the last message selects the answer. An answer is a text, a reply or a
            ``ModelFailed``, which is raised. Answers in order depend on the order of calls: with
            concurrency, use a function or a mapping.
        name: The model's name.

    Returns:
        The model. A request that the script doesn't cover is a ``ModelFailed``.

    Example:
        >>> import lmflow as lf
        >>> lf.scripted({"capital of France": "Paris"}).name
        'scripted/model'
    """
    if callable(script):
        return Scripted(script, name)
    if isinstance(script, Mapping):
        return Scripted(_by_text(script), name)  # pyright: ignore[reportArgumentType]
    return Scripted(_in_order(iter(script)), name)


def _stream_words(reply: ChatReply, hear: Callable[[str], None]) -> ChatReply:
    words = re.findall(r"\s*\S+|\s+$", reply.text)
    for word in words:
        hear(word)
    return attrs.evolve(reply, chunks=tuple(map(len, words)))


def _by_text(answers: Mapping[str, ScriptedAnswer]) -> Script:
    def answer(request: ChatRequest) -> ScriptedAnswer:
        text = request.messages[-1].content
        return next((reply for key, reply in answers.items() if key in text), _no_answer(text))

    return answer


def _in_order(answers: Iterator[ScriptedAnswer]) -> Script:
    return lambda request: next(answers, _no_answer(request.messages[-1].content))


def _no_answer(text: str) -> ModelFailed:
    return ModelFailed("request", f"the script has no answer for {text[:200]!r}")
