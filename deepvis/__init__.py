"""deepvis: see, live, what a neural network sees.

From Python: ``deepvis.live(model)`` opens the window on any torch.nn.Module.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # as typing has it; nothing is imported here, so that the program's first lines come at once
if TYPE_CHECKING:
    from deepvis.app.notebook import live as live


def __getattr__(name: str) -> object:
    """`deepvis.live` without importing anything before it is used: torch takes seconds."""
    if name == "live":
        from importlib import import_module

        return import_module("deepvis.app.notebook").live
    raise AttributeError(f"module 'deepvis' has no attribute {name!r}")
