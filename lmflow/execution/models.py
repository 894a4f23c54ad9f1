"""The models of an executor, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from lmflow.errors import ModelUnavailable
from lmflow.models.base import Model, place
from lmflow.models.lanes.model import Batched
from lmflow.models.registry import IN_BATCHES, checked_model, live_name, model_in
from lmflow.models.wrap import Routed
from lmflow.values.hashed_files import HashedFiles
from lmflow.values.record import Record

if TYPE_CHECKING:
    from lmflow.models.local.adapters import LocalPlace

Substitute = Callable[[str, Callable[[], Model]], Model]
"""Gives the model to use for a name; the second argument makes the model that the name means."""


class Models:
    """The models that an executor was given or has made by name, or their substitutes. Local models
    of one base share a server, and find trained weights in ``files``. Raises ``TypeError`` if the
    default is not a model.
    """

    def __init__(
        self,
        default: str | Model | None,
        substitute: Substitute | None = None,
        files: HashedFiles | None = None,
    ) -> None:
        if not isinstance(default, (str, type(None))):
            checked_model(default)
        self._default = default
        self._substitute = substitute
        self._created: dict[str, Model] = {}
        self._files = files
        self._place: LocalPlace | None = None
        self._substitutes: dict[str, Model] = {}

    @property
    def default_name(self) -> str:
        """The name of the model of steps that name none; empty if the executor has no model."""
        if isinstance(self._default, str):
            return live_name(self._default)
        return getattr(self._default, "name", "")

    @property
    def wait_for_waves(self) -> bool:
        """Whether the requests to the default model go out in waves."""
        if isinstance(self._default, str):
            return self._default.startswith(IN_BATCHES)
        return self._default is not None and _waits_for_waves(self._default)

    def get(self, name: str) -> Model:
        """Return the model of a name; the default for ``""`` and for the default's own name.
        Raises ``ModelUnavailable`` if there is no such model.
        """
        if self._substitute is None:
            return self._real_model(name)
        if name not in self._substitutes:
            self._substitutes[name] = self._substitute(name, lambda: self._real_model(name))
        return self._substitutes[name]

    def places(self, names: Iterable[str]) -> Record:
        """Map each name to its resolved model and that model's endpoint class."""
        models = {name: self.get(name) for name in dict.fromkeys(names)}
        return Record({name: place(model) for name, model in models.items()})

    async def aclose(self) -> None:
        """Close the models that were made by name."""
        for model in self._created.values():
            await model.aclose()
        self._created.clear()

    def _local_place(self) -> LocalPlace:
        if self._place is None:
            from lmflow.models.local.adapters import LocalPlace  # noqa: PLC0415 - slow to import

            self._place = LocalPlace(self._files)
        return self._place

    def _real_model(self, name: str) -> Model:
        default = self._default
        if name == "" and default is None:
            fix = 'Give the executor one, lf.Executor("openai/MODEL"), or the step, model=...'
            raise ModelUnavailable("the default", "no model was given", fix)
        if not isinstance(default, (str, type(None))) and name in {"", default.name}:
            return default
        if isinstance(default, Routed) and name in default.models:
            return default.models[name]
        full_name = name or str(default)
        if full_name not in self._created:
            self._created[full_name] = model_in(full_name, self._local_place)
        return self._created[full_name]


def _waits_for_waves(model: Model) -> bool:
    inner: tuple[Model, ...] = getattr(model, "inner", ())
    return isinstance(model, Batched) or any(map(_waits_for_waves, inner))
