"""The commands bisect and why, on a real server of a model; and the mistakes of replay commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_folder import (
    Model,
    base,
    call,
    chain_folder,
    done,
    recorded,
    saved,
    serving_model,
    words,
)
from click.testing import CliRunner

import lmflow as lf
from lmflow.cli.main import main


@pytest.fixture
def model() -> Iterator[Model]:
    """The server while a test lasts."""
    with serving_model() as served:
        yield served


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model) -> Path:
    """An empty folder with a program, three inputs, and the server as OpenAI's."""
    return chain_folder(tmp_path, monkeypatch, model)


def line_of(count: int, loud: int) -> list[lf.Version]:
    """A line of versions, loud from one on."""
    versions = [base()]
    for number in range(1, count):
        text = f"Sign, take {number}{', loud' if number >= loud else ''}."
        versions.append(versions[-1].put({"sign.instruction": text}, note=f"take {number}"))
    return versions


@pytest.mark.parametrize("loud", [1, 5, 9])
def test_bisect_finds_the_version_that_broke_it(here: Path, model: Model, loud: int) -> None:
    """It judges few versions, each at the price of its one changed call, and quotes the price
    first.
    """
    run = recorded(here)
    versions = line_of(10, loud)
    saved("prod", *versions)
    sent = len(model.seen)
    line = f"bisect {versions[0].id} prod --run {run} --example 1 --metric app:short"
    assert (None, sent) == (done(here, line)["found"], len(model.seen))
    assert "at most 5 more are needed, each at most 1 calls, about" in call(here, line).stderr
    found = done(here, f"{line} --live")["found"]
    assert {"good": versions[loud - 1].id, "bad": versions[loud].id} == found
    asked = len(model.seen) - sent
    assert 2 <= asked <= 5
    assert (found, sent + asked) == (done(here, line)["found"], len(model.seen))


def test_bisect_takes_an_example_as_json(here: Path, model: Model) -> None:
    """An example that was never run is run."""
    run = recorded(here)
    versions = line_of(3, 2)
    saved("prod", *versions)
    line = [
        "bisect",
        versions[0].id,
        "prod",
        "--run",
        run,
        "--metric",
        words(here, "app:short")[0],
        "--live",
        "--json",
    ]
    result = CliRunner().invoke(main, [*line, "--example", '{"text": "n"}'])
    assert versions[2].id == json.loads(result.stdout)["found"]["bad"]
    assert 9 < len(model.seen)


MISTAKES = [
    ("replay RUN --version prd", "prd"),
    ("replay RUN --program app:chan", "Did you mean 'chain'?"),
    ("resume zzz", "no run 'zzz'"),
    ("bisect prod prod --run RUN --example 9 --metric app:short", "has no '9'"),
    ("bisect prod prod --example 1 --metric app:short", "Add --run RUN"),
    ("bisect prod prod --run RUN --example 1 --metric app:shrt", "Did you mean 'short'?"),
    ("bisect prod prod --run RUN --example 1 --metric app:short", "scores"),
    ("why zzz", "no run 'zzz'"),
    ("why RUN", "3 traces"),
]


@pytest.mark.parametrize(("line", "told"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_with_the_fix(here: Path, model: Model, line: str, told: str) -> None:
    """Each mistake exits with 1 and says what was found and what mends it; nothing is sent."""
    run = recorded(here)
    saved("prod", base())
    result = call(here, line.replace("RUN", run))
    assert (1, True, 9) == (result.exit_code, told in result.stderr, len(model.seen)), result.stderr


def test_why_follows_an_answer_to_its_versions(here: Path, model: Model) -> None:
    """From the output to the calls, to the version that introduced each parameter, to what made a
    demonstration.
    """
    recorded(here)
    demo = {"final": "x", "signed": "y"}
    tuned = base().put(
        {"sign.demos": [demo]}, note="bootstrapped", origin={"sign.demos": ({"example": "e17"},)}
    )
    later = tuned.put({"draft.instruction": "Draft it."}, note="by hand")
    saved("prod", base(), tuned, later)
    done(here, "run app:chain --set text=a --model openai/test --version prod")
    (run, *_) = done(here, "runs ls")
    data = done(here, f"why {run['id']}")
    calls = {item["address"]: item for item in data["calls"]}
    assert ["sign[0]/call[0]"] == data["from"]["signed"]
    assert ["draft[0]/call[0]"] == calls["polish[0]/call[0]"]["reads"]
    (found,) = calls["sign[0]/call[0]"]["demos"]
    assert (tuned.id, "bootstrapped", {"example": "e17"}) == (
        found["version"],
        found["note"],
        found["origin"],
    )
    since = {source["path"]: source["version"] for source in calls["draft[0]/call[0]"]["params"]}
    assert later.id == since["draft.instruction"]
    text = call(here, f"why {run['id']}").stdout
    assert 'made by {"example": "e17"}' in text
    assert len(model.seen) == 12
