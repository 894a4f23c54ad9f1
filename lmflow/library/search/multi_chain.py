"""Multi-chain comparison: a model reads several attempts and answers once more."""

from __future__ import annotations

import attrs

from lmflow.library.checks import check_positive
from lmflow.library.search.sampling import Sampler, Search, draw_samples, successes
from lmflow.programs.program import Predict, Program, check_programs, pending_of
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record, pretty


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class MultiChainComparison(Sampler):
    """A program sampled ``n`` times and a step that reads the samples.

    See ``multi_chain_comparison``.
    """

    compare: Predict
    n: int

    @property
    def runs(self) -> int:
        """The most runs of its part."""
        return self.n

    async def search(self, inputs: Record) -> Record:
        """Return the answer of the step that reads all samples."""
        samples = successes(await draw_samples(self.part, inputs, 0, self.n))
        attempts = tuple(map(outputs_text, samples))
        answer: Record = await pending_of(self.compare, inputs | {"attempts": attempts})
        return answer


def multi_chain_comparison(
    program: Program, *, n: int = 3, name: str = "compare", instruction: str = ""
) -> Search:
    """Sample a program ``n`` times and let one step read the samples and answer anew.

    Cost: ``n`` runs of the program and 1 call, the step ``name``, whose parameters are its own. It
    suits free text, on which samples can't vote. Samples that fail aren't read; if all do, the
    first failure is raised. ``n=1`` is the program itself.

    Args:
        program: The program to sample.
        n: The number of samples, at least 1.
        name: The name of the step that compares.
        instruction: What that step is asked to do, by default to find what holds.

    Returns:
        A program with the signature of ``program``.

    Raises:
        ValueError: ``n`` is less than 1.

    Yoran et al. 2023, arXiv 2304.13007 (answering over several chains of thought).
    """
    check_programs(program)
    inputs = (*program.signature.inputs, Field(name="attempts", type=list[str]))
    text = instruction or (
        "Several attempts at the task follow. They may be wrong, also where they agree. "
        "Compare them step by step, find what holds, and give the right result."
    )
    step = Predict(
        name=name, signature=Signature(inputs, program.signature.outputs), instruction=text
    )
    return MultiChainComparison(program, step, check_positive("n", n))


def outputs_text(outputs: Record) -> str:
    """Write outputs on one line, as models read them: ``name: value; name: value``."""
    texts = {}
    for name, value in outputs.items():
        text = value if isinstance(value, str) else pretty(value)
        texts[name] = " ".join(text.split())
    return "; ".join(f"{name}: {text}" for name, text in texts.items())
