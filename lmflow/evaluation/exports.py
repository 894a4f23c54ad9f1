"""Evaluations as rows for other libraries."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lmflow.evaluation.rows import Row, failure_text
from lmflow.metrics import Score
from lmflow.values.json_fields import JsonFields
from lmflow.values.record import Record, plain

COMPUTED = ("mean", "root")
WRITTEN = (
    *("name", "rows", "program", "version", "metric", "metric_name", "dataset", "run"),
    *("run_root", "cluster", "others", "judging", *COMPUTED),
)
"""The fields of an evaluation in JSON; the last two follow from the others."""

_PANDAS = "to_pandas needs pandas: pip install pandas. evaluation.to_dicts() gives the same rows."


class EvaluationRows(JsonFields):
    """An evaluation as plain rows and as a table of pandas. Abstract: ``Evaluation`` has the
    rows.
    """

    rows: Sequence[Row]
    others: Record

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as flat mappings of JSON values, in the order of the examples.

        Returns:
            A mapping for each row, all with the same keys: ``id`` and ``label`` (its place in the
            run), ``example.NAME`` for each field of the examples (inputs and references),
            ``outputs.NAME`` for each output, ``score``, ``feedback`` and ``failure`` by the
            primary metric, ``score.METRIC`` and so on by each other one, ``cost`` (nano-dollars),
            ``tokens``, ``seconds``, and ``trace``, the id of the trace. A value that a row lacks
            is ``None``.

        Example:
            >>> import lmflow as lf
            >>> from lmflow.evaluation.rows import Row
            >>> row = Row("ex[a]", lf.Record(id="a", answer="4"), lf.Record(answer="4"))
            >>> lf.Evaluation("demo", (row,)).to_dicts()[0]["outputs.answer"]
            '4'
        """
        cells = [dict(_cells(row, self.others)) for row in self.rows]
        names = dict.fromkeys(name for row in cells for name in row)
        columns = sorted(names, key=_place)
        return [{name: row.get(name) for name in columns} for row in cells]

    def to_pandas(self) -> Any:
        """Return the rows of ``to_dicts`` as a table of pandas, which must be installed.

        Returns:
            A ``pandas.DataFrame`` with a row for each example and sample.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            pandas: Any = importlib.import_module("pandas")  # not a dependency
        except ImportError:
            raise ImportError(_PANDAS) from None
        rows = self.to_dicts()
        table = pandas.DataFrame(rows, columns=list(rows[0]) if rows else None)
        # A column without any value would be one of objects, of which pandas computes no mean.
        unknown = [name for name in filter(_is_number, table) if table[name].isna().all()]
        return table.astype(dict.fromkeys(unknown, float))


_PARTS = ("id", "label", "example.", "outputs.", "score", "feedback", "failure")
"""The order of the columns, by how their names begin; the others come last."""
_NUMBERS = ("cost", "tokens", "seconds")


def _is_number(column: str) -> bool:
    return column in _NUMBERS or column.partition(".")[0] == "score"


def _place(name: str) -> int:
    return next((at for at, part in enumerate(_PARTS) if name.startswith(part)), len(_PARTS))


def _cells(row: Row, others: Iterable[str]) -> Iterator[tuple[str, Any]]:
    yield "id", row.id
    yield "label", row.label
    yield from ((f"example.{name}", plain(item)) for name, item in row.example.items())
    yield from ((f"outputs.{name}", plain(item)) for name, item in (row.outputs or {}).items())
    yield from _score_cells("", row.score, failure_text(row.failure))
    for metric in others:
        by_metric = row.by(metric)
        text = failure_text(by_metric.failure)
        yield from _score_cells(f".{metric}", by_metric.score, text)
    yield "cost", row.cost
    yield "tokens", row.tokens
    yield "seconds", row.latency
    yield "trace", row.trace


def _score_cells(suffix: str, score: Score | None, failure: str) -> Iterator[tuple[str, Any]]:
    yield f"score{suffix}", None if score is None else score.value
    yield f"feedback{suffix}", None if score is None else score.feedback
    yield f"failure{suffix}", failure or None
