"""What results, versions and executors don't have: named with what is called so here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lmflow.errors.words import near

_MEAN = "evaluation.mean, with its interval; evaluation.means by metric"
_ROWS = "evaluation.rows, each with its score; evaluation.table()"
_EXPORT = "evaluation.to_pandas(), evaluation.to_dicts()"
_SCORES = (
    "a metric scores it: lf.scores_from(run, rows, metric), ex.evaluate(program, rows, metric)"
)
_CALLS = "each of trace.calls has its request, reply, usage and cost; ex.spent has the sums"
_SPENT = "ex.spent, the calls, tokens and cost so far; ex.left, what is left of the budget"
_MESSAGES = "lf.show(trace, messages=True), with the messages of each call"
_TRACES = "run.traces, one an execution; run.failures"
_TIME = "trace.started and trace.ended, in nanoseconds"
_PUT = 'version.put({"answer.instruction": "..."}) gives a new version'
_PATH = 'version["answer.instruction"], by path; list(version) has the paths'
_DIFF = "lf.diff(one, other)"
_AFTER = "optimization.after.mean, on the held-back rows; optimization.before.mean of the start"
_SETTINGS = "an executor is made with its options: lf.Executor(model, store, budget=...)"
_RUN = "ex.run(program, ...), ex.map(program, rows)"

_ELSEWHERE: Mapping[str, Mapping[str, str]] = {
    "Trace": {
        **dict.fromkeys(("score", "scores", "accuracy"), _SCORES),
        **dict.fromkeys(("cost", "usage", "tokens", "get_lm_usage", "model", "latency"), _CALLS),
        **dict.fromkeys(("messages", "history", "prompt", "inspect_history", "show"), _MESSAGES),
        **dict.fromkeys(("duration", "seconds", "time", "created"), _TIME),
        "steps": "trace.calls, in order, each with its address",
        "error": "trace.failure",
        "exception": "trace.failure",
    },
    "Run": {
        **dict.fromkeys(("score", "scores", "accuracy", "mean", "evaluate"), _SCORES),
        **dict.fromkeys(("results", "rows", "output", "calls", "cost", "trace"), _TRACES),
        **dict.fromkeys(("messages", "history", "prompt", "show"), "lf.show(run, messages=True)"),
        "error": _TRACES,
        "save": 'lf.save_run(run, "run.json")',
    },
    "Evaluation": {
        **dict.fromkeys(("score", "accuracy", "average", "value", "overall_score"), _MEAN),
        **dict.fromkeys(("results", "scores", "outputs", "examples", "traces"), _ROWS),
        **dict.fromkeys(("df", "to_csv", "to_df", "dataframe", "save_as_csv"), _EXPORT),
        **dict.fromkeys(("errors", "error"), "evaluation.failed, the rows without a score"),
        "compare": "lf.compare(one, other)",
        "interval": _MEAN,
        "std": _MEAN,
    },
    "Optimization": {
        **dict.fromkeys(("score", "best_score", "accuracy", "mean"), _AFTER),
        **dict.fromkeys(
            ("program", "best", "best_program", "best_version"), "optimization.version"
        ),
        **dict.fromkeys(("save", "put"), 'optimization.version.save("version.json")'),
        **dict.fromkeys(("cost", "usage", "calls"), "optimization.spent"),
        **dict.fromkeys(("detailed_results", "candidates", "trials"), "optimization.stages"),
        "diff": "lf.diff(optimization.start, optimization.version)",
    },
    "Version": {
        **dict.fromkeys(("instruction", "instructions", "demos", "model", "options"), _PATH),
        **dict.fromkeys(("get", "keys", "items", "values", "parameters"), _PATH),
        **dict.fromkeys(("set", "update", "with_", "evolve", "copy"), _PUT),
        **dict.fromkeys(("diff", "compare"), _DIFF),
        "load": 'lf.load("version.json")',
        "merge": "lf.merge(base, one, other)",
        "commit": 'lf.commit(store, "prod", version, why="...")',
        "digest": "version.id",
        "hash": "version.id",
    },
    "Executor": {
        **dict.fromkeys(("forward", "call", "acall", "predict", "invoke", "execute"), _RUN),
        **dict.fromkeys(("batch", "abatch", "amap"), "ex.map(program, rows)"),
        **dict.fromkeys(("history", "last", "last_run"), "ex.runs[-1] is the last run"),
        **dict.fromkeys(("configure", "settings", "model", "lm", "budget"), _SETTINGS),
        **dict.fromkeys(("usage", "cost", "tokens", "calls", "get_lm_usage"), _SPENT),
        **dict.fromkeys(
            ("compile", "train", "tune"), "ex.optimize(optimizer, program, data, metric)"
        ),
        "close": "await ex.aclose()",
    },
}
_ALIASES: Mapping[str, str] = {"Sync": "Executor"}


class ExplainsAttributes:
    """Base of values that people read by guessed names: it explains a missing attribute."""

    __slots__ = ()

    def _attribute_hint(self, name: str) -> str:
        """Say where the value has what the name asks for; empty if nothing is known of it."""
        return hint_of(type(self), name)

    # A type checker must go on to refuse the names, so it doesn't see the method.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property failed: its own error is the one to show
                return object.__getattribute__(self, name)
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_"):
                msg += self._attribute_hint(name)
            raise AttributeError(msg, name=name)


def hint_of(kind: type, name: str) -> str:
    """Return the words for an attribute that objects of a class lack: what is called so here, or
    the nearest name; empty if there is none.
    """
    names = _ELSEWHERE.get(_ALIASES.get(kind.__name__, kind.__name__), {})
    if name in names:
        return f". Here: {names[name]}"
    known = (each for each in dir(kind) if not each.startswith("_"))
    return near(name, known).replace(" Did", ". Did", 1)
