"""The layers: which package may import which, read from the syntax trees."""

import ast
import functools
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT

# One row a package, lowest floor first: its floor and the packages that it may import, all on lower
# floors. Code and
# tests say lmflow.stores and lmflow.cli, so both have their row here; "lmflow" are the modules of
# the root.
MAY_IMPORT: dict[str, tuple[int, str]] = {
    "errors": (1, ""),
    "values": (2, "errors"),
    "messages": (3, "errors values"),
    "metrics": (3, "errors values"),
    "signatures": (3, "errors values"),
    "views": (3, "errors values"),
    "versions": (4, "errors values views"),
    "progress": (4, "errors values views"),
    "adapters": (4, "errors values messages signatures"),
    "data": (4, "errors values signatures views"),
    "models": (4, "errors values messages signatures"),
    "programs": (5, "errors values messages signatures views versions adapters"),
    "traces": (5, "errors values messages views versions data"),
    "interpreter": (6, "errors values messages signatures versions adapters programs traces"),
    "exchange": (6, "errors values data traces"),
    "stores": (7, "errors values messages progress views versions data traces exchange"),
    "telemetry": (
        7,
        "errors values messages versions adapters data signatures programs traces interpreter",
    ),
    "library": (
        7,
        "errors values messages metrics signatures versions adapters models programs interpreter",
    ),
    "replays": (
        7,
        "errors values messages views versions adapters models programs traces interpreter",
    ),
    "training": (
        8,
        "errors values messages signatures models programs replays",
    ),
    "evaluation": (
        8,
        "errors values messages metrics views versions data programs traces library",
    ),
    "optimizers": (
        9,
        "errors values messages metrics versions data signatures models programs traces interpreter library replays training evaluation",
    ),
    "execution": (
        10,
        "errors values messages metrics progress views versions adapters data models programs traces interpreter replays evaluation optimizers exchange",
    ),
    "collector": (
        11,
        "errors values models traces telemetry",
    ),
    "serve": (
        11,
        "errors values messages signatures versions programs traces interpreter execution",
    ),
    "ui": (
        12,
        "errors values messages views versions data models programs traces interpreter replays evaluation optimizers execution serve",
    ),
    "lmflow": (12, "errors signatures programs execution collector"),
    "testing": (
        12,
        "errors values messages metrics signatures versions adapters data models programs traces interpreter replays optimizers execution",
    ),
    "cli": (
        13,
        "errors values messages metrics progress signatures views versions adapters data models programs traces interpreter exchange stores replays evaluation optimizers execution serve ui lmflow telemetry collector",
    ),
}
HIGHEST = 14
MODULES_IN_A_FOLDER = 25
MODULES_OF_THE_ROOT = 6
LINES_OF_A_FILE = 350

# Who may import what is slow to import or reaches outside.
OWNERS = {
    "aiohttp": (
        "lmflow.models",
        "lmflow.training.provider_api",
        "lmflow.training.together",
        "lmflow.serve",
        "lmflow.collector",
        "lmflow.ui",
        "lmflow.cli.loading.viewing",
    ),
    "asyncio": (
        "lmflow.collector",
        "lmflow.execution",
        "lmflow.models",
        "lmflow.training",
        "lmflow.serve",
        "lmflow.ui",
        "lmflow.cli",
        "lmflow.library.agents.mcp_connection",
        "lmflow.testing",
    ),
    "click": ("lmflow.cli",),
    "jinja2": ("lmflow.ui",),
    "mcp": ("lmflow.library.agents.mcp_connection", "lmflow.serve.mcp", "lmflow.serve.mcp_tools"),
    "mcp_types": (
        "lmflow.library.agents.mcp_listing",
        "lmflow.serve.mcp",
        "lmflow.serve.mcp_tools",
    ),
    "psycopg": ("lmflow.stores",),
    "pydantic_monty": ("lmflow.library.agents.sandbox_process",),
    "rich": ("lmflow.progress", "lmflow.cli"),
    "sqlite3": ("lmflow.stores",),
    "sqlite_utils": ("lmflow.stores",),
}

TOPS = ("lmflow", "stores", "cli")
LINKS = [ROOT / "lmflow" / "stores", ROOT / "lmflow" / "cli"]


def _sources(top: str) -> Iterator[Path]:
    """The files of a top-level folder, each once: not those behind the links."""
    return (
        path
        for path in sorted((ROOT / top).rglob("*.py"))
        if not any(link in path.parents for link in LINKS)
    )


def _dotted(path: Path) -> str:
    """The import name of a file: stores/memory.py is lmflow.stores.memory."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    inside = parts if parts[0] == "lmflow" else ("lmflow", *parts)
    return ".".join(inside).removesuffix(".__init__")


MODULES = {_dotted(path): path for top in TOPS for path in _sources(top)}
EVERYWHERE = [path for top in (*TOPS, "tests", "examples", "bench") for path in _sources(top)]


def _package(module: str) -> str:
    """The package of a module, the first name after ``lmflow``; the root's own modules are
    "lmflow".
    """
    return "lmflow" if MODULES[module].parent == ROOT / "lmflow" else module.split(".")[1]


@functools.cache
def _imported(path: Path) -> frozenset[str]:
    """Every dotted name that a file imports, also in functions and under TYPE_CHECKING."""
    names: set[str] = set()
    own = _dotted(path).split(".") if path in MODULES.values() else []
    package = own if path.stem == "__init__" else own[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names.update(f"{source}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _module_of(dotted: str) -> str | None:
    """The module that an imported name lives in: lmflow.values.record for ...record.Record."""
    parts = dotted.split(".")
    heads = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((head for head in heads if head in MODULES), None)


def _targets(module: str) -> set[str]:
    targets = {_module_of(dotted) for dotted in _imported(MODULES[module])}
    return {target for target in targets if target and target != module}


def test_every_package_has_a_floor() -> None:
    """The table has one row for each package, on at most 14 floors."""
    assert {_package(module) for module in MODULES} == set(MAY_IMPORT)
    assert max(floor for floor, _ in MAY_IMPORT.values()) <= HIGHEST


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_packages_import_only_from_lower_floors(package: str) -> None:
    """A package imports only those that its row names, all of them on lower floors."""
    floor, row = MAY_IMPORT[package]
    allowed = set(row.split())
    assert set() == {other for other in allowed if MAY_IMPORT[other][0] >= floor}
    refused = sorted(
        f"{module} -> {target}"
        for module in MODULES
        if _package(module) == package
        for target in _targets(module)
        if _package(target) not in {*allowed, package}
    )
    assert [] == refused


def test_imports_have_no_cycle() -> None:
    """The modules can be imported one after the other."""
    graph = {module: _targets(module) for module in MODULES}
    assert graph.keys() <= set(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("package", sorted(OWNERS))
def test_packages_have_owners(package: str) -> None:
    """Only the owners of a package from outside import it."""
    users = {
        module
        for module, path in MODULES.items()
        if any(package == dotted.partition(".")[0] for dotted in _imported(path))
    }
    owners = OWNERS[package]
    assert set() == {
        user for user in users if not any(f"{user}.".startswith(f"{owner}.") for owner in owners)
    }


@pytest.mark.parametrize("generic", ["stores", "cli"])
def test_generic_names_are_never_imported(generic: str) -> None:
    """Code and tests say lmflow.stores and lmflow.cli: bare names would be second copies."""
    assert [] == [
        path
        for path in EVERYWHERE
        if any(generic == dotted.partition(".")[0] for dotted in _imported(path))
    ]


def test_the_house_has_rooms() -> None:
    """The root has at most 6 modules, no folder more than 25, no file more than 350 lines."""
    folders: dict[Path, int] = {}
    for path in MODULES.values():
        folders[path.parent] = folders.get(path.parent, 0) + 1
    assert folders[ROOT / "lmflow"] <= MODULES_OF_THE_ROOT
    assert {} == {folder: n for folder, n in folders.items() if n > MODULES_IN_A_FOLDER}
    long = {
        module: lines
        for module, path in MODULES.items()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_OF_A_FILE
    }
    assert {} == long


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_packages_say_what_lives_in_them(package: str) -> None:
    """Each package has a docstring, and no module opens without one."""
    undocumented = [
        module
        for module, path in MODULES.items()
        if _package(module) == package
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert [] == undocumented
