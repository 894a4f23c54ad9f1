"""DSPy's side of bench/prompt_tokens.py, run by the Python of an environment that has dspy: JSON
lines in, JSON out.

Each line is ``{"signature", "instruction", "demos", "inputs"}``, answered with the messages that
its ChatAdapter sends; with ``"base_url"`` it is asked instead, and answered with the outputs or
null.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import dspy  # type: ignore[import-not-found, unused-ignore]


def main() -> None:
    """Answer every line."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer(case: dict[str, Any]) -> Any:
    """Messages, or what a model replied to them."""
    signature = dspy.Signature(case["signature"], case["instruction"])
    for name, description in case.get("descriptions", {}).items():
        signature = signature.with_updated_fields(name, desc=description)
    demos = [dspy.Example(**demo).with_inputs(*case["inputs"]) for demo in case["demos"]]
    if "base_url" not in case:
        return dspy.ChatAdapter().format(signature, demos, case["inputs"])
    options = {
        "temperature": 0.0,
        "max_tokens": case["max_tokens"],
        "cache": False,
        "num_retries": 0,
    }
    lm = dspy.LM(
        "openai/" + case["wire"], api_base=case["base_url"], api_key=case["api_key"], **options
    )
    predict = dspy.Predict(signature)
    predict.demos = demos
    try:
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
            outputs = dict(predict(**case["inputs"]).items())
    except Exception as problem:  # noqa: BLE001 - a reply that it can't read is a wrong answer
        return {"outputs": None, "calls": len(lm.history), "problem": type(problem).__name__}
    return {
        "outputs": {name: str(value) for name, value in outputs.items()},
        "calls": len(lm.history),
    }


main()
