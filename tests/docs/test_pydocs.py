"""The laws of the pydocs demo's collection and questions."""

import importlib.util
from types import ModuleType
from typing import Any

import pytest
from paths import ROOT

_FOLDER = ROOT / "examples" / "pydocs"


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pydocs_collection", _FOLDER / "collection.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


collection = _loaded()
DOCUMENTS: list[dict[str, str]] = list(collection.documents())
TEXTS: dict[str, str] = {document["id"]: document["text"] for document in DOCUMENTS}
TRAIN: list[dict[str, Any]] = collection.questions("train")
DEV: list[dict[str, Any]] = collection.questions("dev")
ALL = TRAIN + DEV


def test_each_split_holds_twenty_questions() -> None:
    """There are twenty questions to train on and twenty to judge by."""
    assert (20, 20) == (len(TRAIN), len(DEV))


def test_an_unknown_split_is_refused() -> None:
    """A split that does not exist is refused by name."""
    with pytest.raises(ValueError, match="'test'"):
        collection.questions("test")


def test_a_question_has_four_fields() -> None:
    """Every question has an id, a question, an answer and at least one source, and nothing else."""
    assert [] == [
        it
        for it in ALL
        if set(it) != {"id", "question", "answer", "sources"} or not all(it.values())
    ]


def test_question_ids_are_unique() -> None:
    """No two questions share an id."""
    assert 40 == len({it["id"] for it in ALL})


def test_no_question_is_in_both_splits() -> None:
    """What is trained on is not judged by, whatever its letter case."""
    assert set() == {it["question"].casefold() for it in TRAIN} & {
        it["question"].casefold() for it in DEV
    }


def test_an_answer_is_short() -> None:
    """An answer is of one to five words."""
    assert [] == [it["answer"] for it in ALL if not 1 <= len(it["answer"].split()) <= 5]


def test_questions_are_spread_over_topics() -> None:
    """The questions draw on at least twenty-five topics."""
    assert 25 <= len({it["sources"][0] for it in ALL})


@pytest.mark.parametrize("question", ALL, ids=[it["id"] for it in ALL])
def test_an_answer_occurs_in_its_sources(question: dict[str, Any]) -> None:
    """Every source of a question is a document of the running Python in which the answer occurs."""
    answer = question["answer"].lower()
    assert [] == [it for it in question["sources"] if answer not in TEXTS.get(it, "").lower()]


def test_document_ids_are_unique() -> None:
    """No two documents share an id."""
    assert len(DOCUMENTS) == len(TEXTS)


def test_documents_are_not_empty() -> None:
    """There are documents, and each has a title and a text."""
    assert DOCUMENTS
    assert [] == [it["id"] for it in DOCUMENTS if not (it["title"].strip() and it["text"].strip())]


def test_documents_are_the_same_each_time() -> None:
    """Reading the collection again gives the same documents in the same order."""
    assert list(collection.documents()) == DOCUMENTS


def test_headings_lose_their_underlines() -> None:
    """A title is taken from its heading, and no underline is left in the text."""
    source = 'The "pass" statement\n********************\n\nFirst.\n\nPart\n====\n\nSecond.\n'
    assert ('The "pass" statement', "First.\n\nPart\n\nSecond.") == collection.clean(source)


def test_prose_is_unwrapped() -> None:
    """A wrapped paragraph becomes one line, without its emphasis and footnote marks."""
    assert ("", "An iterator is pre-computed once.") == collection.clean(
        "An *iterator* is pre-\ncomputed  once\n[1]."
    )


def test_a_subscript_is_no_footnote() -> None:
    """A footnote mark stands apart from the word before it; a subscript stays."""
    assert ("", "Use pair[0] here.") == collection.clean("Use pair[0] here [2].")


def test_code_keeps_its_lines() -> None:
    """A code sample keeps its line breaks and indentation."""
    assert ("", "So:\n\n   for i in x:\n       print(i)") == collection.clean(
        "So:\n\n   for i in x:\n       print(i)\n"
    )


def test_lines_that_were_not_wrapped_stay_apart() -> None:
    """Indented lines that end early are a sample, even where they could be read as prose."""
    assert ("", "As in\n\n   (yield 1)\n   (yield 2)") == collection.clean(
        "As in\n\n   (yield 1)\n   (yield 2)\n"
    )


def test_indented_prose_is_unwrapped() -> None:
    """An indented paragraph that was wrapped at the margin becomes one line."""
    first = "Return a copy of the string with its upper case characters"
    assert ("", f"{first} converted to lower case.") == collection.clean(
        f"   {first}\n   converted to lower case.\n"
    )


def test_grammar_rules_are_left_out() -> None:
    """Formal grammar is no prose and is left out."""
    assert ("", "One.\n\nTwo.") == collection.clean(
        'One.\n\n   stmt ::= "pass"\n          | "del"\n\nTwo.\n'
    )
