"""What DSPy makes of an exported version, and back: ``python bench/dspy_compat.py
PYTHON_WITH_DSPY``.

DSPy is no dependency: the argument is an interpreter of an environment that has it (``pip install
dspy``).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import lmflow as lf
from lmflow.programs.dspy import from_dspy, to_dspy
from lmflow.versions.files import json_text

THERE = """
import json, sys, dspy

class Rag(dspy.Module):
    def __init__(self):
        super().__init__()
        self.rewrite = dspy.Predict("question -> query")
        self.answer = dspy.ChainOfThought("context: list[str], question -> answer")

rag = Rag()
rag.load(sys.argv[1])
state = {
    name: {
        "instruction": p.signature.instructions,
        "demos": [dict(demo) for demo in p.demos],
        "fields": list(p.signature.fields),
    }
    for name, p in rag.named_predictors()
}
rag.save(sys.argv[2])
rag.answer.predict.signature = rag.answer.predict.signature.with_instructions("Changed there.")
rag.save(sys.argv[3])
print(json.dumps({"dspy": dspy.__version__, "state": state}))
"""

rewrite = lf.predict("rewrite", "question -> query", "Write one search query.")
answer = lf.predict("answer", "context: list[str], question -> answer", "Answer from the context.")
rag = rewrite >> lf.tool(
    "search", "query -> context: list[str]", lambda query: [query], version="1"
)
rag = rag >> lf.chain_of_thought(answer)


def main(python: str) -> None:
    """Export, load and save there, import, and compare."""
    demos = [
        {"context": ["c"], "question": "q", "reasoning": "r", "answer": "é"},
        {"question": "q2", "answer": "a2"},
    ]
    changes = {
        "answer.demos": demos,
        "answer.instruction": "Answer in one word.\nOr two.",
        "rewrite.instruction": "Écris.",
    }
    version = lf.init(rag).put(changes, note="tuned")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out.json", "same.json", "changed.json")]
        files[0].write_text(json_text(to_dspy(rag, version)), encoding="utf-8")
        done = subprocess.run(
            [python, "-W", "ignore", "-c", THERE, *map(str, files)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr)
        there = json.loads(done.stdout.splitlines()[-1])
        own, same, changed = (
            from_dspy(rag, json.loads(file.read_text("utf-8")), file.name) for file in files
        )
    state = there["state"]
    assert own.id == version.id
    assert state["answer.predict"]["instruction"] == version["answer.instruction"]
    assert lf.Record(d=state["answer.predict"]["demos"]) == lf.Record(d=version["answer.demos"])
    assert state["answer.predict"]["fields"] == ["context", "question", "reasoning", "answer"]
    assert state["rewrite"]["instruction"] == version["rewrite.instruction"]
    assert not lf.diff(version, same), lf.diff(version, same)
    assert [change.path for change in lf.diff(version, changed)] == ["answer.instruction"]
    print(
        f"DSPy {there['dspy']} loads what is exported: the same instructions, demonstrations and fields; and back"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        print(
            "give the interpreter of an environment with dspy: python bench/dspy_compat.py PYTHON"
        )
