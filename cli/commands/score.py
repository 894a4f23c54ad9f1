"""The command ``score``."""

from __future__ import annotations

import math
import time

import attrs
import click

from lmflow.cli.commands.completion import complete_run
from lmflow.cli.options import echo_json, json_option, options_value, store_option, user_name
from lmflow.errors import NotFound, near
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.events import ScoreRecorded


@attrs.frozen(kw_only=True)
class ScoreOptions:
    """The arguments and options of ``score``."""

    run: str
    name: str
    value: float | None
    feedback: str
    label: str
    store: str
    as_json: bool


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.option("--name", required=True, help="The name of the score, such as helpful.")
@click.option("--value", type=float, help="The number.")
@click.option("--feedback", default="", help="The reason, in words.")
@click.option("--label", default="", help="The label of the trace, if the run has several.")
@store_option
@json_option
@options_value(ScoreOptions)
def score(options: ScoreOptions) -> None:
    """Add a score or feedback to a run or trace.

    RUN is a run with one trace, or the id of a trace. No score is overwritten.

    \b
    Example:
      lmflow score RUN --name helpful --value 1
    """
    value = options.value
    if value is None and not options.feedback:
        raise click.ClickException("nothing to store: give --value 1, or --feedback with words.")
    if value is not None and not math.isfinite(value):
        raise click.ClickException(
            f"--value {value} is not a finite number: give one such as 1 or 0.5."
        )
    with reading(options.store) as reader:
        trace = _trace(reader, options.run, options.label)
    recorded = ScoreRecorded(
        trace, options.name, value, options.feedback, "", user_name(), time.time_ns()
    )
    with SqliteStore(options.store) as store:
        store.append(recorded).result()
    if options.as_json:
        facts = {"trace": trace, "name": options.name, "value": value}
        echo_json({**facts, "feedback": options.feedback})
    else:
        click.echo(f"{trace}: {options.name} {'' if value is None else f'{value:g}'}".rstrip())


def _trace(reader: Reader, name: str, label: str) -> str:
    """Return the id of the trace that a run and a label, or a trace's own id, name."""
    try:
        labels = reader.labels(name)
    except NotFound:
        return reader.trace(name).id
    traces = [trace for text, trace in labels if text == label or len(labels) == 1]
    if traces:
        return traces[0]
    names = [text for text, _ in labels]
    first = names[0] if names else "LABEL"
    hint = near(label, names) if label else f" Say which, --label {first}."
    raise click.ClickException(
        f"run {name} has {len(labels)} traces, {label or 'none'} isn't one of them.{hint}"
    )
