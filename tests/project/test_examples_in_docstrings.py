"""Every example in a docstring runs and shows what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import lmflow as lf

PACKAGE = Path(lf.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(PACKAGE)], "lmflow."))


def _has_examples(name: str) -> bool:
    base = PACKAGE.joinpath(*name.split(".")[1:])
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    return ">>> " in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in MODULES if _has_examples(name)])
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of a module give the results that they show; ``lf`` is imported for them."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, extraglobs={"lf": lf}, optionflags=FLAGS)
    assert tried > 0
    assert 0 == failed
