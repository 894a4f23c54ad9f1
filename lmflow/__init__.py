"""lmflow: compound AI systems as values. ``import lmflow as lf``.

Every name is imported from its module when it is first used, so that a program pays for what it uses alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmflow import serve as serve
    from lmflow.beside import Confidence, Reasoning
    from lmflow.blaming import blame
    from lmflow.budget import Budget
    from lmflow.build import branch, embed, flow, map, parallel, predict, repeat, tool  # noqa: A004 - lf.map
    from lmflow.comparison import Comparison, compare
    from lmflow.curve import CascadeCurve, Curves, cascade_curve, curves
    from lmflow.cuts import Cut
    from lmflow.data import Data, Dataset, example_id
    from lmflow.diagrams import diagram
    from lmflow.divergence import Divergence, diverge
    from lmflow.drive import drive_pure
    from lmflow.effects import Fork, Pending, first, gather, samples
    from lmflow.errors import LmflowError
    from lmflow.evaluation import Evaluation
    from lmflow.execute import Executor
    from lmflow.history import lineage
    from lmflow.mcp_client import mcp_tools
    from lmflow.media import Audio, File, Image
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
    from lmflow.models.cached import cached
    from lmflow.models.limited import limited
    from lmflow.models.names import model
    from lmflow.models.prices import Price, cost_of, price_of, priced
    from lmflow.models.scripted import scripted
    from lmflow.models.wrap import fallback, retrying, routed
    from lmflow.optimize import Traces
    from lmflow.optimizers.bootstrap_tpe import bootstrap_optuna
    from lmflow.optimizers.combine import chain, first_best, guard, only, within
    from lmflow.optimizers.few_shot import bootstrap_few_shot, harvest, labeled_few_shot
    from lmflow.optimizers.gepa import gepa
    from lmflow.optimizers.knn import knn_few_shot
    from lmflow.optimizers.mipro import mipro
    from lmflow.optimizers.opro import coordinate_ascent_opro, module_opro, opro
    from lmflow.optimizers.racing import racing
    from lmflow.optimizers.random_search import random_search
    from lmflow.optimizers.rules import infer_rules
    from lmflow.optimizers.simba import simba
    from lmflow.optimizers.synthesis import synthesize
    from lmflow.optimizing import Optimization
    from lmflow.params import Version
    from lmflow.partial import Partial, replay_stream
    from lmflow.program import Program, init
    from lmflow.programs.beam import beam
    from lmflow.programs.best_of_n import best_of_n
    from lmflow.programs.chain_of_thought import chain_of_thought
    from lmflow.programs.classify import classify
    from lmflow.programs.comparing import multi_chain_comparison
    from lmflow.programs.constraining import constrain
    from lmflow.programs.ensembling import ensemble, majority
    from lmflow.programs.extract import extract
    from lmflow.programs.index import dense_index
    from lmflow.programs.ircot import ircot
    from lmflow.programs.judges import Judge, grounded, pairwise, semantic_f1
    from lmflow.programs.multi_hop import multi_hop
    from lmflow.programs.nearest import nearest, similar
    from lmflow.programs.program_of_thought import program_of_thought
    from lmflow.programs.rag import rag
    from lmflow.programs.react import react
    from lmflow.programs.refining import Feedback, refine
    from lmflow.programs.report import report
    from lmflow.programs.rerank import rerank
    from lmflow.programs.retrieve import fuse, retrieve
    from lmflow.programs.rlm import rlm
    from lmflow.programs.routing import cascade, router
    from lmflow.programs.sandbox import Sandbox, run_python
    from lmflow.programs.shortening import cut
    from lmflow.programs.summarize import summarize
    from lmflow.programs.voting import adaptive_consistency, early_stopping_consistency, self_consistency
    from lmflow.progress import bar
    from lmflow.readers import dataset
    from lmflow.refs import commit
    from lmflow.rendering import render
    from lmflow.replaying import replay
    from lmflow.scores import scores_from
    from lmflow.signature import Field, Signature
    from lmflow.splits import split
    from lmflow.stores.corpus import Corpus
    from lmflow.stores.dense import Dense
    from lmflow.stores.memory import MemoryStore
    from lmflow.stores.sqlite import SqliteStore
    from lmflow.sync import run
    from lmflow.trace import Run, Trace
    from lmflow.turns import History
    from lmflow.values import Record, canonical, digest
    from lmflow.versions import apply, diff
    from lmflow.whatif import Plan, what_if

_WHERE = {
    "Audio": "media",
    "Budget": "budget",
    "CascadeCurve": "curve",
    "Comparison": "comparison",
    "Confidence": "beside",
    "Corpus": "stores.corpus",
    "Curves": "curve",
    "Cut": "cuts",
    "Data": "data",
    "Dataset": "data",
    "Dense": "stores.dense",
    "Divergence": "divergence",
    "Evaluation": "evaluation",
    "Executor": "execute",
    "Feedback": "programs.refining",
    "Field": "signature",
    "File": "media",
    "Fork": "effects",
    "History": "turns",
    "Image": "media",
    "Judge": "programs.judges",
    "LmflowError": "errors",
    "MemoryStore": "stores.memory",
    "Optimization": "optimizing",
    "Partial": "partial",
    "Pending": "effects",
    "Plan": "whatif",
    "Price": "models.prices",
    "Program": "program",
    "Reasoning": "beside",
    "Record": "values",
    "Run": "trace",
    "Sandbox": "programs.sandbox",
    "Score": "metrics",
    "Signature": "signature",
    "SqliteStore": "stores.sqlite",
    "Trace": "trace",
    "Traces": "optimize",
    "Version": "params",
    "adaptive_consistency": "programs.voting",
    "apply": "versions",
    "bar": "progress",
    "beam": "programs.beam",
    "best_of_n": "programs.best_of_n",
    "blame": "blaming",
    "bootstrap_few_shot": "optimizers.few_shot",
    "bootstrap_optuna": "optimizers.bootstrap_tpe",
    "branch": "build",
    "cached": "models.cached",
    "canonical": "values",
    "cascade": "programs.routing",
    "cascade_curve": "curve",
    "chain": "optimizers.combine",
    "chain_of_thought": "programs.chain_of_thought",
    "citation_precision": "metrics",
    "citation_recall": "metrics",
    "classify": "programs.classify",
    "commit": "refs",
    "compare": "comparison",
    "constrain": "programs.constraining",
    "contains": "metrics",
    "coordinate_ascent_opro": "optimizers.opro",
    "cost_of": "models.prices",
    "curves": "curve",
    "cut": "programs.shortening",
    "dataset": "readers",
    "dense_index": "programs.index",
    "diagram": "diagrams",
    "diff": "versions",
    "digest": "values",
    "diverge": "divergence",
    "drive_pure": "drive",
    "early_stopping_consistency": "programs.voting",
    "embed": "build",
    "ensemble": "programs.ensembling",
    "exact_match": "metrics",
    "example_id": "data",
    "extract": "programs.extract",
    "f1": "metrics",
    "fallback": "models.wrap",
    "first": "effects",
    "first_best": "optimizers.combine",
    "flow": "build",
    "fuse": "programs.retrieve",
    "gather": "effects",
    "gepa": "optimizers.gepa",
    "grounded": "programs.judges",
    "guard": "optimizers.combine",
    "harvest": "optimizers.few_shot",
    "hotpot_em": "metrics",
    "hotpot_f1": "metrics",
    "infer_rules": "optimizers.rules",
    "init": "program",
    "ircot": "programs.ircot",
    "knn_few_shot": "optimizers.knn",
    "labeled_few_shot": "optimizers.few_shot",
    "limited": "models.limited",
    "lineage": "history",
    "majority": "programs.ensembling",
    "map": "build",
    "mcp_tools": "mcp_client",
    "merge": "merging",
    "metric": "metrics",
    "migrate": "merging",
    "mipro": "optimizers.mipro",
    "model": "models.names",
    "module_opro": "optimizers.opro",
    "mrr": "metrics",
    "multi_chain_comparison": "programs.comparing",
    "multi_hop": "programs.multi_hop",
    "nearest": "programs.nearest",
    "numeric": "metrics",
    "only": "optimizers.combine",
    "opro": "optimizers.opro",
    "pairwise": "programs.judges",
    "parallel": "build",
    "passage_match": "metrics",
    "predict": "build",
    "price_of": "models.prices",
    "priced": "models.prices",
    "program_of_thought": "programs.program_of_thought",
    "racing": "optimizers.racing",
    "rag": "programs.rag",
    "random_search": "optimizers.random_search",
    "react": "programs.react",
    "rebase": "merging",
    "recall_at_k": "metrics",
    "refine": "programs.refining",
    "render": "rendering",
    "repeat": "build",
    "replay": "replaying",
    "replay_stream": "partial",
    "report": "programs.report",
    "rerank": "programs.rerank",
    "retrieve": "programs.retrieve",
    "retrying": "models.wrap",
    "routed": "models.wrap",
    "rlm": "programs.rlm",
    "router": "programs.routing",
    "run": "sync",
    "run_python": "programs.sandbox",
    "samples": "effects",
    "scores_from": "scores",
    "scripted": "models.scripted",
    "self_consistency": "programs.voting",
    "semantic_f1": "programs.judges",
    "set_f1": "metrics",
    "similar": "programs.nearest",
    "simba": "optimizers.simba",
    "slot_f1": "metrics",
    "split": "splits",
    "squad_em": "metrics",
    "squad_f1": "metrics",
    "summarize": "programs.summarize",
    "synthesize": "optimizers.synthesis",
    "tool": "build",
    "what_if": "whatif",
    "within": "optimizers.combine",
}

__all__ = [
    "Audio",
    "Budget",
    "CascadeCurve",
    "Comparison",
    "Confidence",
    "Corpus",
    "Curves",
    "Cut",
    "Data",
    "Dataset",
    "Dense",
    "Divergence",
    "Evaluation",
    "Executor",
    "Feedback",
    "Field",
    "File",
    "Fork",
    "History",
    "Image",
    "Judge",
    "LmflowError",
    "MemoryStore",
    "Optimization",
    "Partial",
    "Pending",
    "Plan",
    "Price",
    "Program",
    "Reasoning",
    "Record",
    "Run",
    "Sandbox",
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
    "cut",
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
    "gepa",
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
    "mcp_tools",
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
    "program_of_thought",
    "racing",
    "rag",
    "random_search",
    "react",
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
    "rlm",
    "routed",
    "router",
    "run",
    "run_python",
    "samples",
    "scores_from",
    "scripted",
    "self_consistency",
    "semantic_f1",
    "set_f1",
    "simba",
    "similar",
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
_MODULES = ("errors", "serve")


def __getattr__(name: str) -> Any:
    """A public name from its module, which is imported now; or a module: ``lf.errors``, ``lf.serve``."""
    if name in _MODULES:
        return importlib.import_module(f"lmflow.{name}")
    if name not in _WHERE:
        msg = f"module 'lmflow' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"lmflow.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, *_MODULES, "__version__"]
