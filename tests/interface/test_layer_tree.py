"""The tree of a long list of layers: every row holds the whole of a group, and the way to the layer is open."""

from __future__ import annotations

import pytest

from deepvis.interface.layer_tree import tree_rows

RESNET = ("conv1", "bn1", *(f"layer{i}.{j}" for i, n in ((1, 3), (2, 8), (3, 36), (4, 3)) for j in range(n)), "fc")
DEEP = tuple(f"net.stages.{i}.blocks.{j}.{name}" for i in range(3) for j in range(4) for name in ("conv", "norm"))
VIT = ("proj", *(f"encoder.layers.{i}{part}" for i in range(4) for part in ("/attention", "")), "encoder.ln", "head")


def words(names: tuple[str, ...], at: int, count: int) -> list[list[str]]:
    return [[f"{'*' if n.is_open else ''}{n.words}" for n in row] for row in tree_rows(names, at, count)]


def test_the_groups_are_folded_except_for_the_one_with_the_layer() -> None:
    at = RESNET.index("layer3.17")
    groups, members = words(RESNET, at, 2)
    assert groups == ["conv1", "bn1", "layer1", "layer2", "*layer3", "layer4", "fc"]
    assert members == [str(i) for i in range(36)]
    assert words(RESNET, 0, 2) == [["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]]


def test_in_too_few_rows_the_outer_groups_stand_with_their_members() -> None:
    (one,) = words(RESNET, RESNET.index("layer4.1"), 1)
    assert one == ["conv1", "bn1", "layer1", "layer2", "layer3", "*layer4", "0", "1", "2", "fc"]
    at = DEEP.index("net.stages.1.blocks.2.conv")
    groups = ["0.blocks", "*1.blocks", "2.blocks"]
    assert words(DEEP, at, 4) == [["*net.stages"], groups, ["0", "1", "*2", "3"], ["conv", "norm"]]
    assert words(DEEP, at, 1) == [["0.blocks", "*1.blocks", "0", "1", "*2", "conv", "norm", "3", "2.blocks"]]


@pytest.mark.parametrize("names", [RESNET, DEEP, VIT, ("a", "b", "c"), ("x.a", "x.a.b", "x"), ("one",), ("a.b", "a.c")])
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_each_layer_is_found_and_the_rows_are_whole(names: tuple[str, ...], count: int) -> None:
    for at, name in enumerate(names):
        rows = tree_rows(names, at, count)
        assert 1 <= len(rows) <= count
        leaves = [node for row in rows for node in row if not node.is_group and node.has(at)]
        assert len(leaves) == 1 and name.endswith(leaves[0].words)
        for row in rows:
            closed = [i for node in row if not node.is_open for i in range(node.start, node.stop)]
            assert len(closed) == len(set(closed))
        shown = {i for row in rows for node in row for i in range(node.start, node.stop)}
        assert at in shown and (shown == set(range(len(names))) or len(rows) == count)
