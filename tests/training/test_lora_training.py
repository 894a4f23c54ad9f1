"""The laws of training an adapter: stopped at any step it goes on to the same weights, the shared
start changes no gradient, and the file has llama.cpp's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lmflow.training.chats import Row, rate_share
from lmflow.training.lora_gguf import ModelShape, write_adapter
from lmflow.training.lora_training import (
    _factors,
    _shared_start,
    _Trainer,
)
from lmflow.training.problems import TrainingProblem
from lmflow.training.recipe import Recipe

RECIPE = Recipe(rank=2, epochs=6, batch=2, rate=1e-2)
ROWS = [Row((5, 6, 7, 8, at + 10, at + 20, 3), 5) for at in range(4)]
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Stopped(Exception):
    """Stands for a kill."""


def model(torch: Any) -> Any:
    """A tiny model with an adapter, equal each time."""
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    made = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads))
    adapter = peft.LoraConfig(r=2, target_modules=MODULES, task_type="CAUSAL_LM")
    return peft.get_peft_model(made, adapter)


def trained(torch: Any, folder: Path, stop_at: int = 0, rows: Any = ROWS) -> Any:
    """The trained model; ``Stopped`` once a step is taken, if one is named."""
    folder.mkdir(exist_ok=True)
    events: list[Mapping[str, Any]] = []

    def tell(event: Mapping[str, Any]) -> None:
        events.append(event)
        if stop_at and event.get("step") == stop_at:
            raise Stopped

    made = model(torch)
    _Trainer(torch, made, rows, RECIPE, 1, folder, tell).run()
    return made


@pytest.mark.filterwarnings("ignore")
def test_stopped_at_any_step_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    """From the checkpoint the same batches follow, and the weights come out bit for bit."""
    torch = pytest.importorskip("torch")
    whole = _factors(trained(torch, tmp_path / "whole"))
    for stop_at in (1, 4, 7, 11):
        folder = tmp_path / f"stopped{stop_at}"
        with pytest.raises(Stopped):
            trained(torch, folder, stop_at)
        resumed = _factors(trained(torch, folder))
        for name, (a, b) in whole.items():
            assert (a == resumed[name][0]).all()
            assert (b == resumed[name][1]).all()
            assert b.any()


@pytest.mark.filterwarnings("ignore")
def test_the_shared_start_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The weights are those of a training that computes the start anew for each chat."""
    torch = pytest.importorskip("torch")
    assert 4 == _shared_start(ROWS)
    shared = _factors(trained(torch, tmp_path / "shared"))
    monkeypatch.setattr("lmflow.training.lora_training._shared_start", lambda _: 0)
    plain = _factors(trained(torch, tmp_path / "plain"))
    for name, (_, b) in plain.items():
        assert abs(b - shared[name][1]).max() < 1e-4


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_has_the_names_of_llama_cpp(tmp_path: Path) -> None:
    """Each module's matrices are in the file, with the rows of q and k interleaved."""
    gguf, torch = pytest.importorskip("gguf"), pytest.importorskip("torch")
    factors = _factors(trained(torch, tmp_path / "job"))
    path = tmp_path / "adapter.gguf"
    write_adapter(path, factors, ModelShape("llama", 2, 4, 2), 4.0)
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    assert 2 * 2 * 7 == len(tensors)
    b = factors["model.layers.0.self_attn.q_proj"][1].astype("float16")
    stored = tensors["blk.0.attn_q.weight.lora_b"]
    assert [0, 2, 1, 3] == [
        next(at for at in range(4) if (b[at] == row).all()) for row in stored[:4]
    ]
    kept = tensors["blk.0.attn_v.weight.lora_b"]
    assert (factors["model.layers.0.self_attn.v_proj"][1].astype("float16") == kept).all()
    with pytest.raises(TrainingProblem, match="'gpt2' models can't be converted"):
        write_adapter(path, factors, ModelShape("gpt2", 2, 4, 2), 4.0)


def test_the_rate_rises_then_falls() -> None:
    """The learning rate's share is within 0 and 1, highest after the warm-up, lowest at the end."""
    shares = [rate_share(step, 60) for step in range(60)]
    assert 1.0 == pytest.approx(max(shares), abs=0.01)
    assert shares.index(max(shares)) <= 4
    assert 0.1 <= shares[-1] <= 0.12


def test_what_all_chats_begin_with_is_shared() -> None:
    """No more than a common start is shared, and a token of each prompt is left."""
    assert 0 == _shared_start([Row((1, 2, 3), 1), Row((1, 2, 4), 1)])
    assert 1 == _shared_start([Row((1, 2, 3), 2), Row((1, 2, 4), 2)])
    assert 1 == _shared_start([Row((1, 2, 3, 9), 3), Row((1, 4, 3, 9), 3)])
