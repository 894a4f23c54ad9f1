"""The laws of masking: no reader of what a server sent can find the key, however it is encoded."""

from __future__ import annotations

import contextlib
import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from encodings_of_text import ENCODINGS
from hypothesis import given, settings
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import ModelFailed
from lmflow.models.base import Response
from lmflow.models.transport.masking import MASK, Mask
from lmflow.models.transport.responses import Server
from lmflow.models.transport.sse import TextRelay

KEYS = st.text(string.ascii_letters + string.digits + string.punctuation, min_size=8, max_size=120)
"""Keys as vendors make them, and worse."""


def forms(key: str) -> Iterator[tuple[str, str]]:
    """Yield each encoding's name and the key so encoded."""
    for name, encode in ENCODINGS.items():
        yield name, encode(key)


@given(KEYS, st.text("ab \\%&=\n", max_size=9), st.text("ab \\%&=\n", max_size=9))
def test_every_encoding_is_masked(key: str, before: str, after: str) -> None:
    """The key is masked in each encoding, whatever stands around it."""
    left = [name for name, text in forms(key) if MASK not in Mask(key)(before + text + after)]
    assert [] == left


@given(KEYS, st.sampled_from(list(ENCODINGS)), st.lists(st.integers(1, 7), min_size=1))
def test_pieces_of_a_stream_are_masked(key: str, name: str, sizes: list[int]) -> None:
    """A listener never gets the key, however a stream is cut; the text is otherwise whole."""
    text, pieces = f"see {ENCODINGS[name](key)} end", list[str]()
    relay, at = TextRelay(pieces.append, key), 0
    while at < len(text):
        size = sizes[at % len(sizes)]
        relay.add(text[at : at + size])
        at += size
    relay.end()
    assert Mask(key)(text) == "".join(pieces)


@given(st.text(max_size=200), KEYS)
def test_other_texts_stay(text: str, key: str) -> None:
    """A text without the key is passed on as it is, whole and in pieces."""
    heard: list[str] = []
    relay = TextRelay(heard.append, key)
    text = text.encode("utf-8", "replace").decode()
    if key in text or MASK in Mask(key)(text):
        return
    for character in text:
        relay.add(character)
    relay.end()
    assert (text, text) == (Mask(key)(text), "".join(heard))


@settings(max_examples=30)
@given(KEYS)
def test_failures_hold_no_key(key: str) -> None:
    """Neither the words nor the raw body of a failure hold the key that a server echoes."""
    server = Server("m", "host", key)
    for name, text in forms(key):
        for status, body in ((401, json.dumps({"error": {"message": text}})), (500, text)):
            with pytest.raises(ModelFailed) as caught:
                server.read(Response(status, {}, body.encode()), dict)
            assert MASK in caught.value.raw, name
            assert text not in str(caught.value) + caught.value.raw, name


async def test_no_file_holds_the_key(tmp_path: Path) -> None:
    """A store has no byte of it after replies and failures that echo it in every encoding."""
    key = "sk-proj/4f9d+2c7e&81b3<x>'\"Zq8="
    texts = dict(forms(key))
    server = Server("m", "host", key)

    def answer(request: Any) -> Any:
        name = request.messages[-1].content.rsplit("\n", 1)[-1].strip()
        body = {"text": texts[name], "more": [texts[name]]}
        return server.read(Response(200, {}, json.dumps(body).encode()), str)

    step = lf.predict("echo", "name -> text")
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(lf.scripted(answer), store) as ex:
            for name in texts:
                with contextlib.suppress(lf.LmflowError):
                    await ex.run(step, name=name)
    assert [] == [name for name, text in texts.items() if text.encode() in _content(tmp_path)]


def _content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize("secret", ["", "none", "sk-1234"])
def test_placeholders_stay(secret: str) -> None:
    """A short key is a placeholder, and its letters are ordinary words."""
    assert f"say {secret}!" == Mask(secret)(f"say {secret}!")
    assert 0 == Mask(secret).tail(secret[:2])
