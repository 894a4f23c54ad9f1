"""The child process that serves one model of llama.cpp on the loopback for as long as its parent
lives.

It is told what to serve by one JSON line on standard input, so that the key is on no command line.
It answers on standard output with one JSON line: ``port`` once the model is loaded, or ``problem``
and ``text``. Everything that llama.cpp prints goes to standard error. It ends when standard input
ends, which is when its parent does. Loading holds the interpreter, so nothing is read meanwhile: on
Linux the kernel ends the child of a parent that dies then, elsewhere the child ends once the model
is loaded.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO
from urllib.parse import urlsplit

_PR_SET_PDEATHSIG = 1
_PROMPT_CACHE_MIB = 1024
_WARNINGS = 2


def main() -> None:
    """Serve until standard input ends."""
    _die_with_parent()
    answers = _own_stdout()
    line = sys.stdin.buffer.readline()
    if not line:
        return
    try:
        server = _serve(json.loads(line))
    except (ImportError, OSError) as error:
        _tell(answers, {"problem": "import", "text": str(error)})
        return
    except RuntimeError as error:
        _tell(answers, {"problem": "load", "text": str(error)})
        return
    _tell(answers, {"port": urlsplit(server.listening_address).port})
    sys.stdin.buffer.read()
    os._exit(
        0
    )  # nothing is to be saved, and llama.cpp's own way out waits for requests that nobody reads


def _die_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _own_stdout() -> BinaryIO:
    """Standard output for the answer alone: whatever else prints there is sent to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _tell(answers: BinaryIO, answer: Mapping[str, Any]) -> None:
    with answers:
        answers.write(json.dumps(answer).encode() + b"\n")


def _serve(wanted: Mapping[str, Any]) -> Any:
    """The running server; it returns once the model is loaded."""
    xllamacpp: Any = importlib.import_module(
        "xllamacpp"
    )  # of the extra, so it may be missing; it carries no types
    params = xllamacpp.CommonParams()
    params.model.path = wanted["path"]
    params.model_alias = {wanted["alias"]}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.api_keys = [wanted["api_key"]]
    params.n_parallel, params.n_ctx = wanted["slots"], wanted["slots"] * wanted["context"]
    params.cont_batching, params.cache_prompt, params.cache_ram_mib = True, True, _PROMPT_CACHE_MIB
    params.ui, params.endpoint_slots = False, False
    params.verbosity = _WARNINGS
    params.fit_params = (
        len(xllamacpp.get_device_info()) > 1
    )  # fits the model to a graphics card, and loads it twice
    if wanted["embedding"]:
        params.embedding, params.n_batch, params.n_ubatch = (
            True,
            wanted["context"],
            wanted["context"],
        )  # a text at once
    if wanted["threads"]:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = wanted["threads"]
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
