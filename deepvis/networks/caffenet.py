"""CaffeNet, the network of the papers: AlexNet (Krizhevsky et al. 2012) as Caffe has it.

It differs from torchvision's AlexNet: response normalisation after pooling, two groups in three of
the convolutions, 227×227 pixels, and 96 filters in the first layer. Each stage has the name that the
papers use. The input is BGR with values from 0 to 255, minus ImageNet's mean colour (BVLC's
models/bvlc_reference_caffenet/deploy.prototxt).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def _convolution(
    name: str, inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0, groups: int = 1
) -> list[tuple[str, nn.Module]]:
    number = name.removeprefix("conv")
    convolution = nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding, groups=groups)
    return [(name, convolution), (f"relu{number}", nn.ReLU())]


def _pool(number: int) -> tuple[str, nn.Module]:
    return f"pool{number}", nn.MaxPool2d(3, stride=2, ceil_mode=True)  # Caffe rounds up


def _norm(number: int) -> tuple[str, nn.Module]:
    return f"norm{number}", nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


def _full(number: int, inputs: int, outputs: int) -> list[tuple[str, nn.Module]]:
    dense = [(f"fc{number}", nn.Linear(inputs, outputs)), (f"relu{number}", nn.ReLU())]
    return [*dense, (f"drop{number}", nn.Dropout(0.5))]


def CaffeNet(classes: int = 1000) -> nn.Sequential:  # noqa: N802, a network's name
    """The network without weights; takes N×3×227×227, returns class probabilities N×classes.

    Parameters are named as the layers are ("conv1.weight"), so that Caffe's names (conv1/0) map to
    them one to one.
    """
    return nn.Sequential(OrderedDict([
        *_convolution("conv1", 3, 96, 11, stride=4), _pool(1), _norm(1),
        *_convolution("conv2", 96, 256, 5, padding=2, groups=2), _pool(2), _norm(2),
        *_convolution("conv3", 256, 384, 3, padding=1),
        *_convolution("conv4", 384, 384, 3, padding=1, groups=2),
        *_convolution("conv5", 384, 256, 3, padding=1, groups=2), _pool(5),
        ("flatten", nn.Flatten()),
        *_full(6, 256 * 6 * 6, 4096),
        *_full(7, 4096, 4096),
        ("fc8", nn.Linear(4096, classes)),
        ("prob", nn.Softmax(dim=1)),
    ]))  # fmt: skip
