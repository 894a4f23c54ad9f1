"""The page on optimizers names them all."""

from __future__ import annotations

from paths import DOCS

from lmflow.optimizers.registry import OPTIMIZERS

PAGE = (DOCS / "optimizers.md").read_text(encoding="utf-8")


def test_every_optimizer_is_on_the_page() -> None:
    """What can be asked for by name, and what is made of others."""
    names = [*OPTIMIZERS, "guard", "chain", "only", "first_best", "within"]
    assert [] == [name for name in names if f"`{name}`" not in PAGE and f"lf.{name}(" not in PAGE]
