"""Converts BERT encoders from safetensors to GGUF, the format that llama.cpp reads.

The numbers stay float32, bit for bit, so equal inputs give equal bytes on every platform and no
library is needed. The names are those that llama.cpp's ``bert`` architecture demands; the pooler
is left out, since a sentence's vector is the mean over its tokens (Reimers and Gurevych 2019,
section 3).
"""

from __future__ import annotations

import itertools
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import attrs

_CHUNK = 1 << 20
_ALIGN = 32
_LONGEST_HEADER = 1 << 24
_VERSION, _F32, _MEAN = 3, 0, 1
_UINT, _FLOAT, _BOOL, _STRING, _ARRAY, _INT = 4, 6, 7, 8, 9, 5
_NORMAL, _CONTROL = 1, 3
_SPECIAL = {
    "unknown": "[UNK]",
    "seperator": "[SEP]",
    "padding": "[PAD]",
    "cls": "[CLS]",
    "mask": "[MASK]",
}
_OUTER = {
    "token_embd.weight": "embeddings.word_embeddings.weight",
    "position_embd.weight": "embeddings.position_embeddings.weight",
    "token_types.weight": "embeddings.token_type_embeddings.weight",
    "token_embd_norm.weight": "embeddings.LayerNorm.weight",
    "token_embd_norm.bias": "embeddings.LayerNorm.bias",
}
_INNER = {
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}


@attrs.frozen
class _Tensor:
    """A tensor of a safetensors file: its shape, the offset of its bytes, and their number."""

    shape: tuple[int, ...]
    start: int
    size: int


def convert_bert(
    tensors: Path, vocabulary: Sequence[str], config: Mapping[str, Any], name: str
) -> Iterator[bytes]:
    """The bytes of the GGUF file of a BERT encoder, in chunks.

    ``tensors`` is the safetensors file, ``vocabulary`` the WordPiece tokens in the order of their
    ids, ``config`` the content of ``config.json``. ``ValueError`` says what can't be converted.
    """
    with tensors.open("rb") as stream:
        stored = _read_header(stream, tensors.stat().st_size)
        names = _names(config["num_hidden_layers"])
        encoder = {ours: _tensor_named(theirs, stored) for ours, theirs in names.items()}
        yield _head(encoder, _metadata(vocabulary, config, name))
        for tensor in encoder.values():
            yield from _bytes(stream, tensor)


def _read_header(stream: BinaryIO, size: int) -> dict[str, _Tensor]:
    """The float32 tensors of a safetensors file, which is 8 bytes of length, a JSON header of that
    length, and the numbers.
    """
    length = int.from_bytes(stream.read(8), "little")
    if length > min(size - 8, _LONGEST_HEADER):
        msg = f"a safetensors file of {size} bytes can't have a header of {length}"
        raise ValueError(msg)
    header: dict[str, Any] = json.loads(stream.read(length))
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensor = _Tensor(tuple(entry["shape"]), start, end - start)
        # The offsets come from the file: unchecked ones could read beyond it, or huge amounts.
        inside = 8 + length <= start <= end <= size
        if not inside or tensor.size != 4 * math.prod(tensor.shape):
            shape = f"the tensor {name!r} of the shape {tensor.shape}"
            msg = f"{shape} doesn't lie in {start} to {end} of {size} bytes"
            raise ValueError(msg)
        tensors[name] = tensor
    return tensors


def _names(layers: int) -> dict[str, str]:
    """The tensors' names in llama.cpp, each with the name in the safetensors file."""
    names = dict(_OUTER)
    for layer, (ours, theirs) in itertools.product(range(layers), _INNER.items()):
        for part in ("weight", "bias"):
            names[f"blk.{layer}.{ours}.{part}"] = f"encoder.layer.{layer}.{theirs}.{part}"
    return names


def _tensor_named(name: str, stored: Mapping[str, _Tensor]) -> _Tensor:
    if name not in stored:
        msg = f"there is no float32 tensor {name!r}: only BERT encoders in float32 are converted"
        raise ValueError(msg)
    return stored[name]


def _metadata(vocabulary: Sequence[str], config: Mapping[str, Any], name: str) -> dict[str, bytes]:
    special = {
        f"tokenizer.ggml.{role}_token_id": _uint(vocabulary.index(token))
        for role, token in _SPECIAL.items()
    }
    return {
        "general.architecture": _text("bert"),
        "general.name": _text(name),
        "general.file_type": _uint(_F32),
        "bert.block_count": _uint(config["num_hidden_layers"]),
        "bert.context_length": _uint(config["max_position_embeddings"]),
        "bert.embedding_length": _uint(config["hidden_size"]),
        "bert.feed_forward_length": _uint(config["intermediate_size"]),
        "bert.attention.head_count": _uint(config["num_attention_heads"]),
        "bert.attention.layer_norm_epsilon": struct.pack("<If", _FLOAT, config["layer_norm_eps"]),
        "bert.attention.causal": struct.pack("<I?", _BOOL, False),  # noqa: FBT003 - a value
        "bert.pooling_type": _uint(_MEAN),
        "tokenizer.ggml.model": _text("bert"),
        "tokenizer.ggml.token_type_count": _uint(config["type_vocab_size"]),
        "tokenizer.ggml.tokens": _array(_STRING, [_bare(_piece(token)) for token in vocabulary]),
        "tokenizer.ggml.token_type": _array(
            _INT, [struct.pack("<i", _kind(token)) for token in vocabulary]
        ),
        **special,
    }


def _piece(token: str) -> str:
    """A WordPiece token in llama.cpp's notation, which marks the beginning of a word instead of its
    continuation.
    """
    if _kind(token) == _CONTROL:
        return token
    return token[2:] if token.startswith("##") else f"\u2581{token}"


def _kind(token: str) -> int:
    return _CONTROL if token in _SPECIAL.values() else _NORMAL


def _head(tensors: Mapping[str, _Tensor], meta: Mapping[str, bytes]) -> bytes:
    """The file before the numbers: counts, metadata, and the place of each tensor."""
    parts = [b"GGUF", struct.pack("<IQQ", _VERSION, len(tensors), len(meta))]
    parts += [_bare(key) + value for key, value in meta.items()]
    offset = 0
    for name, tensor in tensors.items():
        sides = tensor.shape[::-1]
        place = struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, _F32, offset)
        parts.append(_bare(name) + place)
        offset += tensor.size + -tensor.size % _ALIGN
    head = b"".join(parts)
    return head + bytes(-len(head) % _ALIGN)


def _bytes(stream: BinaryIO, tensor: _Tensor) -> Iterator[bytes]:
    stream.seek(tensor.start)
    for done in range(0, tensor.size, _CHUNK):
        yield stream.read(min(_CHUNK, tensor.size - done))
    yield bytes(-tensor.size % _ALIGN)


def _bare(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _text(text: str) -> bytes:
    return struct.pack("<I", _STRING) + _bare(text)


def _uint(number: int) -> bytes:
    return struct.pack("<II", _UINT, number)


def _array(kind: int, items: Sequence[bytes]) -> bytes:
    return struct.pack("<IIQ", _ARRAY, kind, len(items)) + b"".join(items)
