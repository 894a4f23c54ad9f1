"""lmflow: compound AI systems as values. ``import lmflow as lf``.

The pure half is imported at once; the executor, stores and models by name when first used, since they need aiohttp
and SQLite.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lmflow.build import branch, embed, flow, map, parallel, predict, repeat, tool  # noqa: A004 - lf.map
from lmflow.diagram import diagram
from lmflow.drive import drive_pure
from lmflow.effects import Fork, Pending, first, gather
from lmflow.errors import LmflowError
from lmflow.models.scripted import scripted
from lmflow.params import Version, diff
from lmflow.program import Program, init
from lmflow.programs.chain_of_thought import chain_of_thought
from lmflow.programs.retrieve import fuse, recall_at_k, retrieve
from lmflow.progress import bar
from lmflow.rendering import render
from lmflow.replay import replay
from lmflow.signature import Field, Signature
from lmflow.trace import Run, Trace
from lmflow.values import Record, canonical, digest

if TYPE_CHECKING:
    from lmflow.execute import Executor
    from lmflow.models.cached import cached
    from lmflow.models.limited import limited
    from lmflow.models.names import model
    from lmflow.models.prices import Price, cost_of, price_of, priced
    from lmflow.models.wrap import fallback, retrying, routed
    from lmflow.programs.index import dense_index
    from lmflow.stores.corpus import Corpus
    from lmflow.stores.dense import Dense
    from lmflow.stores.memory import MemoryStore
    from lmflow.stores.sqlite import SqliteStore

_LAZY = {
    "Corpus": "stores.corpus",
    "Dense": "stores.dense",
    "Executor": "execute",
    "MemoryStore": "stores.memory",
    "Price": "models.prices",
    "SqliteStore": "stores.sqlite",
    "cached": "models.cached",
    "cost_of": "models.prices",
    "dense_index": "programs.index",
    "fallback": "models.wrap",
    "limited": "models.limited",
    "model": "models.names",
    "price_of": "models.prices",
    "priced": "models.prices",
    "retrying": "models.wrap",
    "routed": "models.wrap",
}

__all__ = [
    "Corpus",
    "Dense",
    "Executor",
    "Field",
    "Fork",
    "LmflowError",
    "MemoryStore",
    "Pending",
    "Price",
    "Program",
    "Record",
    "Run",
    "Signature",
    "SqliteStore",
    "Trace",
    "Version",
    "bar",
    "branch",
    "cached",
    "canonical",
    "chain_of_thought",
    "cost_of",
    "dense_index",
    "diagram",
    "diff",
    "digest",
    "drive_pure",
    "embed",
    "fallback",
    "first",
    "flow",
    "fuse",
    "gather",
    "init",
    "limited",
    "map",
    "model",
    "parallel",
    "predict",
    "price_of",
    "priced",
    "recall_at_k",
    "render",
    "repeat",
    "replay",
    "retrieve",
    "retrying",
    "routed",
    "scripted",
    "tool",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """A public name of the impure half, from its module, which is imported now."""
    if name not in _LAZY:
        msg = f"module 'lmflow' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"lmflow.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "errors", "__version__"]
