"""deepvis: see, live, what a neural network sees.

From Python: ``deepvis.live(model)`` opens the window on any torch.nn.Module.
"""

from importlib import import_module

__version__ = "0.1.0"

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepvis.api import live as live


def __getattr__(name: str) -> object:
    """`deepvis.live` without importing anything before it is used: torch takes seconds."""
    if name == "live":
        return import_module("deepvis.api").live
    raise AttributeError(f"module 'deepvis' has no attribute {name!r}")
