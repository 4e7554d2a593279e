"""Matching the tensors of a checkpoint to the parameters of a network by name, with any prefix."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

# Keys of state dicts in files, and attributes of networks in training wrappers; the most likely first.
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params",
          "params_ema", "ema_state_dict", "model_ema", "state_dict_ema", "ema", "teacher", "student")  # fmt: skip
# Added to names by DataParallel, torch.compile, FSDP and activation checkpointing, at any depth.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_TRIED = 16  # number of prefixes to try, those of the most parameters first
_DEEPEST = 16  # most parts of a prefix
_COUNTER = "num_batches_tracked"  # of BatchNorm: only training needs it

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Match:
    """A way to match a network's parameters to the tensors of a file.

    Attributes:
        names: {parameter of the network: key in the file}.
        prefix: the prefix of all these keys in the file, such as "state_dict.net."; may be empty.
        missing: parameters that are not in the file.
        misshapen: parameters that have another shape in the file.
        rank: if a file holds several copies of the network, the one with the smallest rank is probably meant.
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
    """All matches in which every parameter fits, or the nearest ones if there are none; best first, never empty.

    A prefix may be removed from the names in the file, or the common prefix of all names of the network. `WRAPPERS`
    are ignored in all names, and Caffe's names (conv1/0) are translated.

    Args:
        own: the network's tensors; shared tensors are the same objects.
        stored: the file's tensors; the keys that they are nested under come first ("state_dict.conv1.weight").
    """
    plain = _plain if len({_plain(key) for key in own}) == len(own) else _unchanged
    theirs: dict[str, str] = {}
    for key in sorted(
        stored, key=lambda key: key.count(".") - plain(key).count(".")
    ):  # of several keys with the same name the one with the fewest wrappers is used
        theirs.setdefault(plain(key), key)
    mine = {key: plain(key) for key in own}
    suffixes = _suffixes(theirs)
    found = []
    for removed in _common_prefixes(mine.values()):
        names = {key: name[len(removed) :] for key, name in mine.items()}
        for prefix in _prefixes(names.values(), suffixes):
            if not removed or not rank(prefix)[0]:  # replacing a prefix by an unusual one would be a guess
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
    """The tensor without leading dimensions of 1, which old Caffe files have (a bias is 1×1×1×96)."""
    extra = value.ndim - own.ndim
    if extra > 0 and value.shape == (1,) * extra + own.shape:
        return value.reshape(own.shape)
    return value


def rank(prefix: str) -> tuple[int, list[int]]:
    """How unlikely it is that the copy of the network with this prefix is meant; smaller is more likely.

    Returns:
        The number of the prefix's parts that are not in `NESTED`, and the positions of the others in `NESTED`.
    """
    parts = prefix.split(".")[:-1]
    return sum(part not in NESTED for part in parts), [NESTED.index(part) for part in parts if part in NESTED]


def _unchanged(key: str) -> str:
    return key


def _plain(key: str) -> str:
    """A name without wrappers, and with Caffe's conv1/0 turned into PyTorch's conv1.weight."""
    key = re.sub(r"/0$", ".weight", re.sub(r"/1$", ".bias", key))
    parts = [part for part in key.split(".") if part not in WRAPPERS]
    return ".".join(parts)


def _suffixes(names: Iterable[str]) -> Mapping[str, list[str]]:
    """{end of a name: the prefixes before it, of all names with this end}."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[name].append("")
        for dot in list(re.finditer(r"\.", name))[:_DEEPEST]:
            found[name[dot.end() :]].append(name[: dot.end()])
    return found


def _prefixes(names: Iterable[str], suffixes: Mapping[str, list[str]]) -> Iterable[str]:
    """The prefixes of these names in the file, the most frequent first."""
    counted = Counter(prefix for name in names for prefix in suffixes.get(name, ()))
    return [prefix for prefix, _ in counted.most_common(_TRIED)] or [""]


def _common_prefixes(names: Iterable[str]) -> Iterator[str]:
    """Yield the prefixes that all names have in common, from the empty one on: "", "net.", "net.trunk."."""
    yield ""
    names = list(names)
    first = names[0].split(".") if names else []
    for count in range(1, len(first)):
        prefix = ".".join(first[:count]) + "."
        if not all(name.startswith(prefix) for name in names):
            return
        yield prefix
