"""The laws of composition: what fits, what is refused, what a program's key holds, what the
combinators do.
"""

from __future__ import annotations

import pickle
from typing import Any

import attrs
import pytest
from driving import addresses, drive

import lmflow as lf
from lmflow.errors import (
    BadSignature,
    DuplicateStep,
    ForeignPaths,
    MissingInput,
    UndeclaredProgram,
    UnknownInput,
    WrongType,
)
from lmflow.programs.flow import walk
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Pipe, Predict, Program, pending_of, pipe
from lmflow.signatures.declaration import parse_signature
from lmflow.signatures.fields import Field
from lmflow.values.record import Record


@lf.tool
def shout(text: str) -> str:
    """Say it loud."""
    return text.upper()


@lf.tool
def grow(text: str) -> str:
    """Make it longer."""
    return text + "!"


def find(query: str) -> str:
    """Find it."""
    return query.upper()


def long_enough(shout: str) -> bool:
    """Whether it is."""
    return len(shout) > 3


def _lengthened(text: str) -> dict[str, Any]:
    return {"text": text + "!", "done": len(text) >= 3}


lengthen = lf.tool("lengthen", "text -> text, done: bool", _lengthened)
upper_again = lf.tool("upper_again", "shout -> loud", lambda shout: shout.upper(), version="1")
rewrite = lf.predict("rewrite", "question, context: list[str] = [] -> query", "Write a query.")
search = lf.tool("search", "query -> context: list[str]", find, version="1")
answer = lf.predict("answer", "context: list[str], question -> answer", "Answer briefly.")
rag = rewrite >> search >> answer


@lf.flow("question -> answer", uses=[rag, answer])
async def asked(question: str) -> Any:
    """Ask."""
    return await rag(question=question)


@lf.flow("text -> shout", uses=[shout])
async def undeclared(text: str) -> Any:
    """Await what isn't declared."""
    return await grow(text=text)


@lf.flow("text -> grow", uses=[shout, grow])
async def composed(text: str) -> Any:
    """Await a composition of what is declared."""
    made = await lf.parallel(shout, grow)(text=text)
    return made.grow


PROGRAMS = [
    rewrite,
    search,
    shout,
    rag,
    asked,
    lf.parallel(shout, grow),
    lf.map(shout, over="texts", item="text"),
    rag.named("second"),
    lf.branch("loud", shout, lf.predict("quiet", "text -> shout")),
    lf.repeat(lengthen, until="done", times=3),
    rewrite.named("again"),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_programs_pickle(program: Program) -> None:
    """A pickled program is equal, with equal hash, key and defaults."""
    again = pickle.loads(pickle.dumps(program))  # noqa: S301
    assert (program, hash(program), program.key, program.defaults) == (
        again,
        hash(again),
        again.key,
        again.defaults,
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_a_program_is_immutable(program: Program) -> None:
    """No field of a program can be set."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        program.signature = parse_signature("a -> b")  # type: ignore[misc]


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_the_paths_are_those_of_the_first_version(program: Program) -> None:
    """The first version holds each path once, with its default, and has no parents."""
    version = lf.init(program)
    assert (program.paths, ()) == (tuple(version.params), version.parents)


def test_the_predictors_are_the_steps_that_ask_a_model() -> None:
    """By the names that their parameter paths begin with, in program order; tools are none."""
    twice = rag.named("first") >> answer.named("last")
    assert [*twice.predictors] == ["first.rewrite", "first.answer", "last"]
    assert all(
        twice.predictors[name] is step
        for name, step in twice.steps.items()
        if isinstance(step, Predict)
    )


def test_programs_have_different_keys() -> None:
    """Different programs have different keys."""
    assert len(PROGRAMS) == len({program.key for program in PROGRAMS})


def test_a_chain_needs_what_nothing_makes() -> None:
    """The inputs of a chain are what no step before makes, its outputs all that is made."""
    assert "question, context: list[str] = [] -> query, context: list[str], answer" == str(
        rag.signature
    )


def test_chains_are_flat() -> None:
    """However it is bracketed, a chain is one program."""
    left, right = (rewrite >> search) >> answer, rewrite >> (search >> answer)
    assert (rag, rag, rag.key) == (left, right, pipe(rewrite, search, answer).key)
    assert 3 == len(left.parts)


def test_a_chain_refuses_a_near_name() -> None:
    """An input that is nearly what an earlier step makes is refused with that."""
    with pytest.raises(MissingInput, match=r"needs the input 'contxet'.*Did you mean 'context'"):
        _ = search >> lf.predict("a", "contxet -> b")


@pytest.mark.parametrize("name", ["contexts", "context_2"])
def test_a_chain_takes_a_plural_or_numbered_name_as_meant(name: str) -> None:
    """Names that differ in a number or a plural s are both meant: the chain has one more input."""
    chain = search >> lf.predict("a", f"{name} -> b")
    assert name in [field.name for field in chain.signature.inputs]


def test_two_steps_under_one_name_are_refused() -> None:
    """Different steps under one name would share parameters: refused with the way out."""
    with pytest.raises(DuplicateStep, match=r"both named 'answer'.*named"):
        _ = answer >> lf.predict("answer", "answer -> b")


@pytest.mark.parametrize(
    "make",
    [
        lf.parallel,
        lambda a, b: lf.branch("c", a, b >> lf.predict("c", "z -> y")),
        lambda a, b: lf.map(a >> b, "xs", item="x"),
    ],
)
def test_every_combinator_refuses_duplicates(make: Any) -> None:
    """Two different steps under one name are refused wherever they meet."""
    with pytest.raises(DuplicateStep):
        make(lf.predict("a", "x -> y"), lf.predict("a", "x -> z"))


def test_the_same_step_twice_shares_its_parameters() -> None:
    """A step that is used twice has one set of paths."""
    assert answer.paths == (answer >> answer).paths


def test_a_renamed_step_has_its_own_parameters() -> None:
    """A step under another name has paths under that name."""
    assert (
        "hop.instruction",
        "hop.demos",
        "hop.options",
        "hop.model",
        "hop.adapter",
    ) == answer.named("hop").paths


def test_a_renamed_program_has_its_own_parameters() -> None:
    """A program under another name has its paths under that name and a dot."""
    assert tuple(f"second.{path}" for path in rag.paths) == rag.named("second").paths


def test_a_missing_input_is_refused_at_the_call() -> None:
    """A program is called with all inputs, or the missing one is named."""
    with pytest.raises(MissingInput, match="answer needs the input 'context'; given: `question`"):
        answer(question="q")


def test_an_unknown_input_is_refused_at_the_call() -> None:
    """A program takes its inputs only, the near one is named."""
    with pytest.raises(UnknownInput, match=r"no input 'contexts'.*Did you mean 'context'"):
        answer(contexts=[], question="q")


def test_a_wrong_type_is_refused_at_the_call() -> None:
    """An input of another type is refused with what was found and expected."""
    with pytest.raises(WrongType, match=r"answer\.context expects list\[str\], found 'x'"):
        answer(context="x", question="q")


@pytest.mark.parametrize("name", ["", "Answer", "an-swer", "a.b", "class", "items"])
def test_a_step_has_a_plain_name(name: str) -> None:
    """A name that can't stand in a path is refused."""
    with pytest.raises(BadSignature):
        lf.predict(name, "x -> y")


def test_a_predictor_does_not_overwrite_its_input() -> None:
    """A predictor can't both read and write a field."""
    with pytest.raises(BadSignature, match="both read and write 'x'"):
        lf.predict("a", "x -> x")


def test_parallel_outputs_have_names_of_their_own() -> None:
    """Two programs side by side can't write one field."""
    with pytest.raises(BadSignature, match="'y' appears twice"):
        lf.parallel(lf.predict("a", "x -> y"), lf.predict("b", "x -> y"))


@pytest.mark.parametrize(
    "change",
    [
        {"instruction": "Other."},
        {"demos": (Record(question="q"),)},
        {"options": Record(temperature=1)},
        {"model": "a/b"},
    ],
)
def test_defaults_are_no_part_of_the_key(change: dict[str, Any]) -> None:
    """What can be tuned doesn't change a program's key."""
    assert (answer >> shout_after).key == (attrs.evolve(answer, **change) >> shout_after).key


shout_after = lf.tool("shout_after", "answer -> loud", str.upper, version="1")


@pytest.mark.parametrize(
    "other",
    [
        lf.predict("answer", "context: list[str], question -> answer, why"),
        lf.predict("answer", "context: list[str], question: str = '' -> answer"),
        lf.predict("answer", "context: list[str], question -> answer: int"),
        lf.predict("reply", "context: list[str], question -> answer"),
        lf.tool("answer", "context: list[str], question -> answer", find, version="1"),
    ],
)
def test_names_types_and_kinds_are_in_the_key(other: Program) -> None:
    """Another name, signature or kind is another key."""
    assert answer.key != other.key


def test_an_edited_function_changes_the_key() -> None:
    """A tool whose source is edited makes another key of every program that uses it."""

    def first(text: str) -> str:
        return text.upper()

    def second(text: str) -> str:
        return text.lower()

    second.__name__ = first.__name__
    keys = {
        (lf.tool("t", "text -> y", function) >> lf.predict("p", "y -> z")).key
        for function in (first, second)
    }
    assert 2 == len(keys)


def test_an_edited_condition_changes_the_key() -> None:
    """A condition's source is in the key of a branch and of a repeat."""

    def first(text: str) -> bool:
        return text == "a"

    def second(text: str) -> bool:
        return text == "b"

    assert lf.branch(first, shout, shout).key != lf.branch(second, shout, shout).key
    assert (
        lf.repeat(lengthen, until=first, times=1).key
        != lf.repeat(lengthen, until=second, times=1).key
    )


def test_the_bound_of_a_repeat_is_in_the_key() -> None:
    """Three rounds are another program than two."""
    assert (
        lf.repeat(lengthen, until="done", times=2).key
        != lf.repeat(lengthen, until="done", times=3).key
    )


def test_the_two_sides_of_a_branch_are_in_the_key() -> None:
    """A branch turned round is another program."""
    loud = lf.predict("loud", "text -> shout")
    assert lf.branch("c", shout, loud).key != lf.branch("c", loud, shout).key


def test_a_version_fills_in_over_the_defaults() -> None:
    """A program runs with the version's values, and its defaults where the version has none."""
    params = complete_params(rag, lf.Version(params={"answer.model": "a/b"}))
    assert ("a/b", "Answer briefly.") == (params["answer.model"], params["answer.instruction"])


def test_a_version_of_another_program_is_refused() -> None:
    """Paths that the program lacks are named, with the near ones."""
    with pytest.raises(ForeignPaths, match=r"Did you mean 'answer.model'"):
        complete_params(rag, lf.Version(params={"anser.model": "a/b"}))


def test_walk_is_depth_first() -> None:
    """A walk yields the program, then its parts, in program order."""
    assert [asked, rag, rewrite, search, answer, answer] == list(walk(asked))


def test_take_reads_the_inputs_alone() -> None:
    """A record is cut to the program's inputs."""
    assert Record(text="a") == pending_of(shout, {"text": "a", "other": 1}).inputs


def test_a_chain_gives_what_its_steps_add() -> None:
    """A chain's outputs are what its steps add, the last one where two write one field."""
    assert Record(shout="AB", loud="AB") == drive((shout >> upper_again)(text="ab"))


def test_parallel_gives_the_outputs_of_all() -> None:
    """Side by side, each reads the record and their outputs stand together."""
    assert Record(shout="AB", grow="ab!") == drive(lf.parallel(shout, grow)(text="ab"))


def test_map_makes_lists_of_outputs() -> None:
    """A mapped program gives lists, in the order of the items; other inputs are shared."""
    both = lf.tool("both", "text, mark -> out", lambda text, mark: text + mark, version="1")
    assert Record(out=("a!", "b!")) == drive(
        lf.map(both, over="texts", item="text")(texts=["a", "b"], mark="!")
    )


def test_map_over_nothing_gives_nothing() -> None:
    """A mapped program over an empty list gives empty lists and calls nothing."""
    pending = lf.map(shout, over="texts")(texts=[])
    assert (Record(shout=()), []) == (drive(pending), addresses(pending))


def test_map_asks_which_input_takes_an_item() -> None:
    """Where two inputs could take an item, the item is asked for."""
    with pytest.raises(BadSignature, match="item=one of"):
        lf.map(answer, over="questions")


def test_map_keys_must_differ() -> None:
    """Two items under one key are refused."""
    mapped = lf.map(
        lf.tool("t", "doc: dict -> out", lambda doc: doc["id"], version="1"), over="docs", key="id"
    )
    with pytest.raises(ValueError, match="'a' appears twice"):
        drive(mapped(docs=[{"id": "a"}, {"id": "a"}]))


@pytest.mark.parametrize(("loud", "expected"), [(True, "AB"), (False, "ab?")])
def test_a_branch_takes_one_side(*, loud: bool, expected: str) -> None:
    """A branch runs the side that the field chooses, and only that."""
    other = lf.tool("other", "text -> shout", lambda text: text + "?", version="1")
    pending = lf.branch("loud", shout, other)(text="ab", loud=loud)
    assert (Record(shout=expected), 1) == (drive(pending), len(addresses(pending)))


def test_a_branch_gives_what_both_sides_give() -> None:
    """Outputs that one side lacks are left out."""
    one, two = lf.predict("one", "x -> y, z"), lf.predict("two", "x -> z")
    assert "c: Any, x -> z" == str(lf.branch("c", one, two).signature)


def test_a_repeat_feeds_outputs_back() -> None:
    """Each round reads what the round before wrote, until the condition holds."""
    pending = lf.repeat(lengthen, until="done", times=9)(text="a")
    assert (Record(text="a!!!", done=True), 3) == (drive(pending), len(addresses(pending)))


def test_a_repeat_is_bounded() -> None:
    """A repeat ends after ``times`` rounds, whether or not the condition holds."""
    assert Record(text="a!!", done=False) == drive(
        lf.repeat(lengthen, until="done", times=2)(text="a")
    )


def test_a_repeat_by_a_function_of_the_record() -> None:
    """A condition may be a function of the record's fields."""
    twice = lf.tool("twice", "shout -> shout", lambda shout: shout * 2, version="1")
    assert Record(shout="aaaa") == drive(lf.repeat(twice, until=long_enough, times=9)(shout="a"))


def test_a_repeat_runs_at_least_once() -> None:
    """No rounds are refused."""
    with pytest.raises(ValueError, match="at least 1"):
        lf.repeat(lengthen, until="done", times=0)


def test_a_flow_awaits_what_it_declares() -> None:
    """A program that a flow doesn't declare is refused with the line that declares it."""
    with pytest.raises(UndeclaredProgram, match=r"flow 'undeclared' awaits grow.*uses="):
        drive(undeclared(text="a"))


def test_a_flow_awaits_compositions_of_what_it_declares() -> None:
    """A composition of declared programs needs no declaration."""
    assert Record(grow="a!") == drive(composed(text="a"))


def test_a_flow_awaits_parts_of_what_it_declares() -> None:
    """The parts of a declared program are declared."""
    asked.check(rewrite)
    asked.check(Pipe((rewrite, search)))


def test_a_predictor_is_a_predict() -> None:
    """The repr of a program says its kind, name and signature."""
    assert isinstance(answer, Predict)
    assert "<Predict answer: context: list[str], question -> answer>" == repr(answer)


def test_fields_of_a_flow_are_its_signature() -> None:
    """A flow's inputs and outputs are those that it was declared with."""
    assert ((Field(name="question"),), (Field(name="answer"),)) == (
        asked.signature.inputs,
        asked.signature.outputs,
    )
