"""lmflow: compound AI systems as values. ``import lmflow as lf``.

The public names are listed once, in ``__init__.pyi``; each is imported from its module when it is
first used, so that a program pays only for what it uses.
"""

from typing import Any

import lazy_loader

_public_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import a public name. An unknown one is explained: other libraries may call it so."""
    try:
        return _public_name(name)
    except AttributeError:
        if name.startswith("_") or name in __all__:
            raise
    from lmflow.errors.names_elsewhere import missing_name  # noqa: PLC0415 - only for a mistake

    raise missing_name(__name__, name, __all__)
