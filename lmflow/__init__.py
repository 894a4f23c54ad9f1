"""lmflow: compound AI systems as values. ``import lmflow as lf``.

The public names are listed once, in ``__init__.pyi``; each is imported from its module when it is
first used, so that a program pays only for what it uses.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
