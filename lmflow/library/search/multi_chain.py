"""Multi-chain comparison: a model reads several attempts and answers once more."""

from __future__ import annotations

import attrs

from lmflow.library.search.samples import Search, drawn, outputs_of, positive
from lmflow.programs.program import Predict, Program, check_programs, take
from lmflow.signatures.signature import Field, Signature
from lmflow.values.record import Record, pretty


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class MultiChainComparison(Search):
    """A program sampled ``n`` times and a step that reads all samples; see
    ``multi_chain_comparison``.
    """

    compare: Predict
    n: int

    @property
    def runs(self) -> int:
        """The most runs of its part."""
        return self.n

    async def body(self, inputs: Record) -> Record:
        """The samples, and the answer of who read them."""
        if self.n == 1:
            plain: Record = await take(self.part, inputs)
            return plain
        found = outputs_of(await drawn(self.part, inputs, 0, self.n))
        answer: Record = await take(self.compare, inputs | {"attempts": tuple(map(told, found))})
        return answer


def multi_chain_comparison(
    program: Program, *, n: int = 3, name: str = "compare", instruction: str = ""
) -> Search:
    """``n`` samples of a program, all read by one step that gives the program's outputs anew.

    Cost: ``n`` runs of the program and 1 call, the step ``name``, whose parameters are its own. For
    free text, on which no vote can be held. Samples that fail aren't read; where all do, the first
    failure is raised. ``n=1`` is the program itself.

    Yoran et al. 2023, arXiv 2304.13007 (answering over several chains of thought).
    """
    check_programs(program)
    inputs = (*program.signature.inputs, Field(name="attempts", type=list[str]))
    text = instruction or (
        "Several attempts at the task follow. They may be wrong, also where they agree. Compare them step by step, "
        "find what holds, and give the right result."
    )
    step = Predict(
        name=name, signature=Signature(inputs, program.signature.outputs), instruction=text
    )
    return MultiChainComparison(program, step, positive("n", n))


def told(outputs: Record) -> str:
    """Outputs as a model reads them, on one line."""
    pairs = (
        (name, value if isinstance(value, str) else pretty(value))
        for name, value in outputs.items()
    )
    return "; ".join(f"{name}: {' '.join(text.split())}" for name, text in pairs)
