"""The page on evaluation names all there is."""

from __future__ import annotations

from paths import DOCS

import lmflow as lf

PAGE = (DOCS / "evaluation.md").read_text(encoding="utf-8")


def test_every_shipped_metric_is_on_the_page() -> None:
    """What is exported for evaluation is named."""
    names = "dataset split Data metric Score Judge compare scores_from semantic_f1 grounded pairwise".split()
    shipped = [
        name
        for name in lf.__all__
        if getattr(getattr(lf, name), "__module__", "").startswith("lmflow.metrics")
    ]
    assert [] == [name for name in [*names, *shipped] if name not in PAGE]
