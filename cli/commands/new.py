"""The command ``new``."""

from __future__ import annotations

import json
import keyword
import re
from pathlib import Path

import click

from lmflow.cli.errors import writing
from lmflow.cli.options import echo_json, json_option

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@click.command()
@click.argument("name")
@json_option
def new(name: str, *, as_json: bool) -> None:
    """Write a small project that works at once, into a folder.

    It has a program, data, a metric, and tests that need no key.

    \b
    Example:
      lmflow new triage
    """
    folder = Path(name)
    if not _NAME.fullmatch(folder.name) or keyword.iskeyword(folder.name):
        raise click.ClickException(
            f"{folder.name!r} can't be a name: use letters, digits, - and _, such as my-project."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.ClickException(
            f"{name} exists and isn't empty; nothing was written. Name a new folder."
        )
    if not folder.parent.is_dir():
        raise click.ClickException(
            f"there is no folder {folder.parent}. Make it first, or name one that exists."
        )
    with writing(name):
        folder.mkdir(exist_ok=True)
    files = {**_FILES, "README.md": _README.replace("NAME", folder.name), **_data()}
    for file, text in files.items():
        with writing(folder / file):
            (folder / file).write_text(text, encoding="utf-8")
    if as_json:
        echo_json({"folder": name, "files": sorted(files)})
        return
    click.echo(f"{name}: {', '.join(sorted(files))}")
    click.echo(f"Next: cd {name} && python -m pytest")


_APP = '''"""Sorts messages to a help desk by topic and urgency."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import lmflow as lf

Topic = Literal["billing", "bug", "question"]


def load(split: str) -> list[dict[str, Any]]:
    """Read the rows of train or dev: id, message, and the labels topic and urgent."""
    lines = (Path(__file__).parent / f"{split}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def exact(example: Mapping[str, Any], outputs: Mapping[str, Any]) -> float:
    """Return 1 if topic and urgency are both right, a half if one is."""
    return ((example["topic"] == outputs["topic"]) + (example["urgent"] == outputs["urgent"])) / 2


triage = lf.predict(
    "triage",
    "message -> topic: Topic, urgent: bool",
    "Say what the message is about, and whether somebody can't work until it is answered.",
    options={"max_tokens": 64},
    types={"Topic": Topic},
)
'''

_TEST = '''"""Tests of the program that need no key: a script answers in place of the model."""

import asyncio

import lmflow as lf

from app import exact, load, triage

REPLY = "[[topic]]\\nbug\\n[[urgent]]\\ntrue"


def run(*rows: dict) -> lf.Run:
    """Run the program on rows, answered by the script."""

    async def go() -> lf.Run:
        async with lf.Executor(lf.scripted(lambda request: REPLY)) as ex:
            return await ex.map(triage, rows)

    return asyncio.run(go())


def test_a_reply_becomes_typed_outputs() -> None:
    """Topic is one of the three, urgent a bool."""
    (trace,) = run({"message": "The export hangs."})
    assert ("bug", True) == (trace.outputs.topic, trace.outputs.urgent)


def test_a_run_replays() -> None:
    """A run that is replayed offline has the same root."""
    done = run(*load("dev"))
    assert done.root == lf.replay(done).root


def test_the_metric_counts_what_is_right() -> None:
    """Right, half right, wrong."""
    row = {"topic": "bug", "urgent": True}
    assert [1.0, 0.5, 0.0] == [
        exact(row, {"topic": topic, "urgent": urgent})
        for topic, urgent in [("bug", True), ("bug", False), ("billing", False)]
    ]


def test_the_splits_share_no_row() -> None:
    """What is measured on was never shown."""
    assert not {row["message"] for row in load("train")} & {row["message"] for row in load("dev")}
'''

_README = """# NAME

`app.py` holds the program `triage` and the metric `exact`, `train.jsonl` and `dev.jsonl` the data,
`test_app.py` tests that need no key.

```console
$ python -m pytest                                                         # no key, no network
$ lmflow run app:triage --set message="I was charged twice." --model local/smollm2-135m
$ lmflow run app:triage --data dev.jsonl  --model local/smollm2-135m       # then: lmflow runs ls
$ lmflow eval app:triage --data dev.jsonl --metric app:exact --model local/smollm2-135m
$ lmflow optimize app:triage --optimizer labeled_few_shot --train train.jsonl --held dev.jsonl \\
    --metric app:exact --ref main --model local/smollm2-135m               # then: lmflow log main
```

A local model needs `pip install "lmflow-dsl[local]"` and `lmflow models pull smollm2-135m`;
A provider's, `openai/MODEL`, needs `OPENAI_API_KEY`, or `OPENAI_BASE_URL` for a server of yours.
`lmflow doctor` says what is missing.
"""

_FILES = {"app.py": _APP, "test_app.py": _TEST, ".gitignore": "lmflow.db*\n__pycache__/\n"}

_ROWS = """
train billing  no  My invoice for May still shows the old address.
train billing  yes I was charged twice and my card is now blocked.
train bug      yes Nobody in our office can log in since the update.
train bug      no  The logo is cut off on the printed page.
train question no  Can I change my user name?
train question yes The audit starts in an hour: where do I find last year's log?
train billing  no  Do you send receipts by post as well?
train bug      yes Saving a file deletes it, and we have lost a day of work.
train question no  How do I add a second e-mail address?
train bug      no  Dark mode turns the tooltips grey on grey.
train billing  yes Our account was closed for a payment that we made last week.
train question no  Is there a keyboard shortcut for search?
dev   billing  no  Please add our tax number to future invoices.
dev   bug      yes The payment page crashes, so our shop can't sell anything.
dev   question no  Which file formats can I import?
dev   bug      no  The date on the start page is a day late.
dev   billing  yes You took the yearly fee instead of the monthly one and our rent bounced.
dev   question yes I'm locked out before a demo: how do I reset two-factor login?
dev   bug      no  Sorting by name puts accents at the end.
dev   question no  Can two people edit one page at the same time?
"""


def _data() -> dict[str, str]:
    rows: dict[str, list[str]] = {"train.jsonl": [], "dev.jsonl": []}
    for number, text in enumerate(_ROWS.strip().splitlines(), 1):
        split, topic, urgent, message = text.split(maxsplit=3)
        row = {"id": f"m{number}", "message": message, "topic": topic, "urgent": urgent == "yes"}
        rows[f"{split}.jsonl"].append(json.dumps(row))
    return {file: "\n".join([*lines, ""]) for file, lines in rows.items()}
