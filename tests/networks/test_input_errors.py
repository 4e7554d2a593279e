"""A network that fails: the message names the true reason, and a remedy that helps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deepvis.core.errors import UserError
from deepvis.networks import input_errors
from deepvis.networks.loading import from_module


class Net(nn.Module):
    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(channels, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


class Two(Net):
    def forward(self, left: Tensor, right: Tensor, scale: float = 1) -> Tensor:
        return super().forward(left - right)


class ByName(Net):
    def forward(self, *, image: Tensor) -> Tensor:
        return super().forward(image)


class PictureAndName(Net):
    def forward(self, x: Tensor, *, mask: Tensor) -> Tensor:
        return super().forward(x * mask)


class Nothing(Net):
    def forward(self) -> Tensor:
        return super().forward(torch.zeros(1, 3, 8, 8))


class SecondIsThePicture(Net):
    """As a tower of text and pictures has it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)

    def forward(self, input_ids: Tensor | None = None, pixel_values: Tensor | None = None) -> Tensor:
        return self.words(input_ids) if input_ids is not None else super().forward(pixel_values)


class ListOf(Net):
    def forward(self, images: list[Tensor]) -> Tensor:
        return super().forward(torch.stack(images))


class DictOf(Net):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return super().forward(batch["pixel_values"])


class DictItems(Net):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return super().forward({**batch}["image"])


class MakesDoubles(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)) * torch.ones(4, dtype=torch.float64))


class MakesDoublesAtTheEnd(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3)) @ torch.ones(4, 2, dtype=torch.float64)


class Volumes(nn.Conv3d):
    pass


class Broken(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).no_such_thing


class Only32(Net):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] != 32:
            raise ValueError("give me what I like")
        return super().forward(x)


def message(module: nn.Module) -> str:
    with pytest.raises(UserError) as error:
        from_module(module, "net", "cpu", given={"input": {"height": 24, "width": 24}})
    return str(error.value)


SIZES = "Set input height, width and channels"


@pytest.mark.parametrize("module, said", [
    (Two(), ("forward takes left, right; deepvis gives one picture: wrap it", "self.net(x, x)")),
    (ByName(), ("forward takes image (by name); deepvis gives one picture: wrap it", "self.net(image=x)")),
    (PictureAndName(), ("forward takes x, mask; deepvis gives one picture: wrap it", "self.net(x, mask=x)")),
    (Nothing(), ("forward takes no picture; deepvis gives one picture: wrap it",)),
    (SecondIsThePicture(), ("(Embedding) fails", "takes the picture as pixel_values=", "self.net(pixel_values=x)")),
    (ListOf(), ("takes a list of pictures", "self.net([*x])")),
    (DictOf(), ("takes a dictionary with 'pixel_values'", "self.net({'pixel_values': x})")),
    (MakesDoubles(), ("fc (Linear)", "float64 values reach it", ".to(x.dtype)")),
    (MakesDoublesAtTheEnd(), ("runs networks in float32", ".to(x.dtype)")),
    (Volumes(3, 4, 3), ("works on videos or volumes", "wrap it")),
    (Broken(), ("no_such_thing", "No other size runs either", "correct its code")),
    (DictItems(), ("correct its code",)),
])  # fmt: skip
def test_the_true_reason_and_no_wrong_remedy(module: nn.Module, said: tuple[str, ...]) -> None:
    text = message(module)
    assert all(part in text for part in said), text
    assert SIZES not in text


@pytest.mark.parametrize("module, said", [
    (Net(5), "It can take 5 channels of 224×224 pixels"), (Only32(), "It can take 3 channels of 32×32 pixels"),
    (nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), "It can take 1 channels of 28×28 pixels"),
    (nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), "takes 7 values and got (1, 1728)"),
])  # fmt: skip
def test_another_shape_where_that_helps(module: nn.Module, said: str) -> None:
    text = message(module)
    assert said in text and SIZES in text


def test_a_network_of_doubles_is_no_misfit() -> None:
    assert (
        from_module(Net().double(), "net", "cpu", given={"input": {"height": 24, "width": 24}}).dtype == torch.float32
    )


def test_other_shapes_are_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a second with each look: the network is run so often, and no more."""
    now = iter(range(10**6))
    monkeypatch.setattr(input_errors.time, "monotonic", lambda: float(next(now)))

    class Counts(nn.Module):
        runs = 0

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            Counts.runs += 1
            raise RuntimeError("the size does not matter")

    message(Counts())
    assert Counts.runs <= 3 + input_errors._PATIENCE  # the three are those that failed before
