"""The screens and acts of the web view, in the order of the navigation."""

from __future__ import annotations

from lmflow.ui.pages import Act, Screen
from lmflow.ui.programs import LOAD
from lmflow.ui.screens.compare import COMPARE
from lmflow.ui.screens.datasets import DATASET, DATASETS, PROMOTE, PROMOTION
from lmflow.ui.screens.divergence import DIVERGENCE
from lmflow.ui.screens.health import HASHES, HEALTH
from lmflow.ui.screens.label import JUDGE, LABEL, PAIRS, PREFER
from lmflow.ui.screens.matrix import HISTORY, MATRIX
from lmflow.ui.screens.optimization import OPTIMIZATION, OPTIMIZATIONS, REPLAYED
from lmflow.ui.screens.run import RUN, VERIFY
from lmflow.ui.screens.runs import RUNS
from lmflow.ui.screens.search import SEARCH
from lmflow.ui.screens.steering import STEER
from lmflow.ui.screens.trace import CALL, TRACE, WHY
from lmflow.ui.screens.versions import BLAME, REF, ROLL_BACK, VERSION, VERSIONS
from lmflow.ui.screens.what_if import RUN_WHAT_IF, WHAT_IF

SCREENS: tuple[Screen, ...] = (
    RUNS,
    RUN,
    VERIFY,
    TRACE,
    CALL,
    WHY,
    COMPARE,
    MATRIX,
    HISTORY,
    DIVERGENCE,
    WHAT_IF,
    VERSIONS,
    VERSION,
    BLAME,
    REF,
    OPTIMIZATIONS,
    OPTIMIZATION,
    REPLAYED,
    LABEL,
    PAIRS,
    SEARCH,
    DATASETS,
    DATASET,
    PROMOTION,
    HEALTH,
    HASHES,
)
"""The pages; those with a word stand in the navigation."""

ACTS: tuple[Act, ...] = (LOAD, RUN_WHAT_IF, ROLL_BACK, PROMOTE, JUDGE, PREFER, STEER)
"""What forms may do."""
