"""Hints at what was meant."""

from __future__ import annotations

from deepvis.core.nearest import did_you_mean, nearest


def test_the_nearest_names_come_first_whatever_their_capitals() -> None:
    names = ["conv1", "conv2", "Zebra", "fc"]
    assert nearest("ZEBRO", names) == ["Zebra"]
    assert nearest("conv", names, 1) == ["conv1"] or nearest("conv", names, 1) == ["conv2"]
    assert set(nearest("conv", names)) == {"conv1", "conv2"}


def test_the_question() -> None:
    assert did_you_mean("stepps", ["steps", "rate"]) == " Did you mean steps?"
    assert did_you_mean("conv", iter(["conv1", "conv2"])) in (
        " Did you mean conv1 or conv2?",
        " Did you mean conv2 or conv1?",
    )
    assert did_you_mean("xyz", ["steps"]) == did_you_mean("xyz", []) == ""
