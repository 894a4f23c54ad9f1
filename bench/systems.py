"""What search at inference time and the systems bring a small local model, with intervals, and what
they cost.

python bench/systems.py [votes code cascade hops extract report] [--rows 10] [--samples 8] [--store
systems.db]

Data sets are found in the folder LMFLOW_DATA. What the store holds already is not asked again, so a
stopped run goes on where it was, more rows or samples cost only what is new, and votes are counted
over the samples that are there. The bar is --rows 100 for votes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import typed  # beside this file

import lmflow as lf
from lmflow.execution.rollout import Rollout
from lmflow.interpreter.predict import ADAPTER
from lmflow.library.retrieval.citations import cited_numbers, strip_citations, word_overlap
from lmflow.messages.replies import ChatReply
from lmflow.models.local.local import local

MODEL, SMALL = "qwen2.5-coder-0.5b", "smollm2-135m"
CHUNK, SLOTS, SUPPORT = 40, 8, 0.3
GREEDY = {"temperature": 0, "max_tokens": 200}
WARM = {"temperature": 0.8, "max_tokens": 200}
LONG = {"temperature": 0, "max_tokens": 500}
_TITLE = re.compile(r"^\s*#{1,6}\s*(.+?)\s*#*$", re.MULTILINE)


@attrs.frozen(eq=False)
class Bench:
    """Where it is run: the store, the folder of data sets, and how much of each."""

    store: lf.SqliteStore
    data: Path
    rows: int
    samples: int

    def examples(self, name: str, count: int = 0) -> list[lf.Record]:
        """The first dev rows of a data set."""
        return [
            lf.Record(row) for row in typed.rows(self.data / name / "dev.jsonl", count or self.rows)
        ]

    async def run(
        self,
        program: lf.Program,
        rows: Sequence[lf.Record],
        *,
        samples: int = 1,
        options: Any = None,
        model: str = MODEL,
    ) -> lf.Run:
        """A run of all rows and samples: from the store what it has, the rest asked now, in chunks.
        A request that the run of any program made before, with the same sample, is answered by
        its reply, and counted as if it was made.
        """
        tuned = {path: options or GREEDY for path in program.paths if path.endswith(".options")}
        version = lf.init(program).put(tuned)
        wanted = [(row, k) for row in rows for k in range(samples)]
        done = {(row.id, k): self.kept(program, version, row, k, model) for row, k in wanted}
        missing = [pair for pair in wanted if done[pair[0].id, pair[1]] is None]
        async with lf.Executor(
            lf.cached(local(model, slots=SLOTS), self.store), self.store, concurrency=SLOTS
        ) as ex:
            for start in range(0, len(missing), CHUNK):
                chunk = missing[start : start + CHUNK]
                pendings = [
                    (program(**inputs(program, row)).sampled(k), f"ex[{row.id}]/n[{k}]")
                    for row, k in chunk
                ]
                rollouts = [Rollout(pending, version, label) for pending, label in pendings]
                run = await ex.rollouts("map", str(program), rollouts)
                done |= {(row.id, k): trace for (row, k), trace in zip(chunk, run, strict=True)}
                print(f"  {program}: {start + len(chunk)} of {len(missing)} asked", flush=True)
        items = tuple(
            (f"ex[{row.id}]" + (f"/n[{k}]" if samples > 1 else ""), done[row.id, k])
            for row, k in wanted
        )
        return lf.Run("bench", "map", str(program), items=items)  # type: ignore[arg-type]

    def kept(
        self, program: lf.Program, version: lf.Version, row: lf.Record, k: int, model: str
    ) -> lf.Trace | None:
        """The trace in the store of this program, version, renderer, example, sample and model; not
        one whose endpoint failed. After a change of a system's own code begin with another
        store.
        """
        bound = program(**inputs(program, row)).inputs
        with self.store.reading() as reader:
            known = reader.traces_of(bound, limit=1000)
        for trace in known:
            found = trace.program, trace.version.tree, trace.sample, trace.world["adapter"]
            same = found == (program.key, version.tree, k, ADAPTER)
            if (
                same
                and trace.world["models"].get("", {}).get("model") == f"local/{model}"
                and not typed.lost(trace)
            ):
                return trace
        return None


def inputs(program: lf.Program, row: Mapping[str, Any]) -> dict[str, Any]:
    """The program's inputs of a row."""
    return {field.name: row[field.name] for field in program.signature.inputs if field.name in row}


def tokens(run: lf.Run) -> float:
    """Tokens an execution on average, those of prompts too."""
    replies = [call.outcome for trace in run for call in trace.calls]
    usages = [reply.usage for reply in replies if isinstance(reply, ChatReply)]
    return sum((usage.prompt or 0) + (usage.completion or 0) for usage in usages) / max(1, len(run))


def told(name: str, run: lf.Run, rows: Iterable[Any], metric: Any) -> lf.Evaluation:
    """Score a run and say so: failures count as 0."""
    found = lf.scores_from(run, list(rows), metric)
    calls = sum(len(trace.calls) for trace in run) / max(1, len(run))
    mean = found.mean_with_failures_as(0.0)
    print(
        f"  {name:<28} {mean}  failed {len(found.failed)}  {tokens(run):,.0f} tokens, {calls:.1f} calls a row"
    )
    return found


def differs(a: lf.Evaluation, b: lf.Evaluation) -> None:
    """The paired difference."""
    print(f"  {str(lf.compare(a, b, failures_as=0.0)).splitlines()[0]}")


SOLVE = lf.predict(
    "solve",
    "question -> solution",
    "Solve the problem in one or two short sentences. End with the number alone.",
)
THINK = lf.predict(
    "think", "question -> solution", "Solve the problem step by step. End with the number alone."
)
GRADE = lf.predict(
    "grade",
    "question, solution -> score: float",
    "Is the solution to the problem right? Give a number from 0, surely wrong, to 10, surely right.",
)


@lf.metric
def right(example: Any, outputs: Any) -> bool:
    """Whether the number is the expected one."""
    return last_number(outputs) == float(example["answer"])


def last_number(outputs: Mapping[str, Any]) -> float | None:
    """The last number that a solution says."""
    found = re.findall(r"-?\d[\d,]*(?:\.\d+)?", outputs["solution"])
    return float(found[-1].replace(",", "")) if found else None


async def votes(bench: Bench) -> None:
    """One sample, self-consistency and best of n on svamp; curves over all samples."""
    rows, n = bench.examples("svamp"), bench.samples
    one = told("one, greedy", await bench.run(SOLVE, rows), rows, right)
    warm = await bench.run(SOLVE, rows, samples=n, options=WARM)
    print(lf.curves(warm, rows, right, key=last_number))
    voted = await bench.run(lf.self_consistency(SOLVE, n=n, key=last_number), rows, options=WARM)
    differs(one, told(f"self_consistency, n={n}", voted, rows, right))
    adaptive = await bench.run(
        lf.adaptive_consistency(SOLVE, n=n, key=last_number), rows, options=WARM
    )
    differs(one, told(f"adaptive_consistency, n={n}", adaptive, rows, right))
    best = await bench.run(lf.best_of_n(SOLVE, GRADE, n=n), rows, options=WARM)
    differs(one, told(f"best_of_n, n={n}, own grades", best, rows, right))


async def code(bench: Bench) -> None:
    """Program of thought on svamp, its result as the answer and answered from it, against one step
    and thinking in words: with sections for the thoughts and the number, and in free text that
    ends with it.
    """
    rows = bench.examples("svamp")
    plain = lf.predict("answer", "question -> answer: float", "Solve the problem.")
    asked: tuple[str, str] = ("question -> answer: float", "Solve the problem.")
    programs: dict[str, lf.Program] = {
        "thinking in free text": THINK,
        "program_of_thought, direct": lf.program_of_thought(*asked, direct=True, name="direct"),
        "program_of_thought": lf.program_of_thought(*asked),
        "one step": plain,
        "chain_of_thought": lf.chain_of_thought(plain),
    }
    found = {}
    for name, program in programs.items():
        found[name] = told(name, await bench.run(program, rows, options=LONG), rows, solved)
    for name in list(found)[1:]:
        differs(found["thinking in free text"], found[name])


@lf.metric
def solved(example: Any, outputs: Any) -> bool:
    """Whether the answer, or the number that a solution ends with, is the expected one."""
    number = outputs["answer"] if "answer" in outputs else last_number(outputs)
    return bool(number == float(example["answer"]))


async def cascade(bench: Bench) -> None:
    """The cost curve of a cascade of two models on svamp, by the agreement of three samples of the
    smaller.
    """
    rows = bench.examples("svamp")
    small = await bench.run(SOLVE, rows, samples=3, options=WARM, model=SMALL)
    large = await bench.run(SOLVE, rows)
    print(lf.cascade_curve({SMALL: small, MODEL: large}, rows, right, key=last_number))


async def hops(bench: Bench) -> None:
    """Answer F1 and all-gold recall on hotpotqa: no retrieval, rag, rag at equal tokens, multi_hop."""
    rows = bench.examples("hotpotqa", min(bench.rows, 40))
    corpus = lf.Corpus.from_jsonl(bench.data / "hotpotqa" / "corpus.jsonl")
    closed = lf.predict("answer", "question -> answer", "Answer the question in a few words.")
    wide = lf.tool(
        "bm25", "query, k: int = 10 -> context: list[str], sources: list[str]", corpus.cited
    )
    programs: dict[str, lf.Program] = {
        "one call, no retrieval": closed,
        "rag, 3 passages": lf.rag(lf.retrieve(corpus)),
        "rag, 10 passages": lf.rag(wide, name="rag_wide"),
        "multi_hop, 2 hops": lf.multi_hop(lf.retrieve(corpus), 2),
    }
    found = {}
    for name, program in programs.items():
        run = await bench.run(program, rows)
        found[name] = told(name, run, rows, lf.hotpot_f1())
        if program is not closed:
            told(f"{name}: all gold", run, rows, all_gold)
    for name in ("rag, 3 passages", "rag, 10 passages", "one call, no retrieval"):
        differs(found[name], found["multi_hop, 2 hops"])
    corpus.close()


@lf.metric
def all_gold(example: Any, outputs: Any) -> bool:
    """Whether every supporting paragraph was retrieved."""
    return set(example["gold_ids"]) <= {source.partition("#")[0] for source in outputs["sources"]}


async def extract(bench: Bench) -> None:
    """Valid values and slot F1 on snips and wikigold, at once and with one constraint."""
    for make, metric in ((typed.snips, snips_f1), (typed.wikigold, wikigold_f1)):
        rows = bench.examples(make.__name__)
        program = make(bench.data / make.__name__)
        print(f"{make.__name__}:")
        plain = told(
            "typed step", await bench.run(program, rows, options=typed.OPTIONS), rows, metric
        )
        held = lf.constrain(program, in_text, retries=1, hard=False)
        differs(
            plain,
            told(
                "constrain(in_text)",
                await bench.run(held, rows, options=typed.OPTIONS),
                rows,
                metric,
            ),
        )


def found_pairs(outputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The (slot, text) pairs of either program."""
    if "slots" in outputs:
        return [(slot.name, slot.text) for slot in outputs["slots"]]
    entities = outputs["entities"]  # a record where it was read from the store
    return [
        (kind.name, text)
        for kind in attrs.fields(typed.Entities)
        for text in getattr(entities, kind.name)
    ]


def in_text(given: Mapping[str, Any], outputs: Mapping[str, Any]) -> str:
    """What of the values isn't in the text."""
    made_up = [
        text for _, text in found_pairs(outputs) if text.casefold() not in given["text"].casefold()
    ]
    return f"these are not in the text: {', '.join(made_up)}" if made_up else ""


def _grouped(outputs: Mapping[str, Any]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, text in found_pairs(outputs):
        groups.setdefault(name, []).append(text)
    return groups


_SLOTS, _ENTITIES = lf.slot_f1("slots"), lf.slot_f1("entities")


@lf.metric
def snips_f1(example: Any, outputs: Any) -> Any:
    """The F1 of (slot, value) pairs."""
    return _SLOTS(example, lf.Record(slots=_grouped(outputs)))


@lf.metric
def wikigold_f1(example: Any, outputs: Any) -> Any:
    """The F1 of (type, entity) pairs."""
    return _ENTITIES(example, lf.Record(entities=_grouped(outputs)))


async def report(bench: Bench) -> None:
    """Heading recall and citation precision on two freshwiki topics: report against one call with
    as many passages.
    """
    rows = bench.examples("freshwiki", min(bench.rows, 2))
    corpus = lf.Corpus.from_jsonl(bench.data / "freshwiki" / "corpus.jsonl")
    wide = lf.tool(
        "bm25", "query, k: int = 12 -> context: list[str], sources: list[str]", corpus.cited
    )
    write = lf.predict(
        "write",
        "question, context: list[str] -> answer",
        "Write an encyclopedia article on the topic from the context, with a heading for each section (## heading). "
        "End each sentence with the number of its passage in brackets, such as [1].",
    )
    alone = attrs.evolve(lf.rag(wide, name="alone"), answer=attrs.evolve(write, name="answer"))
    asked = [row | {"question": row["topic"]} for row in rows]
    long = {"temperature": 0, "max_tokens": 700}
    runs = {
        "one call": await bench.run(alone, asked, options=long),
        "report": await bench.run(lf.report(lf.retrieve(corpus), turns=2), rows, options=GREEDY),
    }
    for name, run in runs.items():
        told(f"{name}: heading recall", run, asked, heading_recall)
        told(f"{name}: citation precision", run, asked, supported_share)
    for trace in runs["report"]:
        if trace.outputs is not None:
            print(trace.outputs["markdown"][:3000])
    corpus.close()


@lf.metric
def heading_recall(example: Any, outputs: Any) -> float:
    """The share of the gold headings half of whose words some heading has."""
    gold = [heading.lstrip("# ") for heading in example["outline"]]
    made = outputs["outline"] if "outline" in outputs else tuple(_TITLE.findall(outputs["answer"]))
    half = 0.5
    covered = [any(word_overlap(want, heading) >= half for heading in made) for want in gold]
    return sum(covered) / len(gold)


@lf.metric
def supported_share(_: Any, outputs: Any) -> float:
    """The share of cited sentences that have a passage, by number, with three tenths of their
    words. By words, not by entailment: report drops the others itself, so this says what one
    call leaves, not what is true.
    """
    if "markdown" in outputs:
        body, _, notes = outputs["markdown"].partition("## References")
        passages = [line for line in notes.splitlines() if line.strip()]
    else:
        body, passages = outputs["answer"], list(outputs["context"])
    cited = [line for line in re.split(r"(?<=\.)\s+", body) if cited_numbers(line)]
    good = sum(
        any(
            0 < n <= len(passages)
            and word_overlap(strip_citations(line), passages[n - 1]) >= SUPPORT
            for n in cited_numbers(line)
        )
        for line in cited
    )
    return good / len(cited) if cited else 0.0


PARTS: dict[str, Callable[[Bench], Any]] = {
    "votes": votes, "code": code, "cascade": cascade, "hops": hops, "extract": extract, "report": report,
}  # fmt: skip


async def main() -> None:
    """Run the parts that are asked for."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("parts", nargs="*", default=list(PARTS), metavar="part")
    words.add_argument("--rows", type=int, default=4)
    words.add_argument("--samples", type=int, default=3)
    words.add_argument("--store", default="systems.db")
    options = words.parse_args()
    data = os.environ.get("LMFLOW_DATA")
    if not data:
        print("skipped: LMFLOW_DATA names no folder of data sets")
        return
    store = lf.SqliteStore(options.store)
    try:
        for part in options.parts:
            print(f"== {part}")
            await PARTS[part](Bench(store, Path(data), options.rows, options.samples))
    finally:
        store.close()


if __name__ == "__main__":
    asyncio.run(main())
