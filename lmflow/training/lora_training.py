"""Trains a low-rank adapter on chats, on the CPU, in steps that can be interrupted.

Hu et al. 2021, arXiv 2106.09685: a weight W becomes W + (alpha / rank) B A; only A and B are
trained. The loss is the cross entropy of the replies alone.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lmflow.training.chats import Row, batches, rate_share, tokenize_chat
from lmflow.training.lora_gguf import ModelShape, check_kind_of_model, write_adapter
from lmflow.training.problems import TrainingProblem
from lmflow.training.recipe import Recipe

Tell = Callable[[Mapping[str, Any]], None]
"""Takes what happened, as JSON values: a step with its loss, or a checkpoint."""

_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_CLIP = 1.0
_CHECKPOINTS = 20  # about so many a job
_IGNORED = -100


def train_adapter(  # noqa: PLR0913, PLR0917 - the parts of a job
    base: Path, chats: Sequence[Any], recipe: Recipe, seed: int, folder: Path, tell: Tell
) -> Path:
    """Train an adapter and return its GGUF file, in ``folder``.

    A folder that holds a checkpoint of the same job is gone on from there.

    Args:
        base: The base model's GGUF file.
        chats: The chats, in the form of OpenAI's.
        recipe: The recipe.
        seed: The seed of the adapter's first values and of the order of chats.
        folder: Where checkpoints and the adapter are written.
        tell: Hears of steps and checkpoints.
    """
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(base.parent, gguf_file=base.name)
    rows = [tokenize_chat(tokenizer, chat, recipe.longest) for chat in chats]
    model, shape = _adapted_model(transformers, torch, base, recipe, seed)
    trainer = _Trainer(torch, model, rows, recipe, seed, folder, tell)
    trainer.run()
    file = folder / "adapter.gguf"
    write_adapter(file, _factors(model), shape, recipe.alpha)
    return file


def _adapted_model(
    transformers: Any, torch: Any, base: Path, recipe: Recipe, seed: int
) -> tuple[Any, ModelShape]:
    peft: Any = importlib.import_module("peft")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        base.parent, gguf_file=base.name, dtype=torch.float32
    )
    config = model.config
    shape = ModelShape(
        config.model_type,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
    )
    check_kind_of_model(shape.kind)
    torch.manual_seed(seed)
    adapter = peft.LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, target_modules=_MODULES, task_type="CAUSAL_LM"
    )
    return peft.get_peft_model(model, adapter), shape


def _factors(model: Any) -> dict[str, tuple[Any, Any]]:
    """Return the matrices A and B of each adapted module, as numpy arrays."""
    factors = {}
    for name, module in model.base_model.model.named_modules():
        if hasattr(module, "lora_A"):
            pair = (module.lora_A["default"], module.lora_B["default"])
            a, b = (part.weight.detach().float().numpy() for part in pair)
            factors[name] = a, b
    return factors


class _Trainer:
    """Runs the steps of a job from its last checkpoint on."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a job
        self,
        torch: Any,
        model: Any,
        rows: Sequence[Row],
        recipe: Recipe,
        seed: int,
        folder: Path,
        tell: Tell,
    ) -> None:
        self._torch, self._model, self._rows, self._recipe = torch, model, rows, recipe
        self._seed, self._folder, self._tell = seed, folder, tell
        self._steps = recipe.steps(len(rows))
        self._shared = _shared_start(rows)
        self._weights = {
            name: value for name, value in model.named_parameters() if value.requires_grad
        }
        self._adam = torch.optim.AdamW(self._weights.values(), lr=recipe.rate, weight_decay=0.0)
        self._safetensors: Any = importlib.import_module("safetensors.torch")

    def run(self) -> None:
        """Take all steps that are left."""
        first = self._load()
        self._model.train()
        every = max(1, self._steps // _CHECKPOINTS)
        for step, batch in enumerate(batches(self._rows, self._recipe, self._seed)):
            if step < first:
                continue
            loss, tokens = self._step(step, batch)
            self._tell(
                {"step": step + 1, "steps": self._steps, "loss": round(loss, 4), "tokens": tokens}
            )
            if (step + 1) % every == 0 and step + 1 < self._steps:
                self._save(step + 1)
        self._model.eval()

    def _step(self, step: int, batch: Sequence[Row]) -> tuple[float, int]:
        torch = self._torch
        for group in self._adam.param_groups:
            group["lr"] = self._recipe.rate * rate_share(step, self._steps)
        self._adam.zero_grad()
        loss = self._loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            msg = f"the loss of step {step + 1} is {value}: set a lower rate"
            raise TrainingProblem("data", msg)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights.values(), _CLIP)
        self._adam.step()
        return value, sum(len(row.tokens) for row in batch)

    # Only the positions before learned tokens go through the head, which is a fifth of a small
    # model's work: prompts are long and replies short. The start that all chats share, such as the
    # instruction, is computed once a batch; the gradient is the same.
    def _loss(self, batch: Sequence[Row]) -> Any:
        torch, longest = self._torch, max(len(row.tokens) for row in batch)
        tokens, mask, labels = (
            torch.zeros((len(batch), longest), dtype=torch.long),
            torch.zeros((len(batch), longest), dtype=torch.long),
            torch.full((len(batch), longest), _IGNORED),
        )
        for at, row in enumerate(batch):
            end = len(row.tokens)
            tokens[at, :end], mask[at, :end] = torch.tensor(row.tokens), 1
            labels[at, row.start : end] = tokens[at, row.start : end]
        labels = labels[:, self._shared :]
        causal = self._model.base_model.model
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._recipe.bf16):
            hidden = self._hidden(causal.model, tokens, mask)
            learned = labels[:, 1:] != _IGNORED
            logits = causal.lm_head(hidden[:, :-1][learned])
        return torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][learned])

    def _hidden(self, model: Any, tokens: Any, mask: Any) -> Any:
        """Return the last hidden states after the start that all chats share."""
        if not self._shared:
            return model(input_ids=tokens, attention_mask=mask).last_hidden_state
        start = model(input_ids=tokens[:1, : self._shared], use_cache=True).past_key_values
        start.batch_repeat_interleave(len(tokens))
        rest = model(
            input_ids=tokens[:, self._shared :],
            attention_mask=mask,
            past_key_values=start,
            use_cache=True,
        )
        return rest.last_hidden_state

    def _save(self, step: int) -> None:
        """Write a checkpoint beside the last one, and put it in its place."""
        draft, place = self._folder / "checkpoint.new", self._folder / "checkpoint"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        state = self._adam.state_dict()["state"]
        names = list(self._weights)
        moments = {
            f"{names[at]}/{moment}": values[moment].contiguous()
            for at, values in state.items()
            for moment in ("exp_avg", "exp_avg_sq")
        }
        weights = {name: value.detach().contiguous() for name, value in self._weights.items()}
        # Written by Python, whose error says that a disk is full; safetensors' own doesn't.
        for name, tensors in (("weights", weights), ("moments", moments)):
            (draft / f"{name}.safetensors").write_bytes(self._safetensors.save(tensors))
        (draft / "step.json").write_text(json.dumps({"step": step}), encoding="utf-8")
        old = self._folder / "checkpoint.old"
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        draft.rename(place)
        shutil.rmtree(old, ignore_errors=True)
        self._tell({"checkpoint": step})

    def _load(self) -> int:
        """Load the last checkpoint, and return the number of steps that it has behind it."""
        place = self._folder / "checkpoint"
        if not place.exists():
            place = self._folder / "checkpoint.old"  # killed between the two renames
        if not place.exists():
            return 0
        step = int(json.loads((place / "step.json").read_text(encoding="utf-8"))["step"])
        weights = self._safetensors.load_file(place / "weights.safetensors")
        moments = self._safetensors.load_file(place / "moments.safetensors")
        with self._torch.no_grad():
            for name, value in self._weights.items():
                value.copy_(weights[name])
        for name, value in self._weights.items():
            self._adam.state[value] = {
                "step": self._torch.tensor(float(step)),
                "exp_avg": moments[f"{name}/exp_avg"],
                "exp_avg_sq": moments[f"{name}/exp_avg_sq"],
            }
        self._tell({"resumed": step})
        return step


def _shared_start(rows: Sequence[Row]) -> int:
    """Return how many tokens all chats begin with; each keeps a token before what is learned."""
    shared = min(row.start for row in rows) - 1
    first = rows[0].tokens
    for row in rows:
        same = itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(first, row.tokens, strict=False)
        )
        shared = min(shared, sum(1 for _ in same))
    return max(0, shared)
