"""What the web view uses of a store, of programs and of the executor."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
from aiohttp import web

from lmflow.cli.loading.programs import load_program
from lmflow.cli.loading.recorded_data import recorded_datasets, recorded_evaluation
from lmflow.cli.options import user_name
from lmflow.data.conditions import Condition
from lmflow.evaluation.evaluation import Evaluation
from lmflow.stores.sqlite.lists.costs import Grouping, costs
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.events import Event
from lmflow.traces.trace import Run
from lmflow.ui.access import Access
from lmflow.ui.pages import Sources
from lmflow.ui.server import application
from lmflow.ui.table import ACTS, SCREENS


def view_of(store: str, access: Access) -> web.Application:
    """Return the application of the web view over a store."""
    return application(sources_of(store), access, SCREENS, ACTS)


def sources_of(store: str) -> Sources:
    """Return everything that the screens of a store use from outside their package."""
    return Sources(
        store=store,
        reading=functools.partial(reading, store),
        costs=_costs,
        evaluation=_evaluation,
        program=load_program,
        replay=_replay,
        append=functools.partial(_append, store),
        who=user_name(),
    )


def _costs(
    reader: Reader, by: Sequence[Grouping], conditions: Iterable[Condition]
) -> list[dict[str, Any]]:
    """Return the sums over calls by group as JSON values."""
    groups = costs(reader.listing, by, conditions)
    rows = []
    for group in groups:
        amounts = attrs.asdict(group, filter=lambda field, _: field.name not in {"keys", "cost"})
        rows.append({**group.keys, **amounts, "usd": group.usd})
    return rows


def _evaluation(reader: Reader, run: Run) -> Evaluation:
    """Return an evaluation as its run recorded it."""
    datasets = recorded_datasets(run, reader)
    return recorded_evaluation(run, reader, datasets[0] if datasets else None)


def _append(store: str, *events: Event) -> None:
    """Store events, and wait until they are durable."""
    with SqliteStore(store) as opened:
        opened.append(*events).result()


async def _replay(run: str, version: str, calls: int, usd: float) -> str:
    raise NotImplementedError
