"""Where modules are asked for that stand on pyarrow."""

from importlib import import_module
from types import ModuleType


def engine(module: str) -> ModuleType:
    """A module that stands on pyarrow: 50 MB, which a process that never checks a file has no need of."""
    return import_module(f"ingest.core.{module}")
