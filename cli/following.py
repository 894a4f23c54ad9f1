"""The commands that usually follow each command, and the other names of options."""

from __future__ import annotations

from collections.abc import Sequence

FOLLOWING: dict[str, tuple[str, str]] = {
    "new": ("lmflow run app:triage --set message=...", "lmflow doctor"),
    "run": ("lmflow runs show RUN --messages", "lmflow replay RUN"),
    "map": ("lmflow runs show RUN", "lmflow resume RUN --retry-failures"),
    "work": ("lmflow runs show RUN", "lmflow resume RUN"),
    "render": ("lmflow edit REF STEP.instruction", "lmflow run MODULE:PROGRAM --set NAME=VALUE"),
    "resume": ("lmflow runs show RUN", "lmflow replay RUN"),
    "runs": ("lmflow runs show RUN", "lmflow replay RUN"),
    "runs ls": ("lmflow runs show RUN", "lmflow replay RUN"),
    "runs show": ("lmflow replay RUN", "lmflow why TRACE"),
    "runs tail": ("lmflow runs show RUN", "lmflow resume RUN"),
    "runs search": ("lmflow runs show RUN --messages", "lmflow why TRACE"),
    "runs merge": ("lmflow runs show RUN", "lmflow compare RUN OTHER"),
    "runs export": ("lmflow verify RUN", "lmflow gc --older-than 30d"),
    "runs calls": ("lmflow runs show RUN --messages", "lmflow costs --by step"),
    "costs": ("lmflow runs calls --where CONDITION", "lmflow replay --where CONDITION --version B"),
    "ui": ("lmflow runs ls", "lmflow runs show RUN"),
    "ui export": ("lmflow runs show RUN --messages", "lmflow runs export RUN"),
    "why": ("lmflow blame VERSION STEP.instruction", "lmflow score TRACE --name NAME --value 0"),
    "status": ("lmflow log VERSION", "lmflow optimize MODULE:PROGRAM --optimizer NAME"),
    "replay": ("lmflow replay RUN --version REF", "lmflow diff A B"),
    "bisect": ("lmflow diff GOOD BAD", "lmflow rollback REF --to GOOD"),
    "rollback": ("lmflow reflog REF", "lmflow replay RUN --version REF"),
    "reflog": ("lmflow diff A B", "lmflow rollback REF --to VERSION"),
    "log": ("lmflow diff A B", "lmflow show VERSION"),
    "show": ("lmflow blame VERSION STEP.instruction", "lmflow edit REF STEP.instruction"),
    "diff": ("lmflow replay RUN --version B", "lmflow ref set REF B"),
    "blame": ("lmflow show VERSION", "lmflow runs show RUN"),
    "ref": ("lmflow log REF", "lmflow reflog REF"),
    "ref ls": ("lmflow log REF", "lmflow reflog REF"),
    "ref set": ("lmflow reflog REF", "lmflow rollback REF"),
    "ref rm": ("lmflow reflog REF", "lmflow gc"),
    "edit": ("lmflow diff REF~1 REF", "lmflow replay RUN --version REF"),
    "merge": ("lmflow log REF", "lmflow replay RUN --version REF"),
    "pin": ("lmflow pin ls", "lmflow gc"),
    "pin add": ("lmflow pin ls", "lmflow gc"),
    "pin rm": ("lmflow pin ls", "lmflow gc"),
    "pin ls": ("lmflow show VERSION", "lmflow gc"),
    "export": ("lmflow import FILE --store OTHER", "lmflow backup FILE"),
    "export otlp": ("lmflow runs ls", "lmflow export otlp --to URL --follow"),
    "import": ("lmflow log REF", "lmflow show VERSION"),
    "import traces": (
        "lmflow runs show RUN",
        "lmflow dataset from-runs --where kind=import --name N",
    ),
    "eval": ("lmflow compare RUN OTHER", "lmflow runs show RUN"),
    "compare": ("lmflow diff A B", "lmflow ref set REF B"),
    "score": ("lmflow dataset from-runs --where CONDITION --name NAME", "lmflow why TRACE"),
    "optimize": ("lmflow diff START VERSION", "lmflow ref set REF VERSION"),
    "steer": ("lmflow steer RUN", "lmflow runs tail RUN"),
    "dataset": ("lmflow dataset ls", "lmflow eval MODULE:PROGRAM --data NAME --metric METRIC"),
    "dataset ls": (
        "lmflow dataset show NAME",
        "lmflow eval MODULE:PROGRAM --data NAME --metric METRIC",
    ),
    "dataset show": (
        "lmflow dataset export NAME --out FILE",
        "lmflow eval MODULE:PROGRAM --data NAME --metric METRIC",
    ),
    "dataset import": (
        "lmflow dataset show NAME",
        "lmflow eval MODULE:PROGRAM --data NAME --metric METRIC",
    ),
    "dataset from-runs": (
        "lmflow dataset show NAME",
        "lmflow eval MODULE:PROGRAM --data NAME --metric METRIC",
    ),
    "dataset export": ("lmflow dataset import FILE --name NAME", "lmflow dataset ls"),
    "index": ("lmflow run MODULE:PROGRAM --set question=...", "lmflow runs search WORDS"),
    "sql": ("lmflow runs show RUN", "lmflow backup FILE"),
    "backup": ("lmflow verify --store FILE", "lmflow gc --older-than 30d"),
    "verify": ("lmflow doctor", "lmflow store salvage FILE NEW"),
    "gc": ("lmflow doctor", "lmflow backup FILE"),
    "store": ("lmflow verify --store NEW", "lmflow runs ls --store NEW"),
    "store merge": ("lmflow runs ls --store FILE", "lmflow runs merge RUN RUN"),
    "push": ("lmflow runs ls --store STORE", "lmflow pull STORE"),
    "pull": ("lmflow runs ls", "lmflow push STORE"),
    "store salvage": ("lmflow verify --store NEW", "lmflow runs ls --store NEW"),
    "doctor": ("lmflow models ls", "lmflow verify"),
    "completion": ("lmflow doctor", "lmflow runs ls"),
    "serve": ("lmflow runs tail", "lmflow ref set REF VERSION"),
    "mcp": ("lmflow runs tail", "lmflow ref set REF VERSION"),
    "mcp serve": ("lmflow runs tail", "lmflow ref set REF VERSION"),
    "otlp": ("lmflow runs ls --where kind=import", "lmflow runs show RUN"),
    "mcp store": ("lmflow runs ls", "lmflow mcp serve MODULE:PROGRAM"),
    "models": ("lmflow models pull NAME", "lmflow run MODULE:PROGRAM --model local/NAME"),
    "models ls": ("lmflow models pull NAME", "lmflow run MODULE:PROGRAM --model local/NAME"),
    "models pull": ("lmflow run MODULE:PROGRAM --model local/NAME", "lmflow models rm NAME"),
    "models rm": ("lmflow models ls", "lmflow models pull NAME"),
}
"""The two command lines that usually follow each command, by its words."""

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "--why": ("--note", "--message", "--reason"),
    "--budget-calls": ("--max-calls", "--calls"),
    "--budget-usd": ("--max-usd", "--usd", "--max-cost"),
    "--data": ("--input", "--examples", "--dataset"),
    "--metric": ("--metric-name",),
    "--limit": ("--last", "--count"),
    "--out": ("--output",),
}
"""The one name of an option, and what else people call it, or earlier releases called it."""


def epilog(words: Sequence[str]) -> str | None:
    """Return the end of a command's help: the two commands that usually follow it."""
    lines = FOLLOWING.get(" ".join(words))
    return None if lines is None else "\n".join(["\b", "Next:", *(f"  {line}" for line in lines)])


def right_name(option: str) -> str:
    """Return the name that an option has here; empty if it is no other name of one."""
    return next((name for name, others in OTHER_NAMES.items() if option in others), "")
