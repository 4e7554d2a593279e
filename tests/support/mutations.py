"""Files that are nearly valid: what damage, mistakes and malice make of one that is."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
DRIVEN = settings(
    max_examples=60,
    deadline=5000,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

ODD = [
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    10**6,
    2**31,
    2**63,
    -(2**63),
    10**30,
    10**400,
    0.5,
    -0.0,
    1e-320,
    1e300,
    float("inf"),
    float("nan"),
    "",
    " ",
    "none",
    "1e400",
    "x\0y",
    "\ud800",
    "n" * 300,
    "../../../etc/passwd",
    "/dev/zero",
    "\n",
    "é" * 200,
    "%s%n{}",
    [],
    {},
    [[]],
    [[[[[[[[]]]]]]]],
    [None],
    {"": None},
    {"a": {"b": []}},
    [1, 2],
    list(range(50)),
    [0.5, -1, "x"],
    ["a", "a"],
    {1: 2},
    10**18,
]


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values in nested lists and dicts."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


@st.composite
def values(draw: st.DrawFn, valid: Any) -> Any:
    """Plain values of which one to three are replaced by odd ones, taken out, or given twice."""
    value = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(value)))
        if not place:
            if draw(st.integers(0, 9)) == 0:
                return draw(st.sampled_from(ODD))
            continue
        holder = value
        for key in place[:-1]:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
        if how == "replace":
            holder[place[-1]] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif how == "remove":
            del holder[place[-1]]
        elif isinstance(holder, list):
            holder.insert(place[-1], copy.deepcopy(holder[place[-1]]))
        else:
            holder[draw(st.sampled_from(["", "odd", "n" * 300, "height"]))] = draw(st.sampled_from(ODD))
    return value


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """Bytes that were flipped, cut off, cut out, doubled or put in."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        how = draw(st.sampled_from(["flip", "flip", "set", "cut off", "cut out", "double", "insert"]))
        if how == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "set" and data:
            data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        elif how == "cut off":
            del data[at:]
        elif how == "cut out":
            del data[at : at + draw(st.integers(1, 64))]
        elif how == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=16))
    return bytes(data)


_BOUNDED = """
import resource, sys
from pathlib import Path
from deepvis.core.errors import UserError
{imports}
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + ({room} << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
for path in map(Path, sys.argv[1:]):
    try:
        {read}
        print(path.name, "was read")
    except UserError as error:
        print(path.name, error)
"""


def in_bounds(imports: str, read: str, files: list[Path], room: int = 700) -> dict[str, str]:
    """What a reader says of each file, in a process of `room` MiB of memory and 30 seconds; fails if it needs more.

    Args:
        read: a statement that reads `path`.
    """
    if sys.platform != "linux":
        pytest.skip("the bound of a process's memory is Linux's")
    code = _BOUNDED.format(imports=imports, read=read, room=room)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, files)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    said = {name: text for name, _, text in lines if name in {file.name for file in files}}
    assert said.keys() == {file.name for file in files}, done.stdout
    return said
