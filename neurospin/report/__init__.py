"""What people see: figures, the report, the terminal."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["plots"])
del lazy_loader
