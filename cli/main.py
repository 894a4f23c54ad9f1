"""The command ``lmflow``; each subcommand's module is imported when the subcommand runs."""

from __future__ import annotations

import gc

import click

from lmflow import __version__
from lmflow.cli.lazy import LazyCommands, LazyGroup
from lmflow.cli.options import pager_option

GC_THRESHOLD = 20_000
"""New objects between two garbage collections. A run keeps nearly all the objects that it makes, so
frequent collections find nothing.
"""

SECTIONS = {
    "Run": {
        "new": ("new:new", "Write a small project that works at once, into a folder."),
        "run": ("run:run", "Run a program, once or on each row of data, and record it."),
        "map": ("scaling.map:map_", "Run a program on each row of a file, and write the results."),
        "work": ("scaling.work:work", "Work on a run that processes share."),
        "render": ("render:render", "Print the exact messages and options that a step would send."),
        "resume": ("replay:resume", "Finish a run that a crash or Ctrl-C stopped."),
    },
    "Look": {
        "runs": ("runs:runs", "List recorded runs and show them."),
        "costs": ("lists.costs:costs_", "Sum calls, tokens, money and time."),
        "why": ("explain:why", "Show where an answer comes from."),
        "ui": ("ui:ui", "Look at the store in a browser."),
        "status": ("status:status", "Compare a version's last run with the program of now."),
    },
    "Time travel": {
        "replay": ("replay:replay", "Run a recording again, unchanged or under another version."),
        "bisect": ("bisect:bisect", "Find the version that broke an example."),
        "rollback": ("refs:rollback", "Move a ref back to where it was."),
        "reflog": ("refs:reflog", "List where a ref pointed."),
    },
    "Versions": {
        "log": ("lists.log:log", "List a version and its ancestors."),
        "show": ("versions:show", "Show a version's parameters."),
        "diff": ("versions:diff", "Show the changes from version A to version B."),
        "blame": ("explain:blame", "Show which version introduced each part of a parameter."),
        "ref": ("refs:ref", "List, set and remove refs, which are names of versions."),
        "edit": ("edit:edit", "Change one parameter of a ref in $EDITOR."),
        "merge": ("refs:merge", "Merge the changes of a version into a ref."),
        "pin": ("stores.gc:pin", "Pin versions, which `gc` then keeps."),
        "export": ("version_files:export", "Write versions with their ancestors and refs as JSON."),
        "import": ("version_files:import_", "Store the versions of a file under their ids."),
    },
    "Tune": {
        "eval": ("evaluate:evaluate", "Score a program on examples, with an interval."),
        "compare": (
            "evaluate:compare",
            "Compare two evaluations, paired on the same examples.",
        ),
        "score": ("score:score", "Add a score or feedback to a run or trace."),
        "optimize": (
            "optimize:optimize",
            "Tune a program's parameters for a metric, within a budget.",
        ),
        "steer": ("steer:steer_command", "Pause, stop or steer an optimization that runs."),
    },
    "Data": {
        "dataset": ("datasets:dataset", "List, import and export data sets of the store."),
        "index": ("run:index", "Make a corpus of the txt, md, html and rst files of a folder."),
    },
    "Store": {
        "sql": ("stores.sql:sql", "Read the store by SQL."),
        "backup": ("stores.backup:backup", "Copy the store while others write it."),
        "store": ("stores.salvage:store", "Merge stores, and rescue what a damaged one has."),
        "push": ("scaling.merge:push", "Bring all that this store holds into another one."),
        "pull": ("scaling.merge:pull", "Bring all that another store holds into this one."),
        "verify": ("runs:verify", "Check every hash of a run or of the whole store."),
        "gc": ("stores.gc:gc", "Remove what no ref, reflog, pin or run reaches."),
        "doctor": (
            "stores.doctor:doctor",
            "Check the installation and print the fix of each problem.",
        ),
        "completion": ("completion:completion", "Print the shell's completion script."),
    },
    "Serve": {
        "serve": ("serve:serve", "Serve programs over HTTP and record each request."),
        "mcp": ("serve:mcp", "Serve programs as tools of the Model Context Protocol."),
        "otlp": (
            "traces.import_traces:otlp",
            "Receive traces of other systems by OpenTelemetry.",
        ),
        "models": ("models:models", "List, pull and remove weights of local models."),
    },
}
"""Each command's place, and the short help that ``lmflow --help`` lists, by section."""

COMMANDS = {name: place for section in SECTIONS.values() for name, place in section.items()}


@click.group(
    cls=LazyGroup,
    commands=LazyCommands(COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"]},
    sections={title: tuple(section) for title, section in SECTIONS.items()},
)
@click.version_option(__version__, prog_name="lmflow")
@pager_option
def main() -> None:
    """Compound AI systems as values: run programs, look at what happened, replay it offline.

    \b
    Example:
      lmflow run app:rag --set question="How long?" --model openai/MODEL
    """
    gc.set_threshold(GC_THRESHOLD)  # the process is the command's own
