"""DSPy's side of bench/optimizers.py, run by the Python of an environment that has dspy and optuna.

One JSON line in: ``{"base_url", "api_key", "wire", "signature", "instruction", "inputs", "output",
"optimizer", "size", "seed", "threads", "max_tokens", "train", "select", "dev"}``; one out: the
calls that were counted and per dev row the answer, null where there is none. A request that is
repeated counts once, as with ours, whether DSPy's cache answers it or not: so a run that is begun
again over the cache of one that was stopped counts the same. It ends where a request would be
beyond ``"budget"``, and answers without the rows. ``"optimizer": "none"`` is the program as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy  # type: ignore[import-not-found, unused-ignore]
from dspy.utils.callback import BaseCallback  # type: ignore[import-not-found, unused-ignore]


class Asked(BaseCallback):  # type: ignore[misc, unused-ignore]
    """What any model was asked, each request once; those of a model's copies too, whose histories
    are their own.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.requests: set[str] = set()
        self.lock = threading.Lock()

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Note the request. The process ends where it is one too many: nothing in DSPy could be
        told to stop.
        """
        del call_id
        options = {
            name: value for name, value in instance.kwargs.items() if not name.startswith("api_")
        }
        request = json.dumps([instance.model, options, inputs], sort_keys=True, default=str)
        with self.lock:  # of several threads that go beyond it one ends the process
            self.requests.add(request)
            if self.budget and len(self.requests) > self.budget:
                print(json.dumps({"calls": len(self.requests)}), file=sys.__stdout__, flush=True)
                os._exit(0)


def main() -> None:
    """Answer the line."""
    case = json.loads(sys.stdin.readline())
    with contextlib.redirect_stdout(sys.stderr):
        answer = optimized(case)
    print(json.dumps(answer), flush=True)


def optimized(case: dict[str, Any]) -> dict[str, Any]:
    """Tune, count, then answer the dev rows."""
    place = {
        "api_base": case["base_url"],
        "api_key": case["api_key"],
        "num_retries": 2,
        "timeout": 600,
    }
    lm = dspy.LM("openai/" + case["wire"], temperature=0.0, max_tokens=case["max_tokens"], **place)
    writer = dspy.LM("openai/" + case["wire"], temperature=1.0, max_tokens=300, **place)
    seen = Asked(case["budget"])
    dspy.configure(lm=lm, callbacks=[seen])
    student = dspy.Predict(dspy.Signature(case["signature"], case["instruction"]))
    train, select = (
        examples(case[part], case["inputs"], case["output"]) for part in ("train", "select")
    )
    tuned = (
        student if case["optimizer"] == "none" else compiled(case, student, train, select, writer)
    )
    counted, seen.budget = len(seen.requests), 0
    return {"calls": counted, "answers": answered(case, tuned), "instruction": tuned.signature.instructions,
            "demos": len(tuned.demos), "score": getattr(tuned, "score", None)}  # fmt: skip


def compiled(
    case: dict[str, Any], student: Any, train: list[Any], select: list[Any], writer: Any
) -> Any:
    """The student after the optimizer, set by its own knobs."""

    def same(example: Any, prediction: Any, trace: Any = None) -> bool:
        del trace
        return (
            str(getattr(prediction, case["output"], "")).strip()
            == str(example[case["output"]]).strip()
        )

    size, threads = case["size"], case["threads"]
    if case["optimizer"] == "random_search":
        search = dspy.BootstrapFewShotWithRandomSearch(
            same, max_bootstrapped_demos=4, max_labeled_demos=4, num_candidate_programs=size, num_threads=threads,
            max_errors=10_000,
        )  # fmt: skip
        return search.compile(student, trainset=train, valset=select)
    search = dspy.MIPROv2(
        same, prompt_model=writer, auto=None, num_candidates=case["candidates"], max_bootstrapped_demos=4,
        max_labeled_demos=4, num_threads=threads, max_errors=10_000, seed=case["seed"],
    )  # fmt: skip
    return search.compile(student, trainset=train, valset=select, num_trials=size, minibatch=False)


def answered(case: dict[str, Any], program: Any) -> dict[str, str | None]:
    """What the program says to each dev row, by id."""

    def answer(row: dict[str, Any]) -> str | None:
        try:
            return str(program(**{name: row[name] for name in case["inputs"]})[case["output"]])
        except Exception:  # noqa: BLE001 - a reply that it can't read is a wrong answer
            return None

    with ThreadPoolExecutor(case["threads"]) as pool:
        return dict(
            zip((row["id"] for row in case["dev"]), pool.map(answer, case["dev"]), strict=True)
        )


def examples(rows: list[dict[str, Any]], inputs: list[str], output: str) -> list[Any]:
    """Rows as DSPy's examples."""
    kept = ({name: row[name] for name in (*inputs, output)} for row in rows)
    return [dspy.Example(**row).with_inputs(*inputs) for row in kept]


main()
