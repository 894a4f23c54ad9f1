"""What writes is a form of the view's own pages, and says who and why."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import View, viewing

import lmflow as lf
from lmflow.ui.programs import is_own_path

APP = """
import lmflow as lf
answer = lf.predict("answer", "question -> answer", "Answer.")
"""


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store with one run of a program that can be imported, answered by a scripted model."""
    (tmp_path / "teas_app.py").write_text(APP, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "store.db"
    answer = lf.predict("answer", "question -> answer", "Answer.")

    async def record() -> None:
        with lf.SqliteStore(path) as store:
            model = lf.scripted(lambda _: "two minutes")
            async with lf.Executor(model, store, target="teas_app:answer") as ex:
                await ex.map(answer, [{"question": "How long?"}])

    asyncio.run(record())
    yield path
    sys.modules.pop("teas_app", None)


async def _run(view: View) -> str:
    return str((await view.json("/"))["rows"][0]["id"])


async def test_forms_of_others_are_refused(empty: Path) -> None:
    """A form without the page's token, without an origin or from another site changes nothing."""
    async with viewing(empty) as view:
        assert 403 == (await view.post("/programs", target="os:x", form_token="wrong"))[0]  # noqa: S106
        for headers in (
            {},
            {"Origin": "http://evil.example"},
            {"Origin": view.url, "Sec-Fetch-Site": "cross-site"},
        ):
            data = {"form_token": view.access.form_token, "target": "os:x"}
            async with view.session.post(f"{view.url}/programs", data=data, headers=headers) as got:
                assert 403 == got.status
        assert 405 == (await view.get("/programs"))[0]


async def test_large_forms_are_refused(empty: Path) -> None:
    """A form is bounded."""
    async with viewing(empty) as view:
        assert 413 == (await view.post("/programs", target="x" * 70_000))[0]


@pytest.mark.parametrize(
    "path", ["//evil.example", "http://evil.example", "/\\evil.example", "", "/a\r\nx", "/é"]
)
def test_forms_lead_nowhere_else(path: str) -> None:
    """The page after a form is one of this server."""
    assert not is_own_path(path)


async def test_code_is_loaded_only_when_told(recorded: Path) -> None:
    """A page that needs a program asks first, and plans once it is loaded."""
    async with viewing(recorded) as view:
        path = f"/runs/{await _run(view)}/what-if?path=answer.instruction&value=Be+brief."
        before = await view.json(path)
        assert "teas_app" not in sys.modules
        assert ("teas_app:answer", None) == (before["load"]["target"], before["plan"])
        assert (303, path) == await view.post("/programs", target="teas_app:answer", here=path)
        plan = (await view.json(path))["plan"]
        assert (0, 1) == (plan["reused"], plan["least"]["calls"])


async def test_a_program_that_is_gone_is_explained(recorded: Path) -> None:
    """A module that can't be imported is a problem in words."""
    async with viewing(recorded) as view:
        status, text = await view.post("/programs", target="no_such_app:answer", here="/")
        assert 409 == status
        assert "no_such_app" in text


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"calls": "3"}, "reason"),
        ({"reason": "x"}, "calls"),
        ({"reason": "x", "calls": "many"}, "calls"),
        ({"reason": "x", "calls": "1", "usd": "nan"}, "usd"),
        ({"reason": "x", "calls": "1", "usd": "-1"}, "usd"),
    ],
)
async def test_a_run_needs_a_budget_and_a_reason(
    recorded: Path, form: dict[str, str], words: str
) -> None:
    """Nothing is sent without a number of calls and a reason."""
    async with viewing(recorded) as view:
        run = await _run(view)
        status, text = await view.post("/what-if", run=run, **form)
        assert 400 == status
        assert words in text
        assert 1 == (await view.json("/"))["total"]


async def test_divergence_of_an_unchanged_program_is_none(recorded: Path) -> None:
    """A program that asks what it asked shows that nothing differs, and another version does."""
    async with viewing(recorded, ("teas_app:answer",)) as view:
        run = await _run(view)
        data = await view.json(f"/runs/{run}/divergence")
        assert (1, []) == (data["same"], data["executions"])
