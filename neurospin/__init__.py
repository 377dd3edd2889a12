"""neurospin: what you trained is what runs, and where it is not, you are told exactly what changed and why.

The public names are listed in `__init__.pyi` and loaded when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
del lazy_loader
