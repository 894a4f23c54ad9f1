"""The laws of local embeddings on real weights: llama.cpp gives what the model's arithmetic says.
They skip without weights, or without the extra ``local``.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import minilm
import numpy as np
import pytest
from paths import ROOT

import lmflow as lf
from lmflow.models.local.weights import installed_weights

MODEL = "all-minilm-l6-v2"
TEXTS = (
    "A man is eating food.",
    "Someone eats a meal.",
    "The stock market fell sharply today.",
    "Die Größe des naïve Café-Gesprächs: 3.14 (ungefähr)!",
    "antidisestablishmentarianism",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. " * 6,
)
HERE = {found.name: found.path for found in installed_weights()}

pytestmark = [
    pytest.mark.skipif(MODEL not in HERE, reason=f"needs: lmflow models pull {MODEL}"),
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None, reason="needs the extra local"
    ),
]


async def _vectors() -> list[list[float]]:
    step = lf.embed(
        "embed", "texts: list[str] -> vectors: list[list[float]]", model=f"local/{MODEL}"
    )
    async with lf.Executor() as ex:
        trace = await ex.run(step, texts=TEXTS)
    assert trace.outputs is not None
    return [list(vector) for vector in trace.outputs.vectors]


async def test_vectors_are_those_of_the_model() -> None:
    """The vectors that llama.cpp gives are those of a forward pass in float64, to a cosine of
    0.9999.
    """
    model = minilm.read(HERE[MODEL].read_bytes())
    expected = [minilm.embed(model, text) for text in TEXTS]
    cosines = [
        float(want @ np.array(got)) for want, got in zip(expected, await _vectors(), strict=True)
    ]
    assert [] == [
        (text, cosine)
        for text, cosine in zip(TEXTS, cosines, strict=True)
        if not 0.9999 < cosine < 1.0001
    ]


async def test_what_means_the_same_is_near() -> None:
    """A paraphrase without a shared word is near, another topic is far."""
    food, meal, stocks, *_ = map(np.array, await _vectors())
    assert food @ meal > 0.7
    assert abs(food @ stocks) < 0.2


def test_the_page_s_example_runs(tmp_path: Path) -> None:
    """The example of docs/retrieval.md prints what its comments say."""
    page = ROOT / "docs" / "retrieval.md"
    (code,) = re.findall(
        r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    expected = ["()", "('They burn petrol, or are charged at a socket.',)"]
    assert (0, expected) == (done.returncode, done.stdout.splitlines()), done.stderr
