"""Proposers: steps that write instructions, rules and examples for other programs.

They are ordinary programs: replace or tune them freely.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from lmflow.programs.factories import predict
from lmflow.programs.program import Predict, Program
from lmflow.signatures.fields import REQUIRED, Field
from lmflow.signatures.signature import Signature

TIPS = {
    "none": "",
    "creative": "Dare to be different from the present instruction.",
    "simple": "Keep it short and plain.",
    "descriptive": "Say in detail what the input looks like and what the answer must look like.",
    "high_stakes": "Say what is at stake for whoever relies on the answer.",
    "persona": "Say who the model is: an expert in just this task.",
}
"""Wishes that a proposer may be given beside the task, by name (Opsahl-Ong et al. 2024, arXiv
2406.11695, appendix).
"""


def improver(*, temperature: float = 1.4, max_tokens: int = 300) -> Predict:
    """Make the step that writes a better instruction from the present one alone."""
    return predict(
        "improve",
        "task, present -> instruction",
        "You write instructions for a language model. Write one instruction that would make it do "
        "this task better than the present instruction does. Reply with the new instruction alone.",
        options={"temperature": temperature, "max_tokens": max_tokens},
    )


def climber(*, temperature: float = 1.4, max_tokens: int = 300) -> Predict:
    """Make the step that writes an instruction from earlier ones with their scores, worst first.

    Yang et al. 2023, arXiv 2309.03409, section 3.
    """
    return predict(
        "climb",
        "task, attempts: list[str], examples: list[str] = [] -> instruction",
        "You write instructions for a language model. The attempts are instructions that were "
        "tried for this task, each with its score, the best last. See what the better ones have in "
        "common, then write one that differs from all of them and would score higher. Reply with "
        "the new instruction alone.",
        options={"temperature": temperature, "max_tokens": max_tokens},
    )


def observer(*, max_tokens: int = 250) -> Predict:
    """Make the step that notes what is typical of a batch of examples, given earlier notes."""
    return predict(
        "observe",
        "examples: list[str], noted = '' -> observations",
        "What is typical of these examples: their topics, form, difficulty, and what a right "
        "answer looks like? Write a few short sentences. If the notes say it all already, reply "
        "COMPLETE.",
        options={"temperature": 1.0, "max_tokens": max_tokens},
    )


def summarizer(*, max_tokens: int = 150) -> Predict:
    """Make the step that sums up notes on a data set in two or three sentences."""
    return predict(
        "summarize",
        "observations -> summary",
        "Sum up in two or three sentences what this data set is about and what solving it takes.",
        options={"temperature": 1.0, "max_tokens": max_tokens},
    )


def describer(*, max_tokens: int = 150) -> Predict:
    """Make the step that says what a program, or one step of it, is for."""
    return predict(
        "describe",
        "program, step = '', examples: list[str] = [] -> description",
        "A program is a system of steps, drawn here with what each reads and gives. Say in one or "
        "two sentences what the program is for; where a step is named, what that step has to do in "
        "it.",
        options={"temperature": 0.7, "max_tokens": max_tokens},
    )


def grounder(*, temperature: float = 1.0, max_tokens: int = 300) -> Predict:
    """Make the step that writes an instruction from facts on the data, the program and the step.

    Opsahl-Ong et al. 2024, arXiv 2406.11695, section 3.1.
    """
    return predict(
        "ground",
        "data, program, purpose, step, examples: list[str], present, tip = '' -> instruction",
        "You write instructions for a language model that is one step of a program. From what is "
        "known of the data, the program, the step's purpose and examples of what the step did "
        "well, write one instruction that makes the step do its part better than the present one. "
        "Heed the tip if there is one. Reply with the instruction alone.",
        options={"temperature": temperature, "max_tokens": max_tokens},
    )


def inducer(*, temperature: float = 1.0, max_tokens: int = 300) -> Predict:
    """Make the step that writes the rules that the right answers of examples follow."""
    return predict(
        "induce",
        "task, present, examples: list[str], most: int = 10 -> rules",
        "You write rules for a language model. Find out what the right answers of the examples "
        "have in common and write rules that lead to them on new inputs: short, general, one a "
        "line, no more than asked for. Don't repeat the examples. Reply with the rules alone.",
        options={"temperature": temperature, "max_tokens": max_tokens},
    )


def reflector(*, temperature: float = 1.0, max_tokens: int = 500) -> Predict:
    """Make the step that rewrites an instruction in view of runs under it, each with a verdict.

    Agrawal et al. 2025, arXiv 2507.19457, section 3.2.
    """
    return predict(
        "reflect",
        "task, present, runs -> instruction",
        "You write instructions for a language model that is one step of a program. You are shown "
        "the present instruction and runs under it, each with a verdict. Find out what the task "
        "really asks for and why runs fell short. Then write an instruction that leads to the "
        "right outcome on new inputs of this kind: keep what works, and name facts, formats and "
        "ways of working that the model can't know without being told. Reply with the new "
        "instruction alone.",
        options={"temperature": temperature, "max_tokens": max_tokens},
    )


def redescriber(*, temperature: float = 1.0, max_tokens: int = 500) -> Predict:
    """Make the step that rewrites the descriptions of a step's tools or outputs in view of runs."""
    return predict(
        "redescribe",
        "task, present: dict[str, str], runs -> descriptions: dict[str, str]",
        "You describe what a language model may use or must give. You are shown the present "
        "descriptions by name, and runs of the model under them, each with a verdict. Find out "
        "where the model misunderstood a description. Then rewrite those that would lead to the "
        "right outcome on new inputs of this kind, in one or two sentences each, under the same "
        "names.",
        options={"temperature": temperature, "max_tokens": max_tokens},
    )


def adviser(*, temperature: float = 1.0, max_tokens: int = 150) -> Predict:
    """Make the step that says what made one run of an example better than another."""
    return predict(
        "advise",
        "task, present, better, worse -> advice",
        "You write advice for a language model that is one step of a program. Two runs on the same "
        "input are shown, one with a better outcome than the other. Say in one or two sentences "
        "how to work so that inputs of this kind end as in the better run. Don't speak of this one "
        "input. Reply with the advice alone.",
        options={"temperature": temperature, "max_tokens": max_tokens},
    )


def inventor(program: Program, *, temperature: float = 1.0, max_tokens: int = 300) -> Predict:
    """Make the step that invents an example for a program: required inputs and right outputs."""
    fields = (
        *(field for field in program.signature.inputs if field.required),
        *program.signature.outputs,
    )
    names = {field.name for field in fields}
    inputs = (
        Field(name=_unused_name("task", names), type=str),
        Field(name=_unused_name("examples", names), type=list[str], default=()),
    )
    return predict(
        "invent",
        Signature(inputs, tuple(attrs.evolve(field, default=REQUIRED) for field in fields)),
        "You make up examples for a task. Write one new example: realistic, unlike those that are "
        "shown, and with an answer that is certainly right.",
        options={"temperature": temperature, "max_tokens": max_tokens},
    )


def _unused_name(name: str, used: Collection[str]) -> str:
    """Return the name with as many underscores as make it different from the used ones."""
    return name if name not in used else _unused_name(f"{name}_", used)
