"""Metrics over short answers: SQuAD's, HotpotQA's, and whether an answer or a passage contains the
reference.
"""

from __future__ import annotations

import itertools
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmflow.metrics.base import FunctionMetric, Score
from lmflow.metrics.fields import golds, pick, shipped, text_of
from lmflow.values.record import canonical

_Row = Mapping[str, Any]
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(field: str = "answer", gold: str = "", *, normalize: bool = True) -> FunctionMetric:
    """1 if the output equals an accepted answer, normalized as SQuAD does (Rajpurkar et al. 2016,
    section 6.1, ``evaluate-v1.1.py``): case, ASCII punctuation, the articles a, an, the and white
    space don't count.

    Args:
        field: The output's field.
        gold: The example's field, by default that of the output's name; a list holds several
            accepted answers.
        normalize: Whether to normalize; ``False`` compares the values themselves.

    Example:
        >>> lf.exact_match()({"answer": ["Paris", "Lutetia"]}, {"answer": "the paris."}).value
        1.0
    """
    return shipped(
        _exact_match,
        normalized,
        golds,
        text_of,
        field=field,
        gold=gold or field,
        normalize=normalize,
    )


def f1(field: str = "answer", gold: str = "") -> FunctionMetric:
    """The F1 of normalized tokens with the nearest accepted answer (Rajpurkar et al. 2016, section
    6.1, ``evaluate-v1.1.py``): 0 if no token is shared, so also for two empty answers.

    Args:
        field: The output's field.
        gold: The example's field, by default that of the output's name; a list holds several
            accepted answers.
    """
    return shipped(_f1, token_f1, normalized, golds, text_of, field=field, gold=gold or field)


def squad_em(field: str = "answer", gold: str = "answers") -> FunctionMetric:
    """SQuAD 2.0's exact match (Rajpurkar et al. 2018, ``evaluate-v2.0.py``): no accepted answer at
    all means that the question has none, and then only an empty output is right.

    Args:
        field: The output's field.
        gold: The example's field, a list of accepted answers.
    """
    return shipped(_squad_em, accepted, normalized, golds, text_of, field=field, gold=gold)


def squad_f1(field: str = "answer", gold: str = "answers") -> FunctionMetric:
    """SQuAD 2.0's F1 (Rajpurkar et al. 2018, ``evaluate-v2.0.py``): as ``f1``, but if either
    side is empty, 1 if both are and else 0.

    Args:
        field: The output's field.
        gold: The example's field, a list of accepted answers.
    """
    return shipped(
        _squad_f1, accepted, token_f1, normalized, golds, text_of, field=field, gold=gold
    )


def hotpot_em(field: str = "answer", gold: str = "") -> FunctionMetric:
    """HotpotQA's exact match (Yang et al. 2018, section 5.1, ``hotpot_evaluate_v1.py``): SQuAD's
    normalization.

    Args:
        field: The output's field.
        gold: The example's field, by default that of the output's name; a list holds several
            accepted answers.
    """
    return shipped(_hotpot_em, normalized, golds, text_of, field=field, gold=gold or field)


def hotpot_f1(field: str = "answer", gold: str = "") -> FunctionMetric:
    """HotpotQA's F1 (Yang et al. 2018, section 5.1, ``hotpot_evaluate_v1.py``): as ``f1``, and 0
    if one side is yes, no or noanswer and the other isn't the same.

    Args:
        field: The output's field.
        gold: The example's field, by default that of the output's name; a list holds several
            accepted answers.
    """
    return shipped(
        _hotpot_f1, token_f1, normalized, golds, text_of, field=field, gold=gold or field
    )


def contains(field: str = "answer", gold: str = "") -> FunctionMetric:
    """1 if the output contains an accepted answer as a run of whole words, both normalized as SQuAD
    does.

    Args:
        field: The output's field.
        gold: The example's field, by default that of the output's name; a list holds several
            accepted answers.
    """
    return shipped(_contains, holds, normalized, golds, text_of, field=field, gold=gold or field)


def passage_match(field: str = "context", gold: str = "answer") -> FunctionMetric:
    """1 if one of the passages contains an accepted answer (Karpukhin et al. 2020, section 5, DPR's
    ``has_answer``): its tokens in a row, uncased, decomposed by NFD, nothing else normalized.

    Args:
        field: The output's field, a list of passages or one passage.
        gold: The example's field, a list of accepted answers or one answer.
    """
    return shipped(_passage_match, holds, words, golds, text_of, field=field, gold=gold)


def normalized(text: str) -> str:
    """The text as SQuAD compares it: lower case, no ASCII punctuation, no a, an, the, single
    spaces.
    """
    bare = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def token_f1(output: str, answer: str) -> float:
    """The F1 of two texts' normalized tokens, as multisets; 0 where they share none."""
    found, wanted = normalized(output).split(), normalized(answer).split()
    shared = (Counter(found) & Counter(wanted)).total()
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0


def accepted(value: Any) -> tuple[str, ...]:
    """SQuAD 2.0's accepted answers: those that are nonempty once normalized, or an empty one."""
    return tuple(answer for answer in golds(value) if normalized(answer)) or ("",)


def holds(tokens: Sequence[str], run: Sequence[str]) -> bool:
    """Tell whether ``tokens`` contain ``run``, in a row. No tokens contain an empty run."""
    size = len(run)
    return size > 0 and any(tokens[at : at + size] == run for at in range(len(tokens) - size + 1))


def words(text: str) -> list[str]:
    """The tokens of DPR's ``SimpleTokenizer``: runs of letters, digits and marks, and every other
    visible character by itself; decomposed, lower case.
    """
    runs = itertools.groupby(unicodedata.normalize("NFD", text).lower(), _kind)
    return [token for kind, run in runs for token in _tokens(kind, run) if kind]


def _kind(char: str) -> str:
    major = unicodedata.category(char)[0]
    return "" if major in "ZC" else "word" if major in "LNM" else "mark"


def _tokens(kind: str, run: Iterable[str]) -> Iterable[str]:
    return ["".join(run)] if kind == "word" else run


def _exact_match(example: _Row, outputs: _Row, *, field: str, gold: str, normalize: bool) -> Score:
    output, wanted = pick(outputs, field), pick(example, gold)
    if normalize:
        right = normalized(text_of(output)) in [normalized(answer) for answer in golds(wanted)]
    else:
        several = (
            wanted if isinstance(wanted, tuple) and not isinstance(output, tuple) else (wanted,)
        )
        right = canonical(output) in [canonical(answer) for answer in several]
    return Score(float(right), "" if right else f"expected {' or '.join(golds(wanted))}")


def _f1(example: _Row, outputs: _Row, *, field: str, gold: str) -> Score:
    output, answers = text_of(pick(outputs, field)), golds(pick(example, gold))
    best = max((token_f1(output, answer) for answer in answers), default=0.0)
    return Score(best, "" if best == 1 else f"expected {' or '.join(answers)}")


def _squad_em(example: _Row, outputs: _Row, *, field: str, gold: str) -> Score:
    output, answers = text_of(pick(outputs, field)), accepted(pick(example, gold))
    right = normalized(output) in [normalized(answer) for answer in answers]
    return Score(float(right), "" if right else f"expected {' or '.join(answers) or 'no answer'}")


def _squad_f1(example: _Row, outputs: _Row, *, field: str, gold: str) -> Score:
    output, answers = text_of(pick(outputs, field)), accepted(pick(example, gold))
    if not normalized(output) or answers == ("",):
        best = float(not normalized(output) and answers == ("",))
    else:
        best = max(token_f1(output, answer) for answer in answers)
    return Score(best, "" if best == 1 else f"expected {' or '.join(answers) or 'no answer'}")


def _hotpot_em(example: _Row, outputs: _Row, *, field: str, gold: str) -> Score:
    output, answers = text_of(pick(outputs, field)), golds(pick(example, gold))
    right = normalized(output) in [normalized(answer) for answer in answers]
    return Score(float(right), "" if right else f"expected {' or '.join(answers)}")


def _hotpot_f1(example: _Row, outputs: _Row, *, field: str, gold: str) -> Score:
    output, answers = text_of(pick(outputs, field)), golds(pick(example, gold))
    closed = {"yes", "no", "noanswer"}
    scores = [
        0.0 if a != b and closed & {a, b} else token_f1(a, b)
        for a, b in ((normalized(output), normalized(answer)) for answer in answers)
    ]
    best = max(scores, default=0.0)
    return Score(best, "" if best == 1 else f"expected {' or '.join(answers)}")


def _contains(example: _Row, outputs: _Row, *, field: str, gold: str) -> Score:
    tokens, answers = normalized(text_of(pick(outputs, field))).split(), golds(pick(example, gold))
    right = any(holds(tokens, normalized(answer).split()) for answer in answers)
    return Score(float(right), "" if right else f"it doesn't hold {' or '.join(answers)}")


def _passage_match(example: _Row, outputs: _Row, *, field: str, gold: str) -> Score:
    passages, answers = golds(pick(outputs, field)), golds(pick(example, gold))
    right = any(holds(words(passage), words(answer)) for passage in passages for answer in answers)
    return Score(float(right), "" if right else f"no passage holds {' or '.join(answers)}")
