"""An optimizer of one's own: it tries ways to begin the instruction of each step."""

from collections.abc import Generator
from typing import Any

import lmflow as lf

WAYS = ("Be brief.", "Think first, then answer.", "You are an expert.")


def most(program: lf.Program, data: lf.Data, *, ways: tuple[str, ...], **_: Any) -> int:
    """The most rollouts that it needs, which a plan and a budget are made of."""
    return (1 + len(ways) * len(program.predictors)) * len(data.select)


@lf.staged(bound=most, parts=["select"])
def manners(task: lf.Task, *, ways: tuple[str, ...] = WAYS) -> Generator[Any, Any, lf.Version]:
    """Keep the beginning of each step's instruction that scores best on the selection data."""
    _, best = yield from lf.score_candidate(task, task.version, "start", lf.Best(task.version))
    for step in task.program.predictors:
        path = f"{step}.instruction"
        start = best.version
        for number, way in enumerate(ways):
            version = task.version.put(
                {**start.params, path: f"{way} {start[path]}"}, note=f"{step}: {way}"
            )
            _, best = yield from lf.score_candidate(task, version, f"{step}[{number}]", best)
    return best.version


if __name__ == "__main__":
    lf.testing.check_optimizer(manners())

    answer = lf.predict("answer", "question -> answer", "Name the capital.")
    model = lf.scripted(lambda request: "Paris" if "brief" in str(request) else "It is Paris.")
    rows = [{"question": f"France, {n}?", "answer": "Paris"} for n in range(6)]
    data = lf.Data(**lf.split(lf.dataset(rows), {"train": 0.5, "select": 0.5}))
    with lf.Sync(model) as ex:
        result = ex.optimize(manners(), answer, data, lf.exact_match("answer"))
    print(lf.diff(lf.init(answer), result.version))
