"""A BERT encoder in plain numpy, from a GGUF file: what llama.cpp's vectors are checked against.

Written from the papers, in float64: Devlin et al. 2019 (the encoder), Wu et al. 2016 (WordPiece),
Reimers and Gurevych 2019 (the mean over the tokens). It reads what ``bert_gguf`` writes, and shares
no code with it.
"""

from __future__ import annotations

import math
import re
import struct
import unicodedata
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

_SCALARS = {4: "I", 5: "i", 6: "f", 7: "?"}
_STRING, _ARRAY = 8, 9


@attrs.frozen(eq=False)
class Gguf:
    """What a GGUF file says of its model, and its tensors."""

    meta: Mapping[str, Any]
    tensors: Mapping[str, Any]


@attrs.define
class _Reader:
    data: bytes
    at: int = 0

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return value

    def text(self) -> str:
        size = self.number("Q")
        self.at += size
        return self.data[self.at - size : self.at].decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            item, count = self.number("I"), self.number("Q")
            return [self.value(item) for _ in range(count)]
        return self.number(_SCALARS[kind])


def read(data: bytes) -> Gguf:
    """A GGUF file of version 3 with float32 tensors (ggml's docs/gguf.md)."""
    reader = _Reader(data)
    assert (0x46554747, 3) == (reader.number("I"), reader.number("I"))
    count, keys = reader.number("Q"), reader.number("Q")
    meta = {reader.text(): reader.value(reader.number("I")) for _ in range(keys)}
    places = []
    for _ in range(count):
        name, sides = reader.text(), reader.number("I")
        shape = [reader.number("Q") for _ in range(sides)][::-1]
        assert reader.number("I") == 0
        places.append((name, shape, reader.number("Q")))
    start = -(-reader.at // 32) * 32
    tensors = {
        name: np.frombuffer(data, "<f4", math.prod(shape), start + offset)
        .reshape(shape)
        .astype("f8")
        for name, shape, offset in places
    }
    return Gguf(meta, tensors)


def tokens(model: Gguf, text: str) -> list[int]:
    """The ids of a text: lower case without accents, words and signs apart, then the longest known
    pieces.
    """
    known = {token: id_ for id_, token in enumerate(model.meta["tokenizer.ggml.tokens"])}
    bare = "".join(
        c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn"
    )
    pieces = [known["[CLS]"]]
    for word in re.findall(r"\w+|[^\w\s]", bare):
        pieces += _pieces(known, word)
    return [*pieces, known["[SEP]"]]


def _pieces(known: Mapping[str, int], word: str) -> list[int]:
    found, rest = [], f"\u2581{word}"
    while rest:
        size = next((n for n in range(len(rest), 0, -1) if rest[:n] in known), 0)
        if not size:
            return [known["[UNK]"]]
        found.append(known[rest[:size]])
        rest = rest[size:]
    return found


def embed(model: Gguf, text: str) -> Any:
    """The vector of a text: the mean over its tokens, at length 1."""
    t, ids = model.tensors, tokens(model, text)
    epsilon, heads = (
        model.meta["bert.attention.layer_norm_epsilon"],
        model.meta["bert.attention.head_count"],
    )

    def linear(x: Any, name: str) -> Any:
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def norm(x: Any, name: str) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
        return scaled * t[f"{name}.weight"] + t[f"{name}.bias"]

    places = t["position_embd.weight"][: len(ids)]
    x = norm(t["token_embd.weight"][ids] + places + t["token_types.weight"][0], "token_embd_norm")
    for layer in range(model.meta["bert.block_count"]):
        block = f"blk.{layer}"
        q, k, v = (_split(linear(x, f"{block}.attn_{name}"), heads) for name in "qkv")
        weights = _softmax(q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1]))
        mixed = (weights @ v).transpose(1, 0, 2).reshape(x.shape)
        x = norm(x + linear(mixed, f"{block}.attn_output"), f"{block}.attn_output_norm")
        inner = _gelu(linear(x, f"{block}.ffn_up"))
        x = norm(x + linear(inner, f"{block}.ffn_down"), f"{block}.layer_output_norm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def _split(x: Any, heads: int) -> Any:
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)


def _softmax(x: Any) -> Any:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _gelu(x: Any) -> Any:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
