"""The laws of adapters."""

from __future__ import annotations

import enum
import json
import pickle
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import attrs

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.base import Unreadable
from lmflow.adapters.registry import AnyAdapter, adapter_of
from lmflow.execution.executor import Executor
from lmflow.messages.requests import ChatRequest
from lmflow.models.scripted import scripted
from lmflow.programs.factories import predict
from lmflow.programs.program import Predict
from lmflow.replays.exact import replay
from lmflow.replays.stream import replay_stream
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.testing.laws import LawBroken, check_laws, holds, laws, same
from lmflow.values.record import Record, plain


def check_adapter(adapter: AnyAdapter) -> None:
    """Check the laws of an adapter. No model is called.

    Args:
        adapter: The adapter, or the name of one of lmflow's own.

    Raises:
        LawBroken: The adapter breaks a law; the message has the law and what was found.

    Example:
        >>> check_adapter("xml")
    """
    check_laws(ADAPTER_LAWS, lambda: adapter_of(adapter))


class Color(enum.Enum):
    """A choice."""

    RED = "red"
    DARK_BLUE = "dark blue"


@attrs.frozen
class Item:
    """An object with a list and a default."""

    name: str
    tags: tuple[str, ...] = ()
    stars: Annotated[int, Field(ge=0, le=5)] = 0


class Case(NamedTuple):
    """A step's signature, and outputs that fit it."""

    signature: Signature
    outputs: Mapping[str, Any]


def _case(outputs: Mapping[str, tuple[Any, Any]]) -> Case:
    fields = tuple(Field(name=name, type=kind) for name, (kind, _) in outputs.items())
    signature = Signature((Field(name="question"),), fields)
    return Case(signature, {name: value for name, (_, value) in outputs.items()})


TEXTS = (
    "fine",
    "two lines\nof text",
    "if a < b and c > d:\n    return a & b",
    "a: b",
    "<b>bold</b> &amp; {braces} [1] \u00e9\u4e2d\U0001f600",
    '{"other": "a"}',
    "```python\nprint(1)\n```",
)
CASES = (
    *(_case({"answer": (str, text)}) for text in TEXTS),
    *(_case({"reasoning": (str, text), "answer": (str, "yes")}) for text in TEXTS),
    _case({"count": (int, -3)}),
    _case({"score": (float, 0.5), "sure": (bool, False)}),
    _case({"label": (Literal["a", "b c"], "b c"), "color": (Color, Color.DARK_BLUE)}),
    _case({"names": (list[str], ("Ada Lovelace", "x < y & z")), "note": (str | None, None)}),
    _case({"empty": (list[int], ()), "answer": (str, "yes")}),
    _case({"things": (list[Item], (Item("a", ("b",), 3), Item("c"))), "why": (str, "so")}),
    _case({"thing": (Item, Item("<x>", ("&", "]")))}),
    _case({"counts": (dict[str, int], {"a b": 1, "c": 2}), "answer": (str, "yes")}),
)
"""Signatures with outputs that an adapter must be able to write and read."""

ODD_REPLIES = (
    "", " ", "\n\n", "I can't help with that.", "{", "}", "[", "<", "</answer>", "<answer>",
    "<answer", "[[answer]]", "[[", "answer:", "answer: ", "null", "{}", "[]", "\u0000", "\ud800",
    '{"answer": ', '{"nswer": "a"}', "<think>hm", "```", "&lt;", "<![CDATA[", "9" * 5000,
    "[" * 500, '{"a":' * 300, "<a>" * 300, "<answer>" * 300, "answer:\n" * 300, "\r\n\t\v\x1b[31m",
)  # fmt: skip
"""Replies that a model may give, of which nothing but outputs or ``Unreadable`` may come."""


def _reads_itself(adapter: Adapter) -> bool:
    """Tell whether the outputs are read from the first reply, not from one that extracts them."""
    return adapter.extraction is None


def _it_reads_what_it_wrote(adapter: Adapter) -> None:
    """The outputs that ``answer`` writes are those that ``read`` reads, of their types."""
    for signature, outputs in CASES if _reads_itself(adapter) else ():
        text = adapter.answer(signature, outputs)
        try:
            read = adapter.read(signature, text, True)  # noqa: FBT003 - the shape of read
        except Unreadable as problem:
            msg = f"{signature}: it can't read {text!r}, which it wrote: {problem}"
            raise LawBroken(msg) from problem
        same(Record(outputs), read, f"{signature}: the outputs read from {text!r}")
        kinds = [type(outputs[name]) for name in read if name != "counts"]
        same(kinds, [type(read[name]) for name in read if name != "counts"], f"{signature}: types")


def _any_reply_is_read_or_refused(adapter: Adapter) -> None:
    """Of any reply, whole or cut, come all outputs, or ``Unreadable`` with words; nothing else."""
    for signature, outputs in CASES:
        written = adapter.answer(signature, outputs)
        parts = [written[:end] for end in range(0, len(written), 3)]
        for text in (*ODD_REPLIES, *parts):
            for whole in (True, False):
                _check_reading(adapter, signature, text, whole=whole)


def _check_reading(adapter: Adapter, signature: Signature, text: str, *, whole: bool) -> None:
    where = f"{signature}: read({text[:60]!r}, whole={whole})"
    try:
        read = adapter.read(signature, text, whole)
    except Unreadable as problem:
        holds(str(problem), f"{where} raised Unreadable without words")
        return
    except Exception as problem:
        msg = f"{where} raised {type(problem).__name__}: {problem}"
        raise LawBroken(msg) from problem
    names = [field.name for field in signature.outputs]
    same(names, list(read), f"{where}: the names of the outputs")


def _it_asks_in_the_same_words(adapter: Adapter) -> None:
    """Form, cue and schema are the same each time: they are part of every call's key."""
    for signature, _ in CASES:
        asked = [_asked_by(adapter, signature) for _ in range(2)]
        same(asked[0], asked[1], f"{signature}: form, cue and schema")
        holds(isinstance(asked[0][0], str), f"{signature}: the form is {asked[0][0]!r}, not a text")
        holds(isinstance(asked[0][1], str), f"{signature}: the cue is {asked[0][1]!r}, not a text")


def _asked_by(adapter: Adapter, signature: Signature) -> tuple[Any, Any, str]:
    schema = adapter.schema(signature)
    return adapter.form(signature), adapter.cue(signature), json.dumps(plain(schema))


def _a_part_of_the_outputs_is_written(adapter: Adapter) -> None:
    """A demonstration may lack outputs: those that it has are written, the others left out."""
    for signature, outputs in CASES:
        for name, value in outputs.items():
            text = adapter.answer(signature, {name: value})
            holds(isinstance(text, str), f"{signature}: answer({name}=...) is {text!r}, not a text")


def _stored_outputs_are_written_as_live_ones(adapter: Adapter) -> None:
    """Values of their types and those that were stored as JSON, sorted, make the same text."""
    for signature, outputs in CASES:
        typed = signature.typed(json.loads(json.dumps(plain(outputs), sort_keys=True)))
        stored = typed.only(*(field.name for field in signature.outputs))
        live, again = adapter.answer(signature, outputs), adapter.answer(signature, stored)
        same(live, again, f"{signature}: the text of the stored outputs")


def _its_ref_is_stable(adapter: Adapter) -> None:
    """The name that recordings hold is the same for an equal adapter, also from a pickle."""
    same(adapter.ref, attrs.evolve(adapter).ref, "the ref of a copy")
    same(adapter.ref, str(adapter), "str(adapter)")
    try:
        pickled = pickle.dumps(adapter)
    except Exception:  # noqa: BLE001 - functions of a notebook or of a function have no module
        return
    loaded = pickle.loads(pickled)  # noqa: S301 - made here
    same(adapter.ref, loaded.ref, "the ref of the unpickled adapter")


async def _a_step_runs_and_replays(adapter: Adapter) -> None:
    """A step with the adapter is answered, recorded, and replays offline to the same root."""
    for signature, outputs in CASES:
        step = predict("step", signature, adapter=adapter)
        async with Executor(scripted(_script(adapter, outputs, signature))) as ex:
            trace = await ex.run(step, question="?")
        same(Record(outputs), trace.outputs, f"{signature}: the outputs of the run")
        same(trace.root, replay(trace, step).root, f"{signature}: the root of the replay")


async def _the_pieces_of_a_stream_are_the_texts(adapter: Adapter) -> None:
    """However a reply is cut into pieces, those of a text output make up the text."""
    for signature, outputs in CASES if _reads_itself(adapter) else ():
        step = predict("step", signature, adapter=adapter)
        async with Executor(scripted(_script(adapter, outputs, signature))) as ex:
            trace = await ex.run(step, question="?")
        for size in (1, 3, 1000):
            texts = _streamed(trace, step, size)
            for name, value in outputs.items():
                if isinstance(value, str) and not isinstance(value, enum.Enum):
                    what = f"{signature}: the pieces of {name!r}, {size} letters each"
                    same(value, texts.get(name, ""), what)


def _streamed(trace: Any, step: Predict, size: int) -> dict[str, str]:
    """The text of each output, from the pieces of a reply that came in pieces of that size."""
    call = trace.calls[0]
    text = call.outcome.text
    lengths = tuple(len(text[start : start + size]) for start in range(0, len(text), size))
    cut = attrs.evolve(call, outcome=attrs.evolve(call.outcome, chunks=lengths))
    texts: dict[str, str] = {}
    for part in replay_stream(trace.finished(calls=(cut,), choices=trace.choices, world=trace.world,
                                             outputs=trace.outputs, failure=None, ended=trace.ended,
                                             code=step), step):  # fmt: skip
        texts[part.field] = part.text if part.anew else texts.get(part.field, "") + part.text
    return texts


def _script(adapter: Adapter, outputs: Mapping[str, Any], signature: Signature) -> Iterator[str]:
    """The replies of a model that does as it is asked."""
    yield adapter.answer(signature, outputs)
    if adapter.extraction is not None:
        yield adapter.extraction.adapter.answer(signature, outputs)


def _demonstrations_are_shown(adapter: Adapter) -> None:
    """A demonstration is shown as turns, the outputs as the adapter writes them."""
    from lmflow.interpreter.predict import predict_messages  # noqa: PLC0415

    for signature, outputs in CASES:
        demo = {"question": "first?", **outputs}
        step = predict("step", signature, demos=[demo], adapter=adapter)
        params = {f"step.{slot}": value for slot, value in step.slots.items()}
        messages = predict_messages(step, params, {"question": "second?"})
        same(adapter.answer(signature, outputs), messages[-2].content, "the demonstration")
        holds("second?" in messages[-1].content, "the question isn't shown")
        request = ChatRequest(messages)
        same(request.key, ChatRequest(messages).key, "the key of the request")


ADAPTER_LAWS = laws(
    _it_reads_what_it_wrote,
    _any_reply_is_read_or_refused,
    _it_asks_in_the_same_words,
    _a_part_of_the_outputs_is_written,
    _stored_outputs_are_written_as_live_ones,
    _its_ref_is_stable,
    _demonstrations_are_shown,
    _a_step_runs_and_replays,
    _the_pieces_of_a_stream_are_the_texts,
)
"""The laws of an adapter; some of them are awaited."""
