"""Adding an execution to a data set of the store as an example."""

from __future__ import annotations

from collections.abc import Mapping

from lmflow.data.dataset import Dataset, example_id
from lmflow.errors import BadData, NotFound
from lmflow.stores.opened import open_store
from lmflow.values.record import Record


def add_example(path: str, name: str, split: str, example: Mapping[str, object], trace: str) -> str:
    """Add an example to a data set, or to one of its splits; return the new digest.

    Args:
        path: The store.
        name: The name of the data set, which may be new.
        split: The split; empty for a data set without splits.
        example: Its fields.
        trace: The execution that it comes from.

    Raises:
        BadData: If the data set has the example already, or has splits and none was named.
    """
    row = Record(example)
    id_ = example_id(row)
    with open_store(path) as store, store.reading() as reader:
        try:
            parts, origins = reader.datasets.splits(name), reader.datasets.origins(name)
        except NotFound:
            parts, origins = {}, {}
        _check(name, split, parts, id_)
        parts[split] = Dataset(name, (*parts.get(split, ()), row))
        return str(store.put_dataset(name, parts, origins={**origins, id_: trace}))


def _check(name: str, split: str, parts: Mapping[str, Dataset], id_: str) -> None:
    named = [part for part in parts if part]
    if named and not split:
        raise BadData(name, "it has splits", f"Name one: {', '.join(named)}.")
    if parts and split and not named:
        raise BadData(name, "it has no splits", "Leave the split out.")
    for part, rows in parts.items():
        if id_ in rows.ids:
            where = f" in {part!r}" if part else ""
            raise BadData(name, f"it has the example {id_} already{where}", "Give it another id.")
