"""The laws of the XML adapter: tags around outputs, elements within them, odd replies read."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import Pair, texts, typed
from streamed import folded

import lmflow as lf
from lmflow.adapters.elements import escape, unescape
from lmflow.adapters.xml import XML
from lmflow.interpreter.partial import Partial, ReplySource, new_reader
from lmflow.interpreter.predict import Unreadable, read_outputs
from lmflow.messages.requests import ChatRequest
from lmflow.signatures.declaration import parse_signature
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record, plain


@attrs.frozen
class Item:
    """An object in a list."""

    name: str
    tags: tuple[str, ...] = ()


STEP = lf.predict(
    "step",
    "question -> reasoning, items_: list[Item], score: int, note: Optional[str], by: dict[str, int]",
    "Do it.",
    adapter="xml",
    types={"Item": Item},
)
SIGNATURE = STEP.signature
OUTPUTS = {
    "reasoning": "why not",
    "items_": (Item("a", ("b", "c")), Item("d")),
    "score": 3,
    "note": None,
    "by": Record({"a b": 1}),
}
REST = "<items_/><score>3</score><by/>"
READ = {"reasoning": "r", "items_": (), "score": 3, "note": None, "by": Record()}


def test_inputs_and_outputs_stand_between_tags() -> None:
    """Inputs as they are, the form with nested elements for nested types, the cue with the tags."""
    system, user = lf.render(STEP, {"question": "why <b>?"})
    assert "Do it.\n\nReply in this form:\n<reasoning>\n...\n</reasoning>\n" in system.content
    assert (
        "<items_><item><name>...</name><tags><item>...</item>...</tags></item>...</items_>"
        in system.content
    )
    assert '<by><entry key="...">a whole number</entry>...</by>' in system.content
    assert (
        "<question>\nwhy <b>?\n</question>\n\nReply with <reasoning>, then <items_>, then <score>, "
        "then <note>, then <by>."
    ) == user.content


def test_media_stand_between_tags() -> None:
    """A picture is placed at the place of its field, within the field's tags."""
    see = lf.predict("see", "picture: Image, question -> answer", adapter="xml")
    message = lf.render(see, {"picture": lf.Image(b"GIF89a"), "question": "?"})[-1]
    place = message.attached[0].at
    assert "<picture>\n" == message.content[:place][-10:]
    assert "\n</picture>" == message.content[place:][:11]


def _is_plain(value: Any) -> bool:
    """Tell whether no text in a value has space around it, or could be taken for null or JSON."""
    if isinstance(value, str):
        return value == value.strip() and value[:1].isalpha() and value.lower() not in _NULLS
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    return all(map(_is_plain, value)) if isinstance(value, list) else True


_NULLS = {"null", "none", "n/a"}


@given(typed, st.data())
def test_a_demonstration_of_any_type_is_read_back(pair: Pair, data: st.DataObject) -> None:
    """What a demonstration shows is read as its value, of its type, whatever the type."""
    kind, values = pair
    value = data.draw(values.filter(lambda value: _is_plain(plain(value))))
    signature = Signature((Field(name="q"),), (Field(name="a", type=kind), Field(name="b")))
    read = XML.read(signature, XML.answer(signature, {"a": value, "b": "x"}), True)  # noqa: FBT003
    assert Record(a=value, b="x") == read
    assert type(value) is type(read.a)


@given(texts)
def test_escaped_text_is_the_text(text: str) -> None:
    """What is escaped is read back, and only what looks like a tag or an entity is."""
    assert text == unescape(escape(text))
    assert "a < b && c > d" == escape("a < b && c > d")


@pytest.mark.parametrize(
    "text",
    [
        f"<reasoning>r</reasoning>{REST}",
        f"<reasoning>\nr\n</reasoning>\n\n{REST}",
        f"Sure! Here you are:\n<reasoning>r</reasoning>{REST}\nI hope it helps.",
        f"```xml\n<reasoning>r</reasoning>\n{REST}\n```",
        f"<response><reasoning>r</reasoning>{REST}</response>",
        f'<?xml version="1.0"?><output><reasoning type="text">r</reasoning>{REST}</output>',
        f"<Reasoning>r</Reasoning>{REST}",
        f"<reasoning>r{REST}",
        f"<reasoning><![CDATA[r]]></reasoning>{REST}",
        f"<think>hm, <score>9</score></think><reasoning>r</reasoning>{REST}",
        f"<reasoning>r</reasoning><reasoning>again</reasoning>{REST}",
        "<reasoning>r</reasoning><items_>[]</items_><score> 3 </score><by>{}</by>",
        "<reasoning>r</reasoning><items_></items_><note>null</note><score>3.0</score><by></by>",
        '{"reasoning": "r", "items_": [], "score": 3, "note": null, "by": {}}',
        "[[reasoning]]\nr\n[[items_]]\n[]\n[[score]]\n3\n[[note]]\nnull\n[[by]]\n{}",
    ],
)
def test_a_reply_is_read_where_its_meaning_is_plain(text: str) -> None:
    """Fences, prose, roots, attributes, missing ends, JSON within and instead are no obstacle."""
    assert Record(READ) == XML.read(SIGNATURE, text, True)  # noqa: FBT003 - the shape of read


@pytest.mark.parametrize(
    "content",
    [
        "<item><name>a</name><tags><item>b</item><item>c</item></tags></item><item><name>d</name></item>",
        "\n  <item>\n <name>a</name>\n <tags>\n<item>b</item>\n<item>c</item></tags>\n </item>\n<item><name>d</name><tags/></item>\n",
        "<Item><name>a</name><tags>b</tags><tags>c</tags></Item><Item><name>d</name></Item>",
        '[{"name": "a", "tags": ["b", "c"]}, {"name": "d"}]',
        "<item><name>a</name><tags>b\nc</tags></item><item><name>d</name><extra>x</extra></item>",
    ],
)
def test_a_list_of_objects_is_read_as_models_write_it(content: str) -> None:
    """Items under any name, members repeated for a list, JSON instead of elements."""
    text = f"<reasoning>r</reasoning><items_>{content}</items_><score>3</score><by/>"
    read = XML.read(SIGNATURE, text, True)  # noqa: FBT003 - the shape of read
    assert OUTPUTS["items_"] == read.items_


def test_one_object_may_stand_for_a_list_of_it() -> None:
    """The members of the only item may stand in the list's place."""
    text = f"<reasoning>r</reasoning>{REST}".replace("<items_/>", "<items_><name>a</name></items_>")
    assert (Item("a"),) == XML.read(SIGNATURE, text, True).items_  # noqa: FBT003 - the shape of read


def test_markup_in_a_text_stays() -> None:
    """Tags that aren't the step's own are text, also its own within themselves."""
    code = "if a < b:\n    return <b>x</b> & y\n<answer>inner</answer>"
    sig = lf.predict("p", "q -> answer").signature
    assert code == XML.read(sig, f"<answer>\n{code}\n</answer>", True).answer  # noqa: FBT003
    assert "no tags at all" == XML.read(sig, "no tags at all", True).answer  # noqa: FBT003


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            "score: 'about' is no whole number",
            f"<reasoning>r</reasoning>{REST.replace('3', 'about')}",
        ),
        ("by: it is missing", "<reasoning>r</reasoning><items_/><score>3</score>"),
        ("score: it is empty", f"<reasoning>r</reasoning>{REST.replace('3', '')}"),
        ("thinking alone", "<think>hm"),
    ],
)
def test_what_is_wrong_is_named(problem: str, text: str) -> None:
    """Each output that is missing or wrong, by its name."""
    with pytest.raises(Unreadable) as caught:
        XML.read(SIGNATURE, text, True)  # noqa: FBT003 - the shape of read
    assert problem in str(caught.value)


def test_the_retry_asks_for_what_is_left() -> None:
    """A reply that can't be read is asked for again, in tags if an output is text."""
    step = lf.predict("p", "q -> why, n: int", adapter="xml")
    replies = ["<why>so</why><n>many</n>", '{"n": 3}']
    trace = lf.run(step, model=lf.scripted(replies), q="?")
    assert {"why": "so", "n": 3} == dict(trace.outputs or {})
    assert trace.root == lf.replay(trace, step).root


PIECES = st.sampled_from([
    "<why>", "</why>", "<n>", "</n>", "<why", ">", "<", "&", "&lt;", "&am", "p;", "<b>x</b>", "a b", "\n",
    " ", "<think>", "</think>", "3", "<![CDATA[", "]]>", "</", "{", "[[why]]", "```",
])  # fmt: skip


def _read(step: lf.Program, text: str, cuts: Iterable[int]) -> list[Partial]:
    """The parts of a reply that comes in pieces."""
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    reader = new_reader(ReplySource(step, ChatRequest(()), "step[0]/call[0]", adapter=XML))
    parts: list[Partial] = []
    for start, end in pairwise(borders):
        reader, more = reader.feed(text[start:end])
        parts += more
    return [*parts, *reader.feed("", last=True)[1]]


TWO = lf.predict("step", "q -> why, more", adapter="xml")


@given(st.lists(PIECES, max_size=14).map("".join), st.lists(st.integers(0, 60), max_size=30))
def test_the_pieces_are_the_whole(text: str, cuts: list[int]) -> None:
    """For any cut of a reply, the pieces of each text put together are what the whole holds."""
    shown = folded(_read(TWO, text, cuts))
    try:
        whole: Any = read_outputs(TWO.signature, text, "xml")
    except Unreadable:
        return
    assert {name: value for name, value in whole.items() if value} == {
        name: value for name, value in shown.items() if value
    }


def test_text_comes_as_soon_as_it_is_certain() -> None:
    """A piece of a text is there at once; what may become a tag or an entity is held back."""
    source = ReplySource(TWO, ChatRequest(()), "step[0]/call[0]", adapter=XML)
    reader, shown = new_reader(source), []
    for piece in ["<why>Be", "cause ", "it &l", "t; is.\n</w", "hy><more>4"]:
        reader, parts = reader.feed(piece)
        shown.append([(part.field, part.text) for part in parts])
    expected = [
        [("why", "Be")],
        [("why", "cause")],
        [("why", " it")],
        [("why", " < is.")],
        [("more", "4")],
    ]
    assert expected == shown


def test_an_optional_text_is_read_without_the_lines_around_it() -> None:
    """The line ends beside the tags are the form's, whether the text may be absent or not."""
    signature = parse_signature("question -> a: str | None, b")
    read = XML.read(signature, "<a>\nA\n</a>\n<b>\nx\n</b>", True)  # noqa: FBT003 - the shape of read
    assert Record(a="A", b="x") == read
