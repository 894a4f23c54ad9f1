"""Suites of laws for parts of your own: ``check_adapter``, ``check_model``, ``check_optimizer``,
``check_store`` and ``check_tool``.

They need no test framework: each returns nothing, or raises ``LawBroken``, an ``AssertionError``,
with the law and what was found instead. lmflow's own parts keep the same laws.
"""

from lmflow.testing.adapters import ADAPTER_LAWS as ADAPTER_LAWS
from lmflow.testing.adapters import check_adapter as check_adapter
from lmflow.testing.laws import Law as Law
from lmflow.testing.laws import LawBroken as LawBroken
from lmflow.testing.models import MODEL_LAWS as MODEL_LAWS
from lmflow.testing.models import check_model as check_model
from lmflow.testing.optimizers import OPTIMIZER_LAWS as OPTIMIZER_LAWS
from lmflow.testing.optimizers import OptimizerCase as OptimizerCase
from lmflow.testing.optimizers import check_optimizer as check_optimizer
from lmflow.testing.stores import STORE_LAWS as STORE_LAWS
from lmflow.testing.stores import check_store as check_store
from lmflow.testing.tools import TOOL_LAWS as TOOL_LAWS
from lmflow.testing.tools import ToolCase as ToolCase
from lmflow.testing.tools import check_tool as check_tool
