"""The names of DSPy, ell, promptfoo and LangChain that newcomers try, with what they are here.

Loaded only when a name is missing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_MODEL = 'the model is an argument: lf.Executor("openai/MODEL", store), lf.run(..., model=...)'
_FLOW = "a program of several steps is a >> b, or an async function: @lf.flow(uses=[a, b])"
_STEP = 'lf.predict("answer", "question -> answer")'
_FIELD = 'fields are in the signature: "question, n: int -> answer", types in Annotated[str, "..."]'
_EVALUATE = "await ex.evaluate(program, rows, metric)"
_ADAPTER = 'an adapter is a parameter: lf.predict(..., adapter="json")'
_MESSAGES = "an instruction is the third argument of lf.predict; lf.render shows the messages"
_AGENT = "lf.react(signature, tools)"
_INDEX = "lf.Corpus.build(documents), lf.retrieve(corpus), await lf.dense_index(corpus, ex)"
_EXAMPLE = 'an example is a mapping: {"question": "...", "answer": "..."}'
_OUTPUTS = "the outputs are trace.outputs, a record: (await ex.run(program, ...)).outputs.answer"
_HISTORY = "an input of the type lf.History"
_CACHE = "lf.cached(model, store) reuses recorded replies; ex.evaluate and ex.optimize do anyway"
_ASYNC = "lf.Executor is async, lf.Sync(model, store) is the same without await"
_SAVE = 'version.save("version.json"); lf.SqliteStore("notes.db") keeps runs, versions and data'
_STORE = 'lf.SqliteStore("notes.db") or lf.MemoryStore()'
_VERSION = "parameters are a version: lf.init(program).put({...}); nothing is set on a program"
_OPTIMIZE = "await ex.optimize(lf.mipro(), program, data, metric)"
_CONSTRAIN = "lf.constrain(step, check), lf.refine(step, judge)"

_ELSEWHERE: Mapping[str, str] = {
    # DSPy
    "lm": _MODEL,
    "openai": _MODEL,
    "anthropic": _MODEL,
    "azureopenai": _MODEL,
    "ollama": _MODEL,
    "dummylm": "lf.scripted(answers)",
    "baselm": "a model is an async function of a request and `send`, with a name and an endpoint",
    "configure": f"there are no global settings: {_MODEL}",
    "settings": f"there are no global settings: {_MODEL}",
    "context": f"there are no global settings: {_MODEL}",
    "configurecache": _CACHE,
    "cache": _CACHE,
    "predict": _STEP,
    "predictor": _STEP,
    "typedpredictor": _STEP,
    "chainofthought": f"lf.chain_of_thought({_STEP})",
    "cot": f"lf.chain_of_thought({_STEP})",
    "programofthought": "lf.program_of_thought(signature)",
    "codeact": "lf.program_of_thought(signature), or lf.react with lf.run_python",
    "react": _AGENT,
    "avatar": _AGENT,
    "rlm": "lf.rlm(signature)",
    "multichaincomparison": "lf.multi_chain_comparison(step)",
    "bestofn": "lf.best_of_n(program, judge, n=5)",
    "refine": "lf.refine(program, judge)",
    "assert": _CONSTRAIN,
    "suggest": _CONSTRAIN,
    "parallel": "lf.parallel(a, b); rows side by side are ex.map(program, rows)",
    "knn": "lf.nearest(step, k=4)",
    "module": _FLOW,
    "signature": f"a string or an annotated function: {_STEP}",
    "makesignature": f"a string or an annotated function: {_STEP}",
    "inputfield": _FIELD,
    "outputfield": _FIELD,
    "basemodel": _FIELD,
    "example": _EXAMPLE,
    "prediction": _OUTPUTS,
    "completions": "ex.map(program, rows, samples=5); in a flow lf.samples",
    "evaluate": _EVALUATE,
    "evaluation": _EVALUATE,
    "semanticf1": "lf.Judge(lf.semantic_f1, reads={...})",
    "completeandgrounded": "lf.Judge(lf.grounded, reads={...})",
    "em": 'lf.exact_match("answer")',
    "answerexactmatch": 'lf.exact_match("answer")',
    "accuracy": 'lf.exact_match("answer")',
    "answerpassagematch": "lf.passage_match()",
    "hotpotf1": "lf.hotpot_f1()",
    "miprov2": f"lf.mipro(): {_OPTIMIZE}",
    "mipro": f"lf.mipro(): {_OPTIMIZE}",
    "gepa": "lf.gepa(): await ex.optimize(lf.gepa(), program, data, metric)",
    "copro": "lf.coordinate_ascent_opro()",
    "simba": "lf.simba()",
    "bootstrapfewshot": "lf.bootstrap_few_shot()",
    "bootstrapfewshotwithrandomsearch": "lf.random_search()",
    "bootstraprs": "lf.random_search()",
    "bootstrapfewshotwithoptuna": "lf.bootstrap_optuna()",
    "bootstrapfinetune": "lmflow dataset export --format sft writes the file to train with",
    "grpo": "nothing: it trains weights, which an API does not expose",
    "bettertogether": "lf.chain(first, second)",
    "labeledfewshot": "lf.labeled_few_shot(k=8)",
    "knnfewshot": "lf.knn_few_shot(), for a step made by lf.nearest",
    "inferrules": "lf.infer_rules()",
    "ensemble": "lf.ensemble(program, versions)",
    "teleprompter": _OPTIMIZE,
    "optimizer": _OPTIMIZE,
    "optimize": _OPTIMIZE,
    "compile": _OPTIMIZE,
    "train": _OPTIMIZE,
    "tune": _OPTIMIZE,
    "retrieve": _INDEX,
    "retriever": _INDEX,
    "colbertv2": _INDEX,
    "embeddings": _INDEX,
    "embedder": 'lf.embed("embed", "text -> vector: list[float]", model="openai/...")',
    "tool": 'lf.tool("search", "query -> context: list[str]", function)',
    "toolcalls": "lf.react(signature, tools) makes the calls; each is recorded",
    "image": 'lf.Image("picture.png"), an input of the type Image',
    "code": "lf.program_of_thought(signature), lf.run_python",
    "pythoninterpreter": "lf.Sandbox, lf.run_python",
    "history": _HISTORY,
    "adapter": _ADAPTER,
    "chatadapter": _ADAPTER,
    "jsonadapter": _ADAPTER,
    "xmladapter": _ADAPTER,
    "twostepadapter": _ADAPTER,
    "bamladapter": _ADAPTER,
    "asyncify": _ASYNC,
    "syncify": _ASYNC,
    "sync": _ASYNC,
    "streamify": "async for part in ex.stream(program, ...); with lf.Sync it is a plain for",
    "stream": "async for part in ex.stream(program, ...); with lf.Sync it is a plain for",
    "streamlistener": "ex.stream(program, ...) gives the texts of all outputs",
    "trackusage": "ex.spent, trace.calls; lf.Budget(usd=1) bounds it beforehand",
    "inspecthistory": "lmflow runs show RUN --messages; ex.runs[-1] is the last run",
    "load": "lmflow.dspy.from_dspy reads DSPy's files; store.version(name) reads a version",
    "save": _SAVE,
    "dataloader": 'lf.dataset("rows.jsonl")',
    "hotpotqa": 'lf.dataset("rows.jsonl")',
    # ell, promptfoo
    "simple": f"{_STEP}, or @lf.predict above an annotated function",
    "complex": f"{_STEP}; with tools {_AGENT}",
    "system": _MESSAGES,
    "user": _MESSAGES,
    "assistant": _MESSAGES,
    "message": _MESSAGES,
    "studio": "lmflow runs ls, lmflow runs show RUN",
    "getstore": _STORE,
    "setstore": _STORE,
    "provider": _MODEL,
    "providers": _MODEL,
    "assertion": 'a metric: lf.contains("answer"), or a function of (example, outputs)',
    "testcase": f"a row of a data set: {_EXAMPLE}",
    # LangChain
    "chatopenai": _MODEL,
    "chatanthropic": _MODEL,
    "initchatmodel": _MODEL,
    "llm": _MODEL,
    "chat": _MODEL,
    "chatmodel": _MODEL,
    "complete": _STEP,
    "generate": _STEP,
    "prompt": _MESSAGES,
    "prompttemplate": _MESSAGES,
    "chatprompttemplate": _MESSAGES,
    "fewshotprompttemplate": "demos are parameters: lf.predict(..., demos=[...])",
    "llmchain": _STEP,
    "runnable": _FLOW,
    "runnablelambda": 'lf.tool("name", "input -> output", function)',
    "runnableparallel": "lf.parallel(a, b)",
    "runnablepassthrough": "a record flows through a >> b with all its fields",
    "runnablesequence": _FLOW,
    "sequential": _FLOW,
    "pipeline": _FLOW,
    "pipe": _FLOW,
    "graph": _FLOW,
    "stategraph": _FLOW,
    "workflow": _FLOW,
    "stroutputparser": "outputs are typed by the signature: trace.outputs.answer",
    "jsonoutputparser": "outputs are typed by the signature: trace.outputs.answer",
    "pydanticoutputparser": "outputs are typed by the signature: -> answer: MyModel, types={...}",
    "agent": _AGENT,
    "agents": _AGENT,
    "agentexecutor": _AGENT,
    "createagent": _AGENT,
    "createreactagent": _AGENT,
    "memory": _HISTORY,
    "conversationbuffermemory": _HISTORY,
    "document": _INDEX,
    "vectorstore": _INDEX,
    "faiss": _INDEX,
    "chroma": _INDEX,
    "retrievalqa": "lf.rag(corpus)",
    "invoke": _ASYNC,
    "ainvoke": _ASYNC,
    "batch": "await ex.map(program, rows)",
    "callback": "ex.events(), an iterator over what is recorded",
    "callbacks": "ex.events(), an iterator over what is recorded",
    "tracing": "every run is recorded: store.runs(), lmflow runs ls",
    # plain guesses
    "store": _STORE,
    "db": _STORE,
    "client": _ASYNC,
    "session": _ASYNC,
    "engine": _ASYNC,
    "put": _VERSION,
    "parameters": _VERSION,
    "params": _VERSION,
    "instruction": _VERSION,
    "score": "lf.Score(value, feedback) of a metric; await ex.score(trace, 1.0, name=...)",
    "resume": "await ex.resume(run, program); lmflow resume RUN",
    "rollback": "lmflow rollback REF",
    "serve": "lmflow.serve, or lmflow serve MODULE:PROGRAM",
    "retry": "lf.retrying(model)",
    "ratelimit": "lf.limited(model, requests=5)",
    "prices": "lf.priced(prices), lf.cost_of",
    "datasets": 'lf.dataset("rows.jsonl")',
    "loaddataset": 'lf.dataset("rows.jsonl")',
    "traintestsplit": 'lf.split(rows, {"train": 0.5, "select": 0.5})',
}


def missing_name(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """Return the error of a name that a module does not have: what other libraries call so, or the
    nearest names here.
    """
    names = {_folded(each): each for each in known}
    folded = _folded(name)
    if folded in _ELSEWHERE:
        hint = f" Here: {_ELSEWHERE[folded]}."
    elif folded in names:
        hint = f" It is called lf.{names[folded]} here."
    else:
        hint = _nearest(folded, names) or f" dir({module}) lists all names."
    return AttributeError(f"{module} has no {name!r}.{hint}", name=name)


def _nearest(folded: str, names: Mapping[str, str]) -> str:
    """Return the words for a name that is nearly one of these names or of the table's."""
    matches = difflib.get_close_matches(folded, [*names, *_ELSEWHERE], n=1, cutoff=0.75)
    if not matches:
        return ""
    (match,) = matches
    if match in names:
        return f" Did you mean lf.{names[match]}?"
    return f" Did you mean {match!r}? Here: {_ELSEWHERE[match]}."


def _folded(name: str) -> str:
    return name.replace("_", "").lower()
