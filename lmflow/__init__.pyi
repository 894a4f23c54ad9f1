"""The public names of lmflow, each imported from its module when it is first used."""

from . import errors as errors
from . import serve as serve
from . import testing as testing
from .adapters.adapter import Adapter as Adapter
from .adapters.base import Marks as Marks
from .adapters.base import Unreadable as Unreadable
from .adapters.base import text_for_model as text_for_model
from .adapters.reading import read_texts as read_texts
from .adapters.truncation import Cut as Cut
from .adapters.two_step import two_step as two_step
from .collector.exporting import otlp as otlp
from .data.dataset import Data as Data
from .data.dataset import Dataset as Dataset
from .data.dataset import example_id as example_id
from .data.readers import dataset as dataset
from .data.shards import Shard as Shard
from .data.shards import shard as shard
from .data.splits import split as split
from .errors import LmflowError as LmflowError
from .evaluation.cascades import CascadeCurve as CascadeCurve
from .evaluation.cascades import cascade_curve as cascade_curve
from .evaluation.comparison import Comparison as Comparison
from .evaluation.comparison import compare as compare
from .evaluation.curves import (
    Curves as Curves,
)
from .evaluation.curves import (
    curves as curves,
)
from .evaluation.evaluation import Evaluation as Evaluation
from .evaluation.judges import (
    Judge as Judge,
)
from .evaluation.judges import (
    grounded as grounded,
)
from .evaluation.judges import (
    pairwise as pairwise,
)
from .evaluation.judges import (
    semantic_f1 as semantic_f1,
)
from .evaluation.rescoring import scores_from as scores_from
from .exchange.merged_runs import merge_runs as merge_runs
from .execution.budget import Budget as Budget
from .execution.executor import Executor as Executor
from .execution.indexing import dense_index as dense_index
from .execution.jobs.optimization import Optimization as Optimization
from .execution.sync.executor import Sync as Sync
from .execution.sync.run import run as run
from .interpreter.driver import drive_pure as drive_pure
from .interpreter.partial import Partial as Partial
from .interpreter.rendering import render as render
from .library.agents.mcp_tools import mcp_tools as mcp_tools
from .library.agents.program_of_thought import program_of_thought as program_of_thought
from .library.agents.react import react as react
from .library.agents.rlm import rlm as rlm
from .library.agents.sandbox import Sandbox as Sandbox
from .library.agents.sandbox import run_python as run_python
from .library.chain_of_thought import chain_of_thought as chain_of_thought
from .library.classify import classify as classify
from .library.extract import extract as extract
from .library.nearest import nearest as nearest
from .library.nearest import similar as similar
from .library.retrieval.ircot import ircot as ircot
from .library.retrieval.multi_hop import multi_hop as multi_hop
from .library.retrieval.rag import rag as rag
from .library.retrieval.rerank import rerank as rerank
from .library.retrieval.retrieve import fuse as fuse
from .library.retrieval.retrieve import retrieve as retrieve
from .library.search.beam import beam as beam
from .library.search.best_of_n import best_of_n as best_of_n
from .library.search.constrain import constrain as constrain
from .library.search.ensemble import ensemble as ensemble
from .library.search.ensemble import majority as majority
from .library.search.multi_chain import multi_chain_comparison as multi_chain_comparison
from .library.search.refine import Feedback as Feedback
from .library.search.refine import refine as refine
from .library.search.routing import cascade as cascade
from .library.search.routing import router as router
from .library.search.voting import (
    adaptive_consistency as adaptive_consistency,
)
from .library.search.voting import (
    early_stopping_consistency as early_stopping_consistency,
)
from .library.search.voting import (
    self_consistency as self_consistency,
)
from .library.writing.cut import cut as cut
from .library.writing.report import report as report
from .library.writing.summarize import summarize as summarize
from .metrics import (
    Score as Score,
)
from .metrics import (
    citation_precision as citation_precision,
)
from .metrics import (
    citation_recall as citation_recall,
)
from .metrics import (
    contains as contains,
)
from .metrics import (
    exact_match as exact_match,
)
from .metrics import (
    f1 as f1,
)
from .metrics import (
    hotpot_em as hotpot_em,
)
from .metrics import (
    hotpot_f1 as hotpot_f1,
)
from .metrics import (
    metric as metric,
)
from .metrics import (
    mrr as mrr,
)
from .metrics import (
    numeric as numeric,
)
from .metrics import (
    passage_match as passage_match,
)
from .metrics import (
    recall_at_k as recall_at_k,
)
from .metrics import (
    set_f1 as set_f1,
)
from .metrics import (
    slot_f1 as slot_f1,
)
from .metrics import (
    squad_em as squad_em,
)
from .metrics import (
    squad_f1 as squad_f1,
)
from .models.cached import cached as cached
from .models.functions import function_model as function_model
from .models.lanes.batched import batched as batched
from .models.limited import limited as limited
from .models.prices import (
    Price as Price,
)
from .models.prices import (
    cost_of as cost_of,
)
from .models.prices import (
    price_of as price_of,
)
from .models.prices import (
    priced as priced,
)
from .models.registry import model as model
from .models.scripted import scripted as scripted
from .models.wrap import fallback as fallback
from .models.wrap import retrying as retrying
from .models.wrap import routed as routed
from .optimizers.auto.optimizer import auto as auto
from .optimizers.bootstrap_tpe import bootstrap_optuna as bootstrap_optuna
from .optimizers.combinators import (
    chain as chain,
)
from .optimizers.combinators import (
    first_best as first_best,
)
from .optimizers.combinators import (
    guard as guard,
)
from .optimizers.combinators import (
    only as only,
)
from .optimizers.combinators import (
    within as within,
)
from .optimizers.few_shot import (
    bootstrap_few_shot as bootstrap_few_shot,
)
from .optimizers.few_shot import (
    harvest as harvest,
)
from .optimizers.few_shot import (
    labeled_few_shot as labeled_few_shot,
)
from .optimizers.finetune import better_together as better_together
from .optimizers.finetune import bootstrap_finetune as bootstrap_finetune
from .optimizers.folds import cross_fit as cross_fit
from .optimizers.gepa import gepa as gepa
from .optimizers.knn import knn_few_shot as knn_few_shot
from .optimizers.mipro import mipro as mipro
from .optimizers.opro import (
    coordinate_ascent_opro as coordinate_ascent_opro,
)
from .optimizers.opro import (
    module_opro as module_opro,
)
from .optimizers.opro import (
    opro as opro,
)
from .optimizers.parts.limits import Bound as Bound
from .optimizers.parts.plan import Task as Task
from .optimizers.parts.plan import Traces as Traces
from .optimizers.parts.scoring import Best as Best
from .optimizers.parts.scoring import score_candidate as score_candidate
from .optimizers.racing import racing as racing
from .optimizers.random_search import random_search as random_search
from .optimizers.rules import infer_rules as infer_rules
from .optimizers.simba import simba as simba
from .optimizers.staged import staged as staged
from .optimizers.synthesis import synthesize as synthesize
from .optimizers.thresholds import fit_thresholds as fit_thresholds
from .programs.combinators import (
    branch as branch,
)
from .programs.combinators import (
    map as map,
)
from .programs.combinators import (
    parallel as parallel,
)
from .programs.combinators import (
    repeat as repeat,
)
from .programs.diagrams import diagram as diagram
from .programs.effects import (
    Fork as Fork,
)
from .programs.effects import (
    Pending as Pending,
)
from .programs.effects import (
    first as first,
)
from .programs.effects import (
    gather as gather,
)
from .programs.effects import (
    samples as samples,
)
from .programs.factories import (
    embed as embed,
)
from .programs.factories import (
    predict as predict,
)
from .programs.factories import (
    tool as tool,
)
from .programs.flows import flow as flow
from .programs.parameters import init as init
from .programs.program import Program as Program
from .progress.display import bar as bar
from .progress.update import ProgressUpdate as ProgressUpdate
from .progress.update import silent as silent
from .replays.differences import Divergence as Divergence
from .replays.divergence import diverge as diverge
from .replays.exact import replay as replay
from .replays.stream import replay_stream as replay_stream
from .replays.what_if import Plan as Plan
from .replays.what_if import what_if as what_if
from .signatures.fields import Confidence as Confidence
from .signatures.fields import Field as Field
from .signatures.fields import Reasoning as Reasoning
from .signatures.history import History as History
from .signatures.signature import Signature as Signature
from .stores.corpora.corpus import Corpus as Corpus
from .stores.corpora.dense import Dense as Dense
from .stores.memory import MemoryStore as MemoryStore
from .stores.postgres.store import PostgresStore as PostgresStore
from .stores.run_files import load_run as load_run
from .stores.run_files import save_run as save_run
from .stores.sqlite.store import SqliteStore as SqliteStore
from .traces.refs import commit as commit
from .traces.trace import Run as Run
from .traces.trace import Trace as Trace
from .training.job import Job as Job
from .training.job import Quote as Quote
from .training.job import Weights as Weights
from .training.lora import lora as lora
from .training.tinker import tinker as tinker
from .training.together import together as together
from .training.trainer import Trainer as Trainer
from .values.json_fields import jsonable as jsonable
from .values.media import Audio as Audio
from .values.media import File as File
from .values.media import Image as Image
from .values.record import Record as Record
from .values.record import canonical as canonical
from .values.record import digest as digest
from .versions.blame import blame as blame
from .versions.diff import apply as apply
from .versions.diff import diff as diff
from .versions.files import load as load
from .versions.history import lineage as lineage
from .versions.merge import merge as merge
from .versions.merge import migrate as migrate
from .versions.merge import rebase as rebase
from .versions.version import Version as Version
from .views.show import show as show

__version__: str
__all__: list[str]
