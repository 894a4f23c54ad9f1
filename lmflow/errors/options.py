"""Options that a function does not have: named with what they are called here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar

from lmflow.errors.words import near

P = ParamSpec("P")
T = TypeVar("T")

_VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
_BY_POSITION = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
}

_DECODING = 'lf.predict(..., options={"temperature": 0, "max_tokens": 200})'
_ENDPOINT = 'lf.Executor(lf.model("openai/MODEL", base_url=..., api_key=...))'
EXECUTOR_OPTIONS: Mapping[str, str] = {
    "cache": "lf.cached reuses recorded replies: lf.Executor(lf.cached(model, store), store).",
    "temperature": f"Decoding options are parameters of a step: {_DECODING}.",
    "max_tokens": f"Decoding options are parameters of a step: {_DECODING}.",
    "top_p": f"Decoding options are parameters of a step: {_DECODING}.",
    "api_key": f"It is the model's: {_ENDPOINT}.",
    "base_url": f"It is the model's: {_ENDPOINT}.",
    "api_base": f"It is the model's: {_ENDPOINT}.",
    "lm": "The model is the first argument: lf.Executor(model, store).",
    "llm": "The model is the first argument: lf.Executor(model, store).",
    "retries": "A model is wrapped: lf.Executor(lf.retrying(model, attempts=4)).",
    "num_retries": "A model is wrapped: lf.Executor(lf.retrying(model, attempts=4)).",
    "max_retries": "A model is wrapped: lf.Executor(lf.retrying(model, attempts=4)).",
    "num_threads": "Calls run side by side: concurrency=16.",
    "max_concurrency": "Calls run side by side: concurrency=16.",
    "rate_limit": "A model is wrapped: lf.Executor(lf.limited(model, requests=5)).",
    "callbacks": "Listen to what is recorded: ex.events().",
    "adapter": 'Adapters are chosen by model: adapters={"anthropic/*": "json"}, or by step.',
    "path": 'A store is opened first: with lf.SqliteStore("notes.db") as store.',
    "db": 'A store is opened first: with lf.SqliteStore("notes.db") as store.',
}
JOB_OPTIONS: Mapping[str, str] = {
    "()": (
        "Write ex.map(program, rows), ex.evaluate(program, rows, metric) or "
        "ex.optimize(optimizer, program, data, metric)."
    ),
    "trainset": "The data are lf.Data(train=..., select=..., held=...), after the program.",
    "valset": "The data are lf.Data(train=..., select=..., held=...), after the program.",
    "devset": "The rows follow the program: ex.evaluate(program, rows, metric).",
    "dataset": "The rows follow the program: ex.evaluate(program, rows, metric).",
    "data": "The rows follow the program: ex.evaluate(program, rows, metric).",
    "rows": "The rows follow the program: ex.map(program, rows).",
    "metrics": "Several metrics stand in the place of one: ex.evaluate(program, rows, [a, b]).",
    "num_threads": "It is the executor's: lf.Executor(model, store, concurrency=16).",
    "concurrency": "It is the executor's: lf.Executor(model, store, concurrency=16).",
    "model": "It is the executor's: lf.Executor(model, store).",
    "display_progress": "Progress is shown where somebody can see it: progress=lf.silent hides it.",
    "display_table": "print(evaluation) shows it, evaluation.table() gives the rows.",
    "provide_traceback": "A row tells why it failed: evaluation.failed[0].failure.",
    "max_calls": "Calls are bounded by a budget: budget=lf.Budget(calls=100).",
    "n": "Each row runs so often: samples=5.",
}
OPTIMIZER_OPTIONS: Mapping[str, str] = {
    "": "The metric and the data go to ex.optimize(optimizer, program, data, metric).",
    "metric": "It goes to ex.optimize(optimizer, program, data, metric).",
    "trainset": "The data go to ex.optimize(optimizer, program, data, metric).",
    "num_threads": "It is the executor's: lf.Executor(model, store, concurrency=16).",
    "prompt_model": "It is called model.",
    "task_model": "It is the executor's: lf.Executor(model, store).",
    "reflection_lm": "It is called model.",
    "max_metric_calls": "A budget bounds calls: ex.optimize(..., budget=lf.Budget(calls=N)).",
    "budget": "A number of calls is calls=N; a budget goes to ex.optimize(..., budget=...).",
    "max_full_evals": "A budget bounds calls: ex.optimize(..., budget=lf.Budget(calls=N)).",
    "max_bootstrapped_demos": "It is called max_bootstrapped.",
    "max_labeled_demos": "It is called max_labeled.",
    "num_candidates": "It is called candidates.",
    "num_candidate_programs": "It is called candidates.",
    "num_trials": "It is called trials.",
    "max_steps": "It is called rounds or trials here.",
    "teacher_settings": "A teacher is a version: see its option teacher, if it has one.",
}
PREDICT_OPTIONS: Mapping[str, str] = {
    "temperature": f"It is a decoding option: {_DECODING}.",
    "max_tokens": f"It is a decoding option: {_DECODING}.",
    "top_p": f"It is a decoding option: {_DECODING}.",
    "n": "Several samples are ex.map(step, rows, samples=5), in a flow lf.samples.",
    "lm": "The model's name is model=, a model itself the executor's.",
    "tools": "A step with tools is lf.react(signature, tools).",
    "examples": "Demonstrations are demos=[{...}].",
    "prompt": "It is the third argument: instruction.",
    "system": "It is the third argument: instruction.",
    "system_prompt": "It is the third argument: instruction.",
    "instructions": "It is the third argument: instruction.",
    "description": "It is the third argument: instruction.",
    "desc": "It is the third argument: instruction.",
    "docstring": "It is the third argument: instruction.",
    "inputs": 'Fields are in the signature: "question -> answer".',
    "outputs": 'Fields are in the signature: "question -> answer".',
}


_STEP = 'It takes a step: lf.chain_of_thought(lf.predict("answer", "question -> answer")).'
_OF_STEP = "It is the step's: lf.chain_of_thought(lf.predict(..., options={...}))."
STEP_OPTIONS: Mapping[str, str] = {
    "": _STEP,
    "signature": _STEP,
    "rationale_field": "The name of the output is name=.",
    "rationale_type": "The name of the output is name=.",
    **dict.fromkeys(("temperature", "max_tokens", "options", "demos", "n"), _OF_STEP),
    **dict.fromkeys(("adapter", "model", "lm", "types"), _OF_STEP),
}
AGENT_OPTIONS: Mapping[str, str] = {
    "max_iters": "It is called max_steps.",
    "max_iterations": "It is called max_steps.",
    "max_turns": "It is called max_steps.",
    "temperature": 'It is a decoding option: options={"temperature": 0}.',
    "max_tokens": 'It is a decoding option: options={"max_tokens": 200}.',
    "system_prompt": "It is the third argument: instruction.",
    "prompt": "It is the third argument: instruction.",
    "lm": "The model's name is model=, a model itself the executor's.",
    "llm": "The model's name is model=, a model itself the executor's.",
}
RETRY_OPTIONS: Mapping[str, str] = {
    "retries": "It is called attempts, the first one included.",
    "max_retries": "It is called attempts, the first one included.",
    "num_retries": "It is called attempts, the first one included.",
    "tries": "It is called attempts, the first one included.",
    "max_attempts": "It is called attempts, the first one included.",
}
BUDGET_OPTIONS: Mapping[str, str] = {
    "max_calls": "It is called calls.",
    "requests": "It is called calls.",
    "max_tokens": "It is called tokens.",
    "dollars": "It is called usd.",
    "cost": "It is called usd.",
    "max_cost": "It is called usd.",
    "max_usd": "It is called usd.",
    "seconds": "Time is bounded by the executor: lf.Executor(..., timeout=60).",
    "timeout": "Time is bounded by the executor: lf.Executor(..., timeout=60).",
}


PUT_OPTIONS: Mapping[str, str] = {
    "": 'Values are given by path: version.put({"answer.instruction": "..."}, note="...").',
    "*": 'Values are given by path: version.put({"answer.instruction": "..."}, note="...").',
}
RENDER_OPTIONS: Mapping[str, str] = {
    "*": 'Inputs are one mapping: lf.render(step, {"question": "..."}).',
}
MEDIA_OPTIONS: Mapping[str, str] = {
    "*": 'The source is the first argument: lf.Image("picture.png"), of bytes or a URL too.',
}
HISTORY_OPTIONS: Mapping[str, str] = {
    "*": "Turns are appended: lf.History().then(inputs, outputs).",
}
FIELD_OPTIONS: Mapping[str, str] = {
    "": 'A description is Annotated[str, "..."]; limits have names, lf.Field(ge=0).',
    "desc": 'A description is Annotated[str, "..."].',
    "prefix": 'A description is Annotated[str, "..."].',
}


def explains_constructor(hints: Mapping[str, str]) -> Callable[[type[T]], type[T]]:
    """Make a class decorator that does for a constructor what ``explains_options`` does."""

    def decorate(cls: type[T]) -> type[T]:
        cls.__init__ = explains_options(hints)(cls.__init__)  # type: ignore[method-assign]
        return cls

    return decorate


def explains_options(
    hints: Mapping[str, str],
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a decorator that names an option which a function does not have.

    Args:
        hints: What such options are called here; ``""`` is of arguments by position, ``"*"`` of
            all other names, ``"()"`` the whole call if an argument is missing.

    Returns:
        The decorator. The function it returns raises ``TypeError`` with the line that mends the
        call.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        parameters = inspect.signature(function).parameters
        names = [name for name, each in parameters.items() if each.kind not in _VARIADIC]
        takes_more = any(
            each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters.values()
        )
        needed = [
            name
            for name, each in parameters.items()
            if each.kind in _BY_POSITION and each.default is each.empty
        ]
        most = sum(each.kind in _BY_POSITION for each in parameters.values())
        label = function.__qualname__.removesuffix(".__init__")

        @functools.wraps(function)
        def explained(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in kwargs:
                if name not in names:
                    raise _unknown(label, name, names, hints)
            if len(args) > most and not takes_more and "" in hints:
                msg = f"{label}() takes its options by name. {hints['']}"
                raise TypeError(msg)
            missing = [name for name in needed[len(args) :] if name not in kwargs]
            if missing and "()" in hints:
                msg = f"{label}() needs {', '.join(missing)}. {hints['()']}"
                raise TypeError(msg)
            return function(*args, **kwargs)

        return explained

    return decorate


def _unknown(label: str, name: str, names: Iterable[str], hints: Mapping[str, str]) -> TypeError:
    known = [each for each in names if each != "self"]
    hint = hints.get(name) or hints.get("*") or near(name, known).strip()
    hint = hint or f"It has {', '.join(known)}."
    return TypeError(f"{label}() has no option {name!r}. {hint}")
