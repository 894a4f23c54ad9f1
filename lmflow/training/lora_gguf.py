"""Converts LoRA adapters of Hugging Face models to GGUF, the format that llama.cpp serves."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from lmflow.training.problems import TrainingProblem

_ARCHITECTURES = {"llama": "LLAMA", "qwen2": "QWEN2"}
# llama.cpp rotates pairs of neighbours, the models' own code halves of a head: converters
# interleave the rows of these projections for the architecture llama, and so must an adapter's.
_INTERLEAVED = {"llama": ("q_proj", "k_proj")}


@attrs.frozen
class ModelShape:
    """The numbers of a model that its adapter's conversion depends on."""

    kind: str
    layers: int
    heads: int
    key_heads: int


def check_kind_of_model(kind: str) -> None:
    """Raise ``TrainingProblem`` if adapters of a kind of model can't be converted."""
    if kind not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        msg = f"adapters of {kind!r} models can't be converted to GGUF, those of {known} can"
        raise TrainingProblem("base", msg)


def write_adapter(
    path: Path, factors: Mapping[str, tuple[Any, Any]], shape: ModelShape, alpha: float
) -> None:
    """Write an adapter as a GGUF file, in float16.

    Args:
        path: The file.
        factors: The module's name -> the numpy matrices A, of shape (rank, inputs), and B, of shape
            (outputs, rank), whose product B A is added to the module's weight.
        shape: The model's numbers.
        alpha: The product is scaled by alpha / rank.
    """
    check_kind_of_model(shape.kind)
    gguf: Any = importlib.import_module("gguf")
    architecture = getattr(gguf.MODEL_ARCH, _ARCHITECTURES[shape.kind])
    names = gguf.get_tensor_name_map(architecture, shape.layers)
    writer = gguf.GGUFWriter(str(path), gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, tensor in _tensors(factors, shape, names):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(
    factors: Mapping[str, tuple[Any, Any]], shape: ModelShape, names: Any
) -> Iterable[tuple[str, Any]]:
    """Yield the name and numbers of each tensor of an adapter, in the order of names."""
    for module, (a, b) in sorted(factors.items()):
        name = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
        if name is None:
            msg = f"llama.cpp has no name for the module {module!r}"
            raise TrainingProblem("base", msg)
        rows = _interleaved(b, module, shape)
        yield f"{name}.lora_a", a.astype("float16")
        yield f"{name}.lora_b", rows.astype("float16")


def _interleaved(b: Any, module: str, shape: ModelShape) -> Any:
    """Order the rows of B as llama.cpp has those of the module's weight."""
    projection = module.rpartition(".")[2]
    if projection not in _INTERLEAVED.get(shape.kind, ()):
        return b
    heads = shape.heads if projection == "q_proj" else shape.key_heads
    halves = b.reshape(heads, 2, b.shape[0] // heads // 2, *b.shape[1:])
    return halves.swapaxes(1, 2).reshape(b.shape).copy()
