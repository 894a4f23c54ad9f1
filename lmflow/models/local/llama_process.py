"""The child process that serves one model of llama.cpp on the loopback while its parent lives.

One JSON line on standard input says what to serve, so that the key isn't on the command line. The
process answers on standard output with one JSON line: ``port`` once the model is loaded, or
``problem`` and ``text``. Everything that llama.cpp prints goes to standard error. The process ends
when standard input ends, as it does when the parent ends. Loading holds the interpreter, so nothing
is read meanwhile: if the parent dies then, the kernel ends the child on Linux; elsewhere the child
ends once the model is loaded.
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
    """Serves until standard input ends."""
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
    # Nothing is to be saved, and llama.cpp's own exit waits for requests that nobody reads.
    os._exit(0)


def _die_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _own_stdout() -> BinaryIO:
    """Reserves standard output for the answer; other prints go to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _tell(answers: BinaryIO, answer: Mapping[str, Any]) -> None:
    with answers:
        answers.write(json.dumps(answer).encode() + b"\n")


def _serve(settings: Mapping[str, Any]) -> Any:
    """Starts the server, and returns it once the model is loaded."""
    # The package belongs to the extra, so it may be missing; it has no types.
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = {settings["alias"]}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.api_keys = [settings["api_key"]]
    params.n_parallel, params.n_ctx = settings["slots"], settings["slots"] * settings["context"]
    params.cont_batching, params.cache_prompt, params.cache_ram_mib = True, True, _PROMPT_CACHE_MIB
    params.ui, params.endpoint_slots = False, False
    params.verbosity = _WARNINGS
    # Fitting loads the model twice, which is worth it only with a graphics card.
    params.fit_params = len(xllamacpp.get_device_info()) > 1
    if settings["embedding"]:
        # An encoder takes a text in one batch, so a batch must hold a whole context.
        params.embedding = True
        params.n_batch = params.n_ubatch = settings["context"]
    if settings["threads"]:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    if settings["adapters"]:
        adapters = [xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in settings["adapters"]]
        params.lora_adapters, params.lora_init_without_apply = adapters, True
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
