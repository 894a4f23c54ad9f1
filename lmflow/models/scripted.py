"""``scripted``: a model that answers from a script, for tests, examples and CI without a key."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import ModelFailed, clipped, safe_repr
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, ModelRequest
from lmflow.models.base import Http, Send

ScriptedAnswer = str | ChatReply | ModelFailed
Script = Callable[[ChatRequest], ScriptedAnswer]
_SCRIPT = "a script is a function of the request, a list of answers or a mapping"
_FIX = 'Write lf.scripted(["42"]), or lf.scripted({"": "42"}) for the same answer each time.'


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
            answer = _checked(self.script(request))
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

    Raises:
        TypeError: The script, or an answer of it, is of another kind.

    Example:
        >>> import lmflow as lf
        >>> lf.scripted({"capital of France": "Paris"}).name
        'scripted/model'
    """
    if isinstance(script, str) or not (callable(script) or isinstance(script, Iterable)):
        msg = f"{_SCRIPT}, found {type(script).__name__} {clipped(safe_repr(script), 60)}. {_FIX}"
        raise TypeError(msg)
    if callable(script):
        _check_function(script)
        return Scripted(script, name)
    if isinstance(script, Mapping):
        answers = {key: _checked(answer) for key, answer in script.items()}
        return Scripted(_by_text(answers), name)  # pyright: ignore[reportArgumentType]
    # A list is checked at once, an iterator as it is read.
    if isinstance(script, Sequence):
        script = list(map(_checked, script))
    return Scripted(_in_order(iter(script)), name)


def _checked(answer: Any) -> ScriptedAnswer:
    """Return an answer of a script. ``TypeError`` if it is of another kind."""
    if isinstance(answer, (str, ChatReply, ModelFailed)):
        return answer
    fix = "A reply is a text"
    if inspect.iscoroutine(answer):
        answer.close()
        fix = "The function is a plain one, without async"
    elif isinstance(answer, Mapping):
        lines = [f"[[{field}]]\n{value}" for field, value in answer.items()]
        text = clipped(repr("\n".join(lines)), 200)
        fix = f"A reply is what a model would write, here {text}"
    expected = "a text, a ChatReply or a ModelFailed"
    msg = f"a script answers with {expected}, found {_kind(answer)}. {fix}."
    raise TypeError(msg)


def _kind(value: object) -> str:
    return f"{type(value).__name__} {clipped(safe_repr(value), 60)}"


def _check_function(script: Callable[..., Any]) -> None:
    """Raise ``TypeError`` if a script can't be called with a request."""
    try:
        inspect.signature(script).bind("request")
    except ValueError:  # a builtin that doesn't say what it takes
        return
    except TypeError as problem:
        msg = f"{_SCRIPT}, found a function that can't be called with one: {problem}. {_FIX}"
        raise TypeError(msg) from None


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
