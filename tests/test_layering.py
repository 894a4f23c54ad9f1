"""The layers: which module may import which, read from the syntax trees."""

import ast
import functools
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

# A module imports only from those before it. "x/*" is every module of a package, in any order without a cycle.
LMFLOW = """
    errors/words errors/composing errors/versioning errors/calling errors/storing errors/evaluating
    errors/replaying errors/serving errors/__init__ values media beside vectors turns field codec jsontext
    types shape schema source signature messages contents adapters/* cuts conversing words demos neighbours
    similarity params versions merging history blaming interchange effects program fit dspy embedding combine
    build toolbox foreign diagrams adapter acting rendering trace redact drive reuse walk divergence whatif
    bisecting provenance data metrics splits readers metrics/* student stats tables histogram rows evaluation
    scores comparison optimize replaying credit tuning conditions store refs progress budget partial
    models/base models/scripted models/lengths models/wire models/http models/sse models/openai_shapes
    models/openai
    models/anthropic_shapes models/anthropic models/litellm models/bert_gguf models/weights models/llama_child
    models/llama_server models/local models/prices models/wrap models/limited models/cached models/names
    models/__init__ mcp_client events outside door live rollout again growing programs/judges evaluating
    findable optimizing stream runner execute sync programs/* pictures curve optimizers/* serve/*
""".split()
STORES = """
    split bm25 corpus_file dense corpus memory bulk contents blobs search views migrations schema tail datasets
    facts versions verify rows health queries pointer sqlite gc recording __init__
""".split()
CLI = """
    text version_text target shared later completion tuning_text asked watching begun evals tuning render runs
    tail models work serving_text serving versions refs provenance upkeep scaffold doctor replays explain
    datasets exports demo main shut recorded pytest_plugin __init__
""".split()
STORES_MAY_IMPORT = frozenset(
    "errors/__init__ values media vectors types signature messages params history trace data store".split()
)

# Who may import what is slow to import or reaches outside. execute stands on what holds the loop.
LOOP = tuple(
    f"lmflow/{name}" for name in "events outside door live growing stream runner execute sync mcp_client".split()
)
OWNERS = {
    "aiohttp": ("lmflow/execute", "lmflow/models/", "lmflow/serve/"),
    "asyncio": (*LOOP, "lmflow/models/", "lmflow/serve/", "cli/"),
    "click": ("cli/",),
    "mcp": ("lmflow/mcp_client", "lmflow/serve/mcp"),
    "mcp_types": ("lmflow/serve/mcp",),
    "pydantic_monty": ("lmflow/programs/sandbox_child",),
    "rich": ("lmflow/progress", "cli/"),
    "sqlite3": ("stores/",),
    "sqlite_utils": ("stores/",),
}

ROOT = Path(__file__).resolve().parent.parent
ROOT_INIT = "lmflow/__init__"


def _sources(top: str) -> Iterator[Path]:
    """The files of a top-level folder, each once: not those behind the links."""
    linked = [ROOT / "lmflow" / "stores", ROOT / "lmflow" / "cli"] if top == "lmflow" else []
    return (path for path in sorted((ROOT / top).rglob("*.py")) if not any(link in path.parents for link in linked))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


MODULES = {_name(path): path for top in ("lmflow", "stores", "cli") for path in _sources(top)}
EVERYWHERE = [path for top in ("lmflow", "stores", "cli", "tests", "examples", "bench") for path in _sources(top)]


def _dotted(name: str) -> str:
    """The import name of a file: stores/memory is lmflow.stores.memory."""
    inside = name if name.startswith("lmflow/") else f"lmflow/{name}"
    return inside.removesuffix("/__init__").replace("/", ".")


LISTED = [f"{top}/{rest}" for top, order in (("lmflow", LMFLOW), ("stores", STORES), ("cli", CLI)) for rest in order]
FILES = {_dotted(name): name for name in (*LISTED, *MODULES)}


@functools.cache
def _imported(path: Path) -> frozenset[str]:
    """Every dotted name that a file imports, also in functions and under TYPE_CHECKING."""
    found: set[str] = set()
    package = (_dotted(_name(path)) if path.is_relative_to(ROOT) else "").split(".")
    own = package if path.stem == "__init__" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = own[: len(own) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found.update(f"{source}.{alias.name}" for alias in node.names)
    return frozenset(found)


def _target(dotted: str) -> str | None:
    """The file that an imported name lives in, if it is one of ours: lmflow.values.Record is lmflow/values."""
    parts = dotted.split(".")
    return next((FILES[head] for end in range(len(parts), 0, -1) if (head := ".".join(parts[:end])) in FILES), None)


def _targets(name: str) -> set[str]:
    return {found for dotted in _imported(MODULES[name]) if (found := _target(dotted))} - {name}


def _rank(name: str) -> int | None:
    """The place of a module in the list of its top-level folder; None where it has none."""
    top, _, rest = name.partition("/")
    order = {"lmflow": LMFLOW, "stores": STORES, "cli": CLI}[top]
    for entry in (rest, f"{rest.rpartition('/')[0]}/*"):
        if entry in order:
            return order.index(entry)
    return None


def _allowed(name: str, target: str) -> bool:
    top, other = name.partition("/")[0], target.partition("/")[0]
    here, there = _rank(name), _rank(target)
    if top == other:
        return here is not None and there is not None and there <= here
    if top == "stores":
        return target.removeprefix("lmflow/") in STORES_MAY_IMPORT
    return top == "cli"


@pytest.mark.parametrize("name", sorted(MODULES.keys() - {ROOT_INIT}))
def test_every_module_has_a_place(name: str) -> None:
    """A module without a place in the order has no layer."""
    assert _rank(name) is not None, f"{name}.py: place it in the list at the top of {Path(__file__).name}"


@pytest.mark.parametrize("name", sorted(MODULES.keys() - {ROOT_INIT}))
def test_modules_import_only_from_those_before(name: str) -> None:
    """A module imports only from those before it, stores only the words of lmflow, lmflow neither stores nor cli."""
    assert [] == sorted(target for target in _targets(name) if not _allowed(name, target))


def test_the_root_never_imports_the_cli() -> None:
    """The package itself names its stores, but not its command line."""
    assert set() == {target for target in _targets(ROOT_INIT) if target.startswith("cli/")}


def test_imports_have_no_cycle() -> None:
    """The modules can be imported one after the other."""
    graph = {name: _targets(name) for name in MODULES.keys() - {ROOT_INIT}}
    assert graph.keys() <= set(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("package", sorted(OWNERS))
def test_packages_have_owners(package: str) -> None:
    """Only the owners of a package import it."""
    users = [name for name, path in MODULES.items() if any(package == d.partition(".")[0] for d in _imported(path))]
    assert [] == [name for name in users if not any(_owns(owner, name) for owner in OWNERS[package])]


def _owns(owner: str, name: str) -> bool:
    return name.startswith(owner) if owner.endswith("/") else name == owner


@pytest.mark.parametrize("generic", ["stores", "cli"])
def test_generic_names_are_never_imported(generic: str) -> None:
    """Code and tests say lmflow.stores and lmflow.cli: the bare names would be second copies of the classes."""
    assert [] == [_name(path) for path in EVERYWHERE if any(generic == d.partition(".")[0] for d in _imported(path))]
