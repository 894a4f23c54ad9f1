"""The package: what is shipped, under which names, and how light it is to import."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

import lmflow
import lmflow.cli
import lmflow.stores

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS: dict[str, Any] = PROJECT["tool"]["setuptools"]


def _packages() -> set[str]:
    """The packages of the tree; those behind the links are found where the links lead."""
    linked = {ROOT / "lmflow" / "stores", ROOT / "lmflow" / "cli"}
    own = {path.parent for path in (ROOT / "lmflow").rglob("__init__.py")} - linked
    outer = {path.parent for top in ("stores", "cli") for path in (ROOT / top).rglob("__init__.py")}
    return {".".join(path.relative_to(ROOT).parts) for path in own} | {
        ".".join(("lmflow", *path.relative_to(ROOT).parts)) for path in outer
    }


def test_every_package_is_shipped() -> None:
    """The packages listed in pyproject.toml are those of the tree."""
    assert _packages() == set(SETUPTOOLS["packages"])


def test_no_package_is_shipped_twice() -> None:
    """Each package is listed once."""
    assert len(set(SETUPTOOLS["packages"])) == len(SETUPTOOLS["packages"])


def test_every_module_is_in_a_package() -> None:
    """A folder that holds modules is a package, else its modules wouldn't be shipped."""
    folders = {
        path.parent for top in ("lmflow", "stores", "cli") for path in (ROOT / top).rglob("*.py")
    }
    assert set() == {folder for folder in folders if not (folder / "__init__.py").is_file()}


@pytest.mark.parametrize("name", ["stores", "cli"])
def test_links_lead_to_the_folders(name: str) -> None:
    """lmflow/stores and lmflow/cli are relative links to the folders beside lmflow."""
    assert Path("..") / name == (ROOT / "lmflow" / name).readlink()


@pytest.mark.parametrize("package", [lmflow.stores, lmflow.cli])
def test_folders_are_imported_under_lmflow(package: Any) -> None:
    """The folders beside lmflow are imported as lmflow's own packages."""
    assert (ROOT / package.__name__.removeprefix("lmflow.")).resolve() == Path(
        package.__file__
    ).resolve().parent


def test_types_are_shipped() -> None:
    """The marker that says "typed" is part of the package."""
    assert "py.typed" in SETUPTOOLS["package-data"]["lmflow"]
    assert (ROOT / "lmflow" / "py.typed").is_file()


def test_version_is_said_once() -> None:
    """The code and the distribution agree on their version."""
    assert PROJECT["project"]["version"] == lmflow.__version__


@pytest.mark.parametrize("heavy", ["aiohttp", "asyncio", "sqlite_utils", "rich"])
def test_import_is_light(heavy: str) -> None:
    """What making and replaying programs doesn't need isn't imported before it is used."""
    names = (
        "lf.predict, lf.flow, lf.render, lf.replay, lf.diff, lf.metric, lf.Version, lf.LmflowError"
    )
    code = f"import sys, lmflow as lf; {names}; print({heavy!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


def test_no_module_hides_a_public_name() -> None:
    """No module of the package has a public name, whose place it would take once it is imported."""
    modules = {path.stem for path in (ROOT / "lmflow").iterdir()}
    assert {"errors", "serve", "testing"} == modules & set(lmflow.__all__)


def test_each_public_name_is_found() -> None:
    """Each name that the stub lists can be imported, and the stub is shipped."""
    assert [] == [name for name in lmflow.__all__ if not hasattr(lmflow, name)]
    assert "__init__.pyi" in SETUPTOOLS["package-data"]["lmflow"]
