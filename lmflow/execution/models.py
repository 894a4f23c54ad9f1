"""The models of an executor, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lmflow.errors import ModelUnavailable
from lmflow.models.base import Model, place
from lmflow.models.registry import checked_model
from lmflow.models.registry import model as model_named
from lmflow.models.wrap import Routed
from lmflow.values.record import Record

Substitute = Callable[[str, Callable[[], Model]], Model]
"""Gives the model to use for a name; the second argument makes the model that the name means."""


class Models:
    """The models that an executor was given or has made by name, or their substitutes. Raises
    ``TypeError`` if the default is not a model.
    """

    def __init__(self, default: str | Model | None, substitute: Substitute | None = None) -> None:
        if not isinstance(default, (str, type(None))):
            checked_model(default)
        self._default = default
        self._substitute = substitute
        self._created: dict[str, Model] = {}
        self._substitutes: dict[str, Model] = {}

    @property
    def default_name(self) -> str:
        """The name of the model of steps that name none; empty if the executor has no model."""
        if isinstance(self._default, str):
            return self._default
        return getattr(self._default, "name", "")

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
            self._created[full_name] = model_named(full_name)
        return self._created[full_name]
