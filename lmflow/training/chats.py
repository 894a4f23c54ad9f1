"""Chats as tokens: what is learned of each, and in which order batches take them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.training.problems import TrainingProblem
from lmflow.training.recipe import Recipe

_WARM_UP = 0.05  # of the steps
_LEAST_RATE = 0.1  # of the highest rate, at the end


@attrs.frozen
class Row:
    """The tokens of a chat, of which those from ``start`` on are learned."""

    tokens: tuple[int, ...]
    start: int


def text_chat(chat: Mapping[str, Any], trainer: str) -> dict[str, Any]:
    """Return a chat of texts alone. ``TrainingProblem`` if it has tools or attachments."""
    turns = chat["messages"]
    plain = all(isinstance(turn["content"], str) and "tool_calls" not in turn for turn in turns)
    if not plain or chat.get("tools"):
        msg = (
            "a chat calls tools or shows pictures, sounds or files:"
            f" {trainer} trains on texts alone"
        )
        raise TrainingProblem("data", msg)
    return {"messages": [{"role": turn["role"], "content": turn["content"]} for turn in turns]}


def tokenize_chat(tokenizer: Any, chat: Mapping[str, Any], longest: int) -> Row:
    """Tokenize a chat with the template that serves it; its last turn is what is learned.

    Args:
        tokenizer: A tokenizer of transformers, with its chat template.
        chat: The chat, in the form of OpenAI's.
        longest: The most tokens that a chat may have.

    Raises:
        TrainingProblem: The chat is longer, or the template can't be used for training.
    """
    messages = chat["messages"]
    prompt = tokenizer.apply_chat_template(
        messages[:-1], tokenize=False, add_generation_prompt=True
    )
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    if not whole.startswith(prompt):
        msg = "the base's chat template writes a prompt differently before its reply"
        raise TrainingProblem("base", msg)
    head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    # The line end that follows the mark of a turn's end is never generated.
    tail = tokenizer(whole[len(prompt) :].rstrip("\n"), add_special_tokens=False)["input_ids"]
    if len(head) + len(tail) > longest:
        msg = (
            f"a chat has {len(head) + len(tail)} tokens, more than the {longest} of the recipe:"
            " shorten the step's inputs or set longest=..."
        )
        raise TrainingProblem("data", msg)
    return Row((*head, *tail), len(head))


def batches(rows: Sequence[Row], recipe: Recipe, seed: int) -> Iterator[list[Row]]:
    """Yield the batches of all steps: each epoch in an order of its own, which depends on the
    seed alone, so that a resumed job takes the same ones.
    """
    order: list[int] = []
    for step in range(recipe.steps(len(rows))):
        while len(order) < recipe.batch:
            epoch = list(range(len(rows)))
            random.Random(f"{seed}/{step}").shuffle(epoch)  # noqa: S311 - an order
            order += epoch
        yield [rows[at] for at in order[: recipe.batch]]
        order = order[recipe.batch :]


def rate_share(step: int, steps: int) -> float:
    """Return the share of the highest rate at a step: up in a line, then down along a cosine."""
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return _LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
