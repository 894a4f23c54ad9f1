"""The laws of adapters, over lmflow's own and one of the user's."""

import pytest
from own_adapter import PAIRS

import lmflow as lf
from lmflow.adapters.adapter import Adapter
from lmflow.adapters.registry import ADAPTERS
from lmflow.testing import ADAPTER_LAWS, Law

EVERY = [*ADAPTERS, lf.two_step("scripted/model"), PAIRS]


@pytest.mark.parametrize("law", ADAPTER_LAWS, ids=str)
@pytest.mark.parametrize("adapter", EVERY, ids=str)
async def test_an_adapter_keeps_the_laws(adapter: Adapter, law: Law) -> None:
    """The suite for adapters of one's own holds of lmflow's."""
    checked = law(adapter)
    if checked is not None:
        await checked
