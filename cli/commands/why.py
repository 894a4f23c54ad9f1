"""The command ``why``."""

from __future__ import annotations

import click

from lmflow.cli.commands.completion import complete_run
from lmflow.cli.loading.programs import load_program
from lmflow.cli.options import echo_json, json_option, program_option, store_option
from lmflow.errors import NotFound
from lmflow.replays.provenance import why as provenance
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import reading
from lmflow.traces.trace import Trace
from lmflow.values.printing import clean


@click.command()
@click.argument("trace", shell_complete=complete_run)
@program_option("The program, whose steps tell equal names apart.")
@store_option
@json_option
def why(trace: str, target: str, store: str, *, as_json: bool) -> None:
    """Show where an answer comes from.

    Prints its calls, the versions of their parameters, the demonstrations and what made them. TRACE
    is the id of a trace, or of a run with one trace.

    \b
    Example:
      lmflow why RUN
    """
    program = load_program(target) if target else None
    with reading(store) as reader:
        explained = provenance(_trace(reader, trace), reader.version, program)
    if as_json:
        echo_json(explained.to_json())
    else:
        click.echo(clean(str(explained)))


def _trace(reader: Reader, name: str) -> Trace:
    try:
        return reader.trace(name)
    except NotFound:
        traces = reader.run(name).traces
    if len(traces) != 1:
        ids = ", ".join(trace.id for trace in traces[:4])
        raise click.ClickException(f"run {name} has {len(traces)} traces, name one: {ids}")
    return traces[0]
