"""The command ``lmflow``, whose commands are imported when they are asked for."""

from __future__ import annotations

import gc

import click

from lmflow import __version__
from lmflow.cli.lazy import LazyCommands, LazyGroup

ROOMY = 20_000
"""New objects between two looks for garbage: a run keeps nearly all it makes, so that looking often
is for nothing.
"""

COMMANDS = {
    "new": ("new:new", "Write a small project that works at once, into a folder."),
    "run": ("run:run", "Run a program, once or on each line of a file, and record it."),
    "serve": ("serve:serve", "Offer programs over HTTP, each request recorded."),
    "mcp": ("serve:mcp", "Programs as tools of the Model Context Protocol."),
    "render": ("render:render", "Print the exact messages and options that a step would send."),
    "runs": ("runs:runs", "List recorded runs and show them."),
    "replay": ("replay:replay", "Drive a run again, as it was or under another version."),
    "resume": ("replay:resume", "Finish a run that a crash or Ctrl-C stopped."),
    "bisect": ("explain:bisect", "Find the version that broke an example."),
    "why": ("explain:why", "Show where an answer comes from."),
    "verify": ("runs:verify", "Derive every hash again, of a run or of the whole store."),
    "score": ("store:score", "Judge a run, or a trace by its id."),
    "eval": ("evaluate:evaluate", "Score a program on examples, with interval and failures apart."),
    "compare": ("evaluate:compare", "Compare two evaluations, paired on the same examples."),
    "optimize": ("optimize:optimize", "Tune a program's parameters for a metric, within a budget."),
    "log": ("versions:log", "List a version and its ancestors."),
    "show": ("versions:show", "Show a version's parameters."),
    "diff": ("versions:diff", "Show what leads from version A to version B."),
    "blame": ("blame:blame", "Show which version introduced each part of a parameter."),
    "status": ("blame:status", "Compare what a version was last run with to what runs now."),
    "ref": ("refs:ref", "Names that point at versions: what is live, what is tried."),
    "rollback": ("refs:rollback", "Move a ref back to where it was."),
    "reflog": ("refs:reflog", "List where a ref pointed."),
    "edit": ("refs:edit", "Change one parameter of a ref in $EDITOR."),
    "merge": ("refs:merge", "Bring the changes of a version into a ref."),
    "pin": ("store:pin", "Versions that are kept whatever `gc` collects."),
    "export": ("store:export", "Write versions with their ancestors and refs as JSON."),
    "import": ("store:import_", "Keep the versions of a file, under their ids."),
    "dataset": (
        "datasets:dataset",
        "Data sets in the store, kept by content.",
    ),
    "gc": ("store:gc", "Remove what no ref, reflog, pin or run reaches."),
    "index": ("run:index", "Make a corpus of the txt, md, html and rst files of a folder."),
    "models": ("models:models", "Weights of models that run on this machine."),
    "doctor": ("doctor:doctor", "Say what is missing, and the line that mends it."),
    "completion": ("completion:completion", "Print the script that makes a shell complete."),
}
"""Where each command is, and what it says of itself in the list of all."""


@click.group(cls=LazyGroup, commands=LazyCommands(COMMANDS))
@click.version_option(__version__, prog_name="lmflow")
def main() -> None:
    """Compound AI systems as values: run programs, look at what happened, replay it offline.

    \b
    Example:
      lmflow run app:rag --set question="How long?" --model openai/gpt-5-mini
    """
    gc.set_threshold(ROOMY)  # the process is the command's own
