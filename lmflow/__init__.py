"""lmflow: compound AI systems as values. ``import lmflow as lf``.

The pure half is imported at once; the executor, stores and models by name when first used, since they need aiohttp
and SQLite.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lmflow.blame import blame
from lmflow.budget import Budget
from lmflow.build import branch, embed, flow, map, parallel, predict, repeat, tool  # noqa: A004 - lf.map
from lmflow.data import Data, Dataset, example_id
from lmflow.diagram import diagram
from lmflow.divergence import Divergence, diverge
from lmflow.drive import drive_pure
from lmflow.effects import Fork, Pending, first, gather, samples
from lmflow.errors import LmflowError
from lmflow.history import lineage
from lmflow.merging import merge, migrate, rebase
from lmflow.metrics import (
    Score,
    citation_precision,
    citation_recall,
    contains,
    exact_match,
    f1,
    hotpot_em,
    hotpot_f1,
    metric,
    mrr,
    numeric,
    passage_match,
    recall_at_k,
    set_f1,
    slot_f1,
    squad_em,
    squad_f1,
)
from lmflow.models.scripted import scripted
from lmflow.params import Version
from lmflow.partial import Partial, replay_stream
from lmflow.program import Program, init
from lmflow.programs.chain_of_thought import chain_of_thought
from lmflow.programs.nearest import nearest
from lmflow.programs.retrieve import fuse, retrieve
from lmflow.progress import bar
from lmflow.refs import commit
from lmflow.rendering import render
from lmflow.replay import replay
from lmflow.signature import Field, Signature
from lmflow.splits import split
from lmflow.trace import Run, Trace
from lmflow.values import Record, canonical, digest
from lmflow.versions import apply, diff
from lmflow.whatif import Plan, what_if

if TYPE_CHECKING:
    from lmflow.comparison import Comparison, compare
    from lmflow.curve import CascadeCurve, Curves, cascade_curve, curves
    from lmflow.evaluation import Evaluation
    from lmflow.execute import Executor
    from lmflow.models.cached import cached
    from lmflow.models.limited import limited
    from lmflow.models.names import model
    from lmflow.models.prices import Price, cost_of, price_of, priced
    from lmflow.models.wrap import fallback, retrying, routed
    from lmflow.optimize import Traces
    from lmflow.optimizers.bootstrap_tpe import bootstrap_optuna
    from lmflow.optimizers.combine import chain, first_best, guard, only, within
    from lmflow.optimizers.few_shot import bootstrap_few_shot, harvest, labeled_few_shot
    from lmflow.optimizers.knn import knn_few_shot
    from lmflow.optimizers.mipro import mipro
    from lmflow.optimizers.opro import coordinate_ascent_opro, module_opro, opro
    from lmflow.optimizers.racing import racing
    from lmflow.optimizers.random_search import random_search
    from lmflow.optimizers.rules import infer_rules
    from lmflow.optimizers.synthesis import synthesize
    from lmflow.optimizing import Optimization
    from lmflow.programs.beam import beam
    from lmflow.programs.best_of_n import best_of_n
    from lmflow.programs.classify import classify
    from lmflow.programs.comparing import multi_chain_comparison
    from lmflow.programs.constraining import constrain
    from lmflow.programs.ensembling import ensemble, majority
    from lmflow.programs.extract import extract
    from lmflow.programs.index import dense_index
    from lmflow.programs.ircot import ircot
    from lmflow.programs.judges import Judge, grounded, pairwise, semantic_f1
    from lmflow.programs.multi_hop import multi_hop
    from lmflow.programs.rag import rag
    from lmflow.programs.refining import Feedback, refine
    from lmflow.programs.report import report
    from lmflow.programs.rerank import rerank
    from lmflow.programs.routing import cascade, router
    from lmflow.programs.summarize import summarize
    from lmflow.programs.voting import adaptive_consistency, early_stopping_consistency, self_consistency
    from lmflow.readers import dataset
    from lmflow.scores import scores_from
    from lmflow.stores.corpus import Corpus
    from lmflow.stores.dense import Dense
    from lmflow.stores.memory import MemoryStore
    from lmflow.stores.sqlite import SqliteStore
    from lmflow.sync import run

_LAZY = {
    "CascadeCurve": "curve",
    "Comparison": "comparison",
    "Corpus": "stores.corpus",
    "Curves": "curve",
    "Dense": "stores.dense",
    "Evaluation": "evaluation",
    "Executor": "execute",
    "Feedback": "programs.refining",
    "Judge": "programs.judges",
    "MemoryStore": "stores.memory",
    "Optimization": "optimizing",
    "Price": "models.prices",
    "SqliteStore": "stores.sqlite",
    "Traces": "optimize",
    "adaptive_consistency": "programs.voting",
    "beam": "programs.beam",
    "best_of_n": "programs.best_of_n",
    "bootstrap_few_shot": "optimizers.few_shot",
    "bootstrap_optuna": "optimizers.bootstrap_tpe",
    "cached": "models.cached",
    "cascade": "programs.routing",
    "cascade_curve": "curve",
    "chain": "optimizers.combine",
    "classify": "programs.classify",
    "compare": "comparison",
    "constrain": "programs.constraining",
    "coordinate_ascent_opro": "optimizers.opro",
    "cost_of": "models.prices",
    "curves": "curve",
    "dataset": "readers",
    "dense_index": "programs.index",
    "early_stopping_consistency": "programs.voting",
    "ensemble": "programs.ensembling",
    "extract": "programs.extract",
    "fallback": "models.wrap",
    "first_best": "optimizers.combine",
    "grounded": "programs.judges",
    "guard": "optimizers.combine",
    "harvest": "optimizers.few_shot",
    "infer_rules": "optimizers.rules",
    "ircot": "programs.ircot",
    "knn_few_shot": "optimizers.knn",
    "labeled_few_shot": "optimizers.few_shot",
    "limited": "models.limited",
    "majority": "programs.ensembling",
    "mipro": "optimizers.mipro",
    "model": "models.names",
    "module_opro": "optimizers.opro",
    "multi_chain_comparison": "programs.comparing",
    "multi_hop": "programs.multi_hop",
    "only": "optimizers.combine",
    "opro": "optimizers.opro",
    "pairwise": "programs.judges",
    "price_of": "models.prices",
    "priced": "models.prices",
    "racing": "optimizers.racing",
    "rag": "programs.rag",
    "random_search": "optimizers.random_search",
    "refine": "programs.refining",
    "report": "programs.report",
    "rerank": "programs.rerank",
    "retrying": "models.wrap",
    "routed": "models.wrap",
    "router": "programs.routing",
    "run": "sync",
    "scores_from": "scores",
    "self_consistency": "programs.voting",
    "semantic_f1": "programs.judges",
    "summarize": "programs.summarize",
    "synthesize": "optimizers.synthesis",
    "within": "optimizers.combine",
}

__all__ = [
    "Budget",
    "CascadeCurve",
    "Comparison",
    "Corpus",
    "Curves",
    "Data",
    "Dataset",
    "Dense",
    "Divergence",
    "Evaluation",
    "Executor",
    "Feedback",
    "Field",
    "Fork",
    "Judge",
    "LmflowError",
    "MemoryStore",
    "Optimization",
    "Partial",
    "Pending",
    "Plan",
    "Price",
    "Program",
    "Record",
    "Run",
    "Score",
    "Signature",
    "SqliteStore",
    "Trace",
    "Traces",
    "Version",
    "adaptive_consistency",
    "apply",
    "bar",
    "beam",
    "best_of_n",
    "blame",
    "bootstrap_few_shot",
    "bootstrap_optuna",
    "branch",
    "cached",
    "canonical",
    "cascade",
    "cascade_curve",
    "chain",
    "chain_of_thought",
    "citation_precision",
    "citation_recall",
    "classify",
    "commit",
    "compare",
    "constrain",
    "contains",
    "coordinate_ascent_opro",
    "cost_of",
    "curves",
    "dataset",
    "dense_index",
    "diagram",
    "diff",
    "digest",
    "diverge",
    "drive_pure",
    "early_stopping_consistency",
    "embed",
    "ensemble",
    "exact_match",
    "example_id",
    "extract",
    "f1",
    "fallback",
    "first",
    "first_best",
    "flow",
    "fuse",
    "gather",
    "grounded",
    "guard",
    "harvest",
    "hotpot_em",
    "hotpot_f1",
    "infer_rules",
    "init",
    "ircot",
    "knn_few_shot",
    "labeled_few_shot",
    "limited",
    "lineage",
    "majority",
    "map",
    "merge",
    "metric",
    "migrate",
    "mipro",
    "model",
    "module_opro",
    "mrr",
    "multi_chain_comparison",
    "multi_hop",
    "nearest",
    "numeric",
    "only",
    "opro",
    "pairwise",
    "parallel",
    "passage_match",
    "predict",
    "price_of",
    "priced",
    "racing",
    "rag",
    "random_search",
    "rebase",
    "recall_at_k",
    "refine",
    "render",
    "repeat",
    "replay",
    "replay_stream",
    "report",
    "rerank",
    "retrieve",
    "retrying",
    "routed",
    "router",
    "run",
    "samples",
    "scores_from",
    "scripted",
    "self_consistency",
    "semantic_f1",
    "set_f1",
    "slot_f1",
    "split",
    "squad_em",
    "squad_f1",
    "summarize",
    "synthesize",
    "tool",
    "what_if",
    "within",
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
