"""Whatever is put into a value, it has a canonical form or is a ``BadValue``."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from decimal import Decimal
from typing import Any

from fuzz_inputs import hostile_texts, json_texts, json_values
from hypothesis import given
from hypothesis import strategies as st

from lmflow import metrics
from lmflow.errors import BadMedia, BadValue, LmflowError
from lmflow.metrics import Score
from lmflow.values.json_text import candidates, load, parse
from lmflow.values.media import File, Image, attach_media, is_media, media_of
from lmflow.values.record import Record, canonical, freeze, plain, pretty
from lmflow.values.text_diff import changed_lines, side, word_diff

objects = st.sampled_from(
    [object(), 1j, b"", Decimal(1), dt.date.min, dt.timedelta(1), {1: 2}, {1}]
)
anything: st.SearchStrategy[Any] = st.recursive(
    json_values | objects,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile_texts, inner, max_size=3),
    max_leaves=6,
)


def nested(levels: int, leaf: Any) -> Any:
    """A value that is nested so many levels deep, in lists and mappings by turns."""
    for level in range(levels):
        leaf = [leaf] if level % 2 else {"a": leaf}
    return leaf


@given(st.integers(0, 3000), anything)
def test_records(levels: int, leaf: Any) -> None:
    """A mapping is a record with a canonical form, or a ``BadValue``."""
    with contextlib.suppress(BadValue):
        record = Record(field=nested(levels, leaf))
        form = canonical(record)
        assert form.isascii()
        assert form == canonical(plain(record)) == canonical(freeze(plain(record)))
        assert json.loads(form) is not None
        assert pretty(record)


@given(st.integers(0, 3000), anything)
def test_canonical_forms(levels: int, leaf: Any) -> None:
    """A value that isn't frozen has a canonical form, or is a ``BadValue``."""
    with contextlib.suppress(BadValue):
        assert canonical(nested(levels, leaf)).isascii()


@given(json_texts)
def test_json_of_files(text: str) -> None:
    """A text is a JSON value, or a ``ValueError``."""
    with contextlib.suppress(ValueError):
        parse(text)


@given(st.lists(json_texts, max_size=3), st.booleans())
def test_json_of_replies(parts: list[str], whole: bool) -> None:  # noqa: FBT001 - drawn
    """A reply holds JSON values, and ends in a ``ValueError``."""
    text = "".join(parts)
    with contextlib.suppress(ValueError):
        load(text, whole=whole)
        list(candidates(text, whole=whole))


@given(json_values, st.sampled_from(["Image", "Audio", "File", "x"]), json_values)
def test_media_in_json(value: Any, kind: str, other: Any) -> None:
    """A JSON value is media, or isn't, or is ``BadMedia``."""
    described = {"is": kind, "media_type": value, "digest": other, "url": value, "data": other}
    for candidate in (value, described, {**described, "media_type": "image/png"}):
        with contextlib.suppress(BadMedia):
            if is_media(candidate):
                assert str(media_of(candidate))
            attach_media([candidate], lambda _: None, files=True)


@given(hostile_texts, hostile_texts)
def test_media_of_data_urls(kind: str, data: str) -> None:
    """A data URL is a picture or file, or ``BadMedia``."""
    for url in (f"data:{kind};base64,{data}", f"data:{kind},{data}", f"http://{data}"):
        for made in (Image, File):
            with contextlib.suppress(BadMedia):
                assert str(made(url))


@given(hostile_texts, hostile_texts)
def test_differences_of_texts(a: str, b: str) -> None:
    """Any two texts have a difference that holds both."""
    pieces = word_diff(a, b)
    assert (a, b) == (side(pieces, "delete"), side(pieces, "insert"))
    assert (changed_lines(a, b) == "") in {a == b, True}


SHIPPED = [
    metrics.exact_match("a"),
    metrics.exact_match("a", normalize=False),
    metrics.f1("a"),
    metrics.squad_em("a", "a"),
    metrics.squad_f1("a", "a"),
    metrics.hotpot_f1("a"),
    metrics.contains("a"),
    metrics.passage_match("a", "a"),
    metrics.numeric("a"),
    metrics.set_f1("a"),
    metrics.slot_f1("a"),
    metrics.citation_precision("a", "a"),
    metrics.citation_recall("a", "a"),
    metrics.mrr("a", "a"),
    metrics.recall_at_k(2, "a", "a"),
]


@given(json_values, json_values, st.sampled_from(SHIPPED))
def test_shipped_metrics(expected: Any, output: Any, metric: Any) -> None:
    """A shipped metric scores any record, or raises an ``LmflowError``."""
    with contextlib.suppress(LmflowError):
        example, outputs = Record(a=expected), Record(a=output)
        assert isinstance(metric(example, outputs), Score)
