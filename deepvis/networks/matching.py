"""Which tensor of a checkpoint is which parameter of a network: by name, whatever was put around the names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

# Names that state dicts lie under in a file, and that networks have in a training wrapper; the likeliest first.
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params",
          "params_ema", "ema_state_dict", "model_ema", "state_dict_ema", "ema", "teacher", "student")  # fmt: skip
# Of DataParallel, torch.compile, FSDP and activation checkpointing: they stand before any module inside a network.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_TRIED = 16  # prefixes of a file that are looked at, those of most parameters first
_DEEPEST = 16  # parts that a prefix has at most
_COUNTER = "num_batches_tracked"  # of BatchNorm: only training needs it

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Match:
    """Names for a network's parameters in a file.

    Attributes:
        names: {parameter of the network: key in the file}.
        prefix: what stands before all of them in the file, "state_dict.net."; empty: nothing.
        missing: parameters that the file lacks.
        misshapen: parameters that have another shape there.
        rank: what tells one copy of the same names from another: the smaller, the likelier the one that is meant.
    """

    names: Mapping[str, str]
    prefix: str
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    rank: tuple[int, list[int], int]

    @property
    def fits(self) -> bool:
        return not self.missing and not self.misshapen


def matches(own: State, stored: State) -> list[Match]:
    """Every way in which the names fit, or, where none does, those that come nearest; the best first, never empty.

    One prefix is taken from the file's names, or one that all of the network's names have from these. `WRAPPERS` play
    no part anywhere, nor does Caffe's way to write names (conv1/0).

    Args:
        own: of the network; where tensors are shared they are the same objects.
        stored: of the file, the names of what they are nested in before theirs ("state_dict.conv1.weight").
    """
    plain = _plain if len({_plain(key) for key in own}) == len(own) else _unchanged
    theirs: dict[str, str] = {}
    for key in sorted(
        stored, key=lambda key: key.count(".") - plain(key).count(".")
    ):  # the name without wrappers counts
        theirs.setdefault(plain(key), key)
    mine = {key: plain(key) for key in own}
    suffixes = _suffixes(theirs)
    found = []
    for removed in _common_prefixes(mine.values()):
        names = {key: name[len(removed) :] for key, name in mine.items()}
        for prefix in _prefixes(names.values(), suffixes):
            if not removed or not rank(prefix)[0]:  # to rename a prefix would be a guess
                pairs = {key: theirs[prefix + name] for key, name in names.items() if prefix + name in theirs}
                found.append(_match(own, stored, pairs, prefix, removed))
    best = max(len(match.names) - len(match.misshapen) for match in found)
    return sorted(
        [match for match in found if match.fits]
        or [match for match in found if len(match.names) - len(match.misshapen) == best],
        key=lambda match: match.rank,
    )


def _match(own: State, stored: State, names: dict[str, str], prefix: str, removed: str) -> Match:
    known = {id(own[key]) for key in names}  # shared tensors may be stored under one of their names
    missing = tuple(key for key in own if id(own[key]) not in known and not key.endswith(_COUNTER))
    misshapen = tuple(key for key, name in names.items() if fitted(stored[name], own[key]).shape != own[key].shape)
    return Match(names, prefix, missing, misshapen, (*rank(prefix), removed.count(".")))


def fitted(value: Tensor, own: Tensor) -> Tensor:
    """Old Caffe files have four dimensions everywhere, a bias being 1×1×1×96."""
    extra = value.ndim - own.ndim
    if extra > 0 and value.shape == (1,) * extra + own.shape:
        return value.reshape(own.shape)
    return value


def rank(prefix: str) -> tuple[int, list[int]]:
    """For copies of a network in a file, the smaller the likelier: how many of the prefix's parts are no usual
    names, and the places of the others among the usual ones."""
    parts = prefix.split(".")[:-1]
    return sum(part not in NESTED for part in parts), [NESTED.index(part) for part in parts if part in NESTED]


def _unchanged(key: str) -> str:
    return key


def _plain(key: str) -> str:
    """A name without wrappers, in PyTorch's way and not in Caffe's (conv1/0)."""
    key = re.sub(r"/0$", ".weight", re.sub(r"/1$", ".bias", key))
    parts = [part for part in key.split(".") if part not in WRAPPERS]
    return ".".join(parts)


def _suffixes(names: Iterable[str]) -> Mapping[str, list[str]]:
    """{end of a name: what stands before it, in each of the names that end so}."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[name].append("")
        for dot in list(re.finditer(r"\.", name))[:_DEEPEST]:
            found[name[dot.end() :]].append(name[: dot.end()])
    return found


def _prefixes(names: Iterable[str], suffixes: Mapping[str, list[str]]) -> Iterable[str]:
    """What stands before these names in the file, the most frequent first."""
    counted = Counter(prefix for name in names for prefix in suffixes.get(name, ()))
    return [prefix for prefix, _ in counted.most_common(_TRIED)] or [""]


def _common_prefixes(names: Iterable[str]) -> Iterator[str]:
    """Nothing, and what all of the names begin with: "", "net.", "net.trunk."."""
    yield ""
    names = list(names)
    first = names[0].split(".") if names else []
    for count in range(1, len(first)):
        prefix = ".".join(first[:count]) + "."
        if not all(name.startswith(prefix) for name in names):
            return
        yield prefix
