"""How long the default prompts are beside those of DSPy's ChatAdapter, and how well a small local
model answers both.

python bench/prompt_tokens.py [--rows 60] [--dspy PYTHON]

Tokens are those of the local model's own tokenizer. DSPy runs in an environment of its own, made in
a temporary folder unless ``--dspy`` names the Python of one; without it the comparison is skipped.
Answers are asked for over dev rows of banking10 and svamp, found in the folder LMFLOW_DATA (skipped
without). No demonstrations, temperature 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lmflow as lf
from lmflow.models.local.llama_server import LlamaServer
from lmflow.models.local.weights import locate
from lmflow.models.providers.openai import OpenAI

MODEL = "qwen2.5-coder-0.5b"
CONTEXT = ("Ada Lovelace wrote the first program.", "Alan Turing broke codes.")
QA = {"context": CONTEXT, "question": "Who wrote the first program?", "answer": "Ada Lovelace"}
CLAIM = {
    "context": CONTEXT,
    "claim": "Ada wrote code.",
    "reasoning": "It says so.",
    "label": "yes",
    "score": 5,
}
CASES: tuple[tuple[str, str, str, tuple[Mapping[str, Any], ...], Mapping[str, Any]], ...] = (
    (
        "question",
        "question -> answer",
        "Answer the question.",
        (),
        {"question": "Capital of France?"},
    ),
    (
        "question, demo",
        "question -> answer",
        "Answer the question.",
        ({"question": "What is 2+2?", "answer": "4"},),
        {"question": "Capital of France?"},
    ),
    ("retrieval", "context: list[str], question -> answer", "Answer from the context.", (), QA),
    (
        "retrieval, demos",
        "context: list[str], question -> answer",
        "Answer from the context.",
        (QA, QA),
        QA,
    ),
    (
        "reasoning",
        "question -> reasoning, answer",
        "Answer the question.",
        (),
        {"question": "Capital of France?"},
    ),
    (
        "label",
        "text -> label: Literal['refund', 'bug', 'praise']",
        "Sort the message.",
        (),
        {"text": "It broke."},
    ),
    (
        "claim, types, demos",
        "context: list[str], claim -> reasoning, label: Literal['yes', 'no'], score: int",
        "Judge the claim.\n\nUse the context.",
        ({k: v for k, v in CLAIM.items() if k != "reasoning"}, CLAIM),
        CLAIM,
    ),
    (
        "extraction",
        "text -> names: list[str], year: int, open: bool",
        "Extract.",
        (),
        {"text": "Bell Labs, 1925."},
    ),
)
TASKS = (
    ("banking10", "text", "label", 16, "Say what the customer's message is about."),
    ("svamp", "question", "answer", 16, "Solve the problem. The answer is a number."),
)


class Dspy:
    """DSPy in a child process."""

    def __init__(self, python: str) -> None:
        child = str(Path(__file__).parent / "dspy_child.py")
        self._process = subprocess.Popen(
            [python, child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def answer(self, case: Mapping[str, Any]) -> Any:
        """What it answers to one line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


async def main() -> None:
    """Count tokens, then answers."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rows", type=int, default=60)
    words.add_argument("--dspy", default="")
    options = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = options.dspy or made(Path(folder))
        if not python:
            print("skipped: dspy can't be installed here")
            return
        dspy, server = Dspy(python), LlamaServer(locate(MODEL).path, slots=2)
        try:
            base_url = await server.start()
            lengths(dspy, base_url, server.api_key)
            await answers(dspy, base_url, server.api_key, options.rows)
        finally:
            dspy.close()
            await server.stop()


def made(folder: Path) -> str:
    """The Python of a new environment with dspy; empty where it can't be installed."""
    python = folder / "bin" / "python"
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "-q", "dspy"],
    )
    for step in steps:
        if subprocess.run(step, check=False, stderr=subprocess.DEVNULL).returncode:
            return ""
    return str(python)


def lengths(dspy: Dspy, base_url: str, api_key: str) -> None:
    """The tokens of each case, both ways."""
    sums = [0, 0]
    print(f"{'signature':22} lmflow   dspy  ratio")
    for name, signature, instruction, demos, inputs in CASES:
        step = lf.predict("s", signature, instruction, demos=demos)
        asked = {field.name: inputs[field.name] for field in step.signature.inputs}
        ours = [message.content for message in lf.render(step, asked)]
        case = {"signature": signature, "instruction": instruction, "demos": demos, "inputs": asked}
        theirs = [message["content"] for message in dspy.answer(case)]
        counts = [
            sum(tokens(base_url, api_key, text) for text in texts) for texts in (ours, theirs)
        ]
        sums = [total + count for total, count in zip(sums, counts, strict=True)]
        print(f"{name:22} {counts[0]:6} {counts[1]:6}  {counts[0] / counts[1]:.2f}")
    print(f"{'all':22} {sums[0]:6} {sums[1]:6}  {sums[0] / sums[1]:.2f}", flush=True)


def tokens(base_url: str, api_key: str, text: str) -> int:
    """How many tokens a text is for the server's model."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {api_key}"}
    body = json.dumps({"content": text}).encode()
    request = urllib.request.Request(base_url.removesuffix("/v1") + "/tokenize", body, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request) as reply:  # noqa: S310
        return len(json.load(reply)["tokens"])


async def answers(dspy: Dspy, base_url: str, api_key: str, count: int) -> None:
    """The share of right answers of both, on the same rows, alternating."""
    data = os.environ.get("LMFLOW_DATA")
    if not data:
        print("accuracy skipped: LMFLOW_DATA names no folder of data sets")
        return
    for name, given, wanted, limit, instruction in TASKS:
        folder = Path(data) / name
        labels = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["labels"]
        signature = f"{given} -> {wanted}" + (f": Literal{labels}" if labels else ": int")
        rows = [
            json.loads(line)
            for line in (folder / "dev.jsonl").read_text(encoding="utf-8").splitlines()[:count]
        ]
        step = lf.predict(
            "s", signature, instruction, options={"temperature": 0, "max_tokens": limit * 4}
        )
        wire = {"base_url": base_url, "api_key": api_key, "wire": MODEL, "max_tokens": limit * 4}
        case = {"signature": signature, "instruction": instruction, "demos": [], **wire}
        seen: list[tuple[bool, bool, int, int]] = []
        begun = time.monotonic()
        async with lf.Executor(
            OpenAI(f"local/{MODEL}", MODEL, base_url, "local", api_key, 600.0)
        ) as executor:
            for number, row in enumerate(rows):
                if number and number % 10 == 0:
                    report(f"{name} so far", seen, time.monotonic() - begun)
                asked = {given: row[given]}
                (trace,) = await executor.map(step, [asked])
                theirs = await asyncio.to_thread(dspy.answer, case | {"inputs": asked})
                ours = str(trace.outputs[wanted]) if trace.outputs else ""
                right = str((theirs["outputs"] or {}).get(wanted, ""))
                seen.append(
                    (ours == row[wanted], right == row[wanted], len(trace.calls), theirs["calls"])
                )
        report(name, seen, time.monotonic() - begun)


def report(name: str, seen: list[tuple[bool, bool, int, int]], seconds: float) -> None:
    """Shares with 95 % Wilson intervals, and calls."""
    for side, who in enumerate(("lmflow", "dspy")):
        right, calls = sum(row[side] for row in seen), sum(row[side + 2] for row in seen)
        low, high = wilson(right, len(seen))
        print(
            f"{name:10} {who:7} {right:3} of {len(seen)} right ({low:.2f} to {high:.2f}), {calls} calls"
        )
    only = [sum(a and not b for a, b, *_ in seen), sum(b and not a for a, b, *_ in seen)]
    print(
        f"{name:10} right only with lmflow {only[0]}, only with dspy {only[1]}; {seconds:.0f} s",
        flush=True,
    )


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return middle - half, middle + half


if __name__ == "__main__":
    asyncio.run(main())
