"""A store that version 0.1.0 wrote: it opens, verifies and replays to the same roots, and programs
keep their keys.
"""

from __future__ import annotations

import gzip
import json
import sys
from typing import Any

import pytest
from paths import FIXTURES

FOLDER = FIXTURES / "recorded"
EXPECTED: dict[str, dict[str, Any]] = json.loads(
    gzip.decompress((FOLDER / "expected.json.gz").read_bytes())
)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the code of today makes of the recordings."""
    sys.path.insert(0, str(FOLDER))
    try:
        import golden  # noqa: PLC0415 - it lies beside the store

        return golden.observed(tmp_path_factory.mktemp("recorded"))
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.parametrize("name", sorted(EXPECTED["keys"]))
def test_identities_stay(observed: Any, name: str) -> None:
    """A shipped program, metric or judge keeps its key, and a program the id of its first version."""
    assert EXPECTED["keys"][name] == observed["keys"].get(name)


@pytest.mark.parametrize("name", sorted(EXPECTED["roots"]))
def test_roots_stay(observed: Any, name: str) -> None:
    """A recorded run has the root that it had, as it is read and as it is replayed."""
    assert EXPECTED["roots"][name] == observed["roots"].get(name)


@pytest.mark.parametrize("line", sorted(EXPECTED["commands"]))
def test_commands_say_the_same(observed: Any, line: str) -> None:
    """A command says of an old recording what it said when that was made, and maybe more."""
    _holds(EXPECTED["commands"][line], observed["commands"].get(line), line)


def _holds(expected: Any, found: Any, place: str) -> None:
    """Check that ``found`` has all that ``expected`` has; objects may have more fields."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            assert key in found, f"{place}.{key} is gone"
            _holds(value, found[key], f"{place}.{key}")
    elif isinstance(expected, list) and isinstance(found, list):
        assert len(expected) == len(found), place
        for position, (one, other) in enumerate(zip(expected, found, strict=True)):
            _holds(one, other, f"{place}[{position}]")
    else:
        assert expected == found, place
