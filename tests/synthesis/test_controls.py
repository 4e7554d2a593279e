"""The controls of docs/controls, in smaller still: images show what a network has learned."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from deepvis.core.paths import ROOT


@pytest.fixture(scope="module")
def controls():
    file = ROOT / "docs" / "controls" / "controls.py"
    spec = importlib.util.spec_from_file_location("controls", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["controls"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["controls"]


def test_colours_are_those_that_the_network_has_seen(controls) -> None:
    images = {}
    for name in ("as they are", "BRG"):
        network = controls.network_of(replace(controls.CONTROLS[name], steps=100, count=160))
        images[name] = controls.preferred(network, 1, 32)
    pictures, labels = controls.drawn(160, 999)
    plain, turned = (controls.class_colors(change(pictures), labels) for change in (controls.as_they_are, controls.brg))
    assert controls.own_colors(images["as they are"], plain, turned) >= 0.75
    assert controls.own_colors(images["BRG"], turned, plain) >= 0.75
    assert controls.own_colors(images["BRG"], plain, turned) <= 0.25


def test_images_of_a_canonical_class_are_alike(controls) -> None:
    judge, spread = controls.canonical_judge(steps=60, count=240)
    found = controls.of_classes((0, 1), 0, judge, spread, images=3, steps=120)
    assert [one.is_canonical for one in found] == [True, True, False, False]
    assert all(one.apart.shape == one.to_mean.shape == (3,) for one in found)
    for what in ("apart", "to_mean"):
        sizes = [float(getattr(one, what).mean()) for one in found]
        assert sum(sizes[:2]) < 0.9 * sum(sizes[2:]), (what, sizes)


def test_canonical_pictures_are_in_one_pose_and_colour(controls) -> None:
    pictures, labels = controls.posed(40, 0, (0, 2))
    for kind in range(4):
        own = pictures[labels == kind].astype(float)
        inks = own.max(3) - own.min(3) > 60  # the shape has a colour, the ground is gray
        alike = (inks == inks[0]).mean()
        assert (alike > 0.97) == (kind in (0, 2))
    assert controls.with_error([0.5, 0.7], ".0%") == "60% ± 10"


def test_cut_up_pictures_have_the_same_blocks(controls) -> None:
    pictures, _ = controls.drawn(2, 0)
    cut = controls.cut_up(pictures)
    assert (cut != pictures).any()
    blocks = lambda one: sorted(one[r : r + 8, c : c + 8].tobytes() for r in range(0, 32, 8) for c in range(0, 32, 8))
    assert all(blocks(a) == blocks(b) for a, b in zip(cut, pictures))


def test_fine_detail_is_that_of_the_spectrum(controls) -> None:
    rough = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), np.uint8)
    flat = np.stack([[cv2.GaussianBlur(one, (0, 0), 3) for one in row] for row in rough])
    assert controls.fine_detail(flat) < 0.12 < 0.5 < controls.fine_detail(rough)
