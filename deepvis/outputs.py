"""What a network returns, made into the one tensor that is shown: chosen by name, then a softmax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from deepvis.errors import UserError

_USUAL = ("logits", "out", "output", "scores")


def pick(output: object, name: str | int | None = None) -> Tensor:
    """One tensor of what a network returned.

    Args:
        output: a tensor, or a mapping or sequence of such.
        name: key of a mapping, position in a sequence, attribute of anything else; None: a
            mapping's entry of a usual name, else the first vector, else the first tensor.
    Raises:
        UserError: there is no such entry, or it is no tensor.
    """
    if isinstance(output, Tensor):
        if name is None:
            return output
        raise UserError(f"output {name!r}: the network returns one tensor, nothing to choose from. Remove output:")
    entries = _entries(output)
    tensors = {key: value for key, value in entries.items() if isinstance(value, Tensor)}
    if name is None and tensors:
        usual = next((key for key in _USUAL if key in tensors), None)
        vector = next((key for key, value in tensors.items() if value.ndim == 2), None)
        first = next(iter(tensors))
        return tensors[next(key for key in (usual, vector, first) if key is not None)]
    if name not in tensors:
        known = ", ".join(map(str, tensors)) or "no tensor"
        raise UserError(f"output {name!r}: the network returns a {type(output).__name__} with {known}. "
                        "Choose one of them by output: in its model.yaml")  # fmt: skip
    return tensors[name]


def _entries(output: object) -> dict[str | int, object]:
    if isinstance(output, Mapping):
        return dict(output)
    named = getattr(output, "_fields", None)  # of a namedtuple
    if named:
        return dict(zip(named, output)) | dict(enumerate(output))
    return dict(enumerate(output)) if isinstance(output, Sequence) else dict(getattr(output, "__dict__", {}))


class Chosen(nn.Module):
    """A network, followed by the choice of one of its outputs and by a softmax, if asked for.

    The softmax makes probabilities a layer like any other.
    """

    def __init__(self, net: nn.Module, output: str | int | None, softmax: bool) -> None:
        super().__init__()
        self.net = net
        self.output = output
        self.softmax = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(pick(self.net(x), self.output))
