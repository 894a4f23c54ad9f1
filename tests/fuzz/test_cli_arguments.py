"""Fuzz: whatever words a command line has, it ends with exit code 0, 1 or 2 and no traceback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from hostile import WORDS, base, leaves, places, prepare, put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmflow.cli.main import main

LEAVES = leaves()
# These wait for what is outside: pip for an index, a follower for calls, a receiver for spans.
NAMES = sorted(LEAVES.keys() - {"lmflow models pull", "lmflow runs tail", "lmflow otlp"})
TEXTS = st.text(st.characters(exclude_categories=()), max_size=40).map(
    lambda t: t.replace("\0", "")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder with a store and files of all kinds, where we are; and a run."""
    here = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        from commanding import APP  # noqa: PLC0415 - beside the name of the module

        (here / "fuzzed_app.py").write_text(APP, encoding="utf-8")
        (here / "name").write_text("fuzzed_app", encoding="utf-8")
        patch.chdir(here)
        patch.syspath_prepend(str(here))
        patch.setenv("EDITOR", "true")
        patch.setenv("XDG_CACHE_HOME", str(here / "cache"))
        patch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        patch.delenv("LMFLOW_STORE", raising=False)
        yield prepare(here)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_words_end_in_a_traceback(folder: str, data: st.DataObject) -> None:
    """One or two words of a working line are others, or options are added."""
    name = data.draw(st.sampled_from(NAMES))
    words = base(name, folder)
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from([*places(name, LEAVES[name])] or [(-1, "--store")]))
        words = put(words, place, data.draw(st.sampled_from(WORDS) | TEXTS))
    result = CliRunner().invoke(main, [word.replace("app:", "fuzzed_app:") for word in words])
    told = f"{words}\n{result.output}\n{result.exception!r}"
    assert result.exit_code in {0, 1, 2}, told
    assert result.exception is None or isinstance(result.exception, SystemExit), told
    assert "unexpected " not in result.stderr, told
