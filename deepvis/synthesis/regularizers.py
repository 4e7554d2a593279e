"""Regularizers r_θ of equation (2) in Yosinski et al. 2015: functions image → image.

REGULARIZERS is the table, in the order in which they are applied (that of the original tool).
Each takes the images (B×C×H×W about the mean image, which is 0), the objective's gradient there,
and a strength for each image [B]; strength 0 leaves an image as it is, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Regularizer = Callable[[Tensor, Tensor, Tensor], Tensor]


def decay(image: Tensor, _grad: Tensor, strength: Tensor) -> Tensor:
    """L2 decay, section 3: (1 − θ_decay) · x. Extreme values are rare in photographs."""
    return image * (1 - strength)[:, None, None, None]


def blur(image: Tensor, _grad: Tensor, width: Tensor) -> Tensor:
    """Gaussian blur of standard deviation θ_b_width pixels, section 3, against high frequencies."""
    radius = int(4 * float(width.max()) + 0.5)  # as far as scipy's own goes
    if radius == 0:
        return image
    places = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (places / width.to(image)[:, None].clamp(min=1e-6)) ** 2)
    kernel = torch.where(places.abs() <= (4 * width.to(image)[:, None] + 0.5).floor(), kernel, 0)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(image.shape[1], 0)
    count = len(kernel)
    planes = image.reshape(1, count, *image.shape[2:])
    for shape, pad in (((count, 1, -1, 1), (0, 0, radius, radius)), ((count, 1, 1, -1), (radius, radius, 0, 0))):
        planes = F.conv2d(_mirrored(planes, pad), kernel.view(shape), groups=count)
    return torch.where((width > 0).to(image.device)[:, None, None, None], planes.view_as(image), image)


def _mirrored(planes: Tensor, pad: tuple[int, int, int, int]) -> Tensor:
    """The planes padded by mirror images that repeat the edge pixel (scipy's "reflect"), by any width."""
    left, right, top, bottom = pad
    rows = _fold(torch.arange(-top, planes.shape[2] + bottom, device=planes.device), planes.shape[2])
    columns = _fold(torch.arange(-left, planes.shape[3] + right, device=planes.device), planes.shape[3])
    return planes[:, :, rows][:, :, :, columns]


def _fold(places: Tensor, size: int) -> Tensor:
    places = places % (2 * size)
    return torch.minimum(places, 2 * size - 1 - places)


def small_value(image: Tensor, _grad: Tensor, percent: Tensor) -> Tensor:
    """Set each colour value to the mean if its absolute value is below a percentile of all (original tool)."""
    return _clipped(image, image.abs(), percent)


def small_norm(image: Tensor, _grad: Tensor, percent: Tensor) -> Tensor:
    """Set pixels to the mean if their norm over the colours is below the θ_n_pct percentile, section 3."""
    return _clipped(image, image.square().sum(1, keepdim=True).sqrt(), percent)  # ten times as fast as norm()


def small_benefit(image: Tensor, grad: Tensor, percent: Tensor) -> Tensor:
    """Set pixels to the mean if that makes the objective gain least, or lose most (original tool).

    By the gradient, setting pixel x to 0 changes the objective by −Σ_colours x ∘ ∇x. The
    original tool clips where this is below the percentile.
    """
    return _clipped(image, -(image * grad).sum(1, keepdim=True), percent)


def small_contribution(image: Tensor, grad: Tensor, percent: Tensor) -> Tensor:
    """Set pixels to the mean if their |Σ_colours x ∘ ∇x| is below the θ_c_pct percentile, section 3."""
    return _clipped(image, (image * grad).sum(1, keepdim=True).abs(), percent)


def _clipped(image: Tensor, measure: Tensor, percent: Tensor) -> Tensor:
    """The image with 0 where the measure is below its percentile (linear, as NumPy's), separately for each image."""
    flat = measure.flatten(1)
    bound = torch.stack([_percentile(row, p) for row, p in zip(flat, percent.tolist())])
    return image * (measure >= bound[:, None, None, None])


def _percentile(values: Tensor, percent: float) -> Tensor:
    """As numpy.percentile, but −∞ for 0 percent, so that no value is below it."""
    if percent == 0:
        return values.new_tensor(-torch.inf)
    place = percent / 100 * (len(values) - 1)
    low, high = math.floor(place), math.ceil(place)
    if low == high:
        return values.kthvalue(low + 1).values
    if values.device.type == "cpu":  # several times as fast as two of torch's searches
        below, above = values.new_tensor(np.partition(values.numpy(), (low, high))[[low, high]])
    else:
        below, above = (values.kthvalue(place + 1).values for place in (low, high))
    between: Tensor = below + (above - below) * (place - low)
    return between


REGULARIZERS: dict[str, Regularizer] = {
    "decay": decay,
    "blur_width": blur,
    "small_value": small_value,
    "small_norm": small_norm,
    "small_benefit": small_benefit,
    "small_contribution": small_contribution,
}


# ---- penalties: subtracted from the objective, differentiable -------------------------------------


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels, in 1/255 [B] (Mahendran & Vedaldi 2014, β = 1)."""
    down = (image[:, :, 1:] - image[:, :, :-1]).abs().mean((1, 2, 3))
    along = (image[..., 1:] - image[..., :-1]).abs().mean((1, 2, 3))
    return (down + along) / 2


def quadratic_variation(image: Tensor) -> Tensor:
    """Sum over the colours of the squared differences of neighbouring pixels, its mean over the pixels, in 1/255² [B]
    (total variation with β = 2: Mahendran & Vedaldi 2016, eq. (7))."""
    down = (image[:, :, 1:] - image[:, :, :-1]).square().sum((1, 2, 3))
    along = (image[..., 1:] - image[..., :-1]).square().sum((1, 2, 3))
    return (down + along) / image[0, 0].numel()


def high_frequency(image: Tensor) -> Tensor:
    """Mean square of the difference from a 3×3 mean, in 1/255² [B]: the noise of single pixels."""
    return (image - F.avg_pool2d(image, 3, 1, 1, count_include_pad=False)).square().mean((1, 2, 3))


def edge(image: Tensor) -> Tensor:
    """Mean square of the outermost tenth on each side, in 1/255² [B]: it keeps the shape in the middle."""
    height, width = image.shape[2:]
    mask = torch.ones(height, width, device=image.device, dtype=image.dtype)
    mask[height // 10 : height - height // 10, width // 10 : width - width // 10] = 0
    return (image.square() * mask).mean((1, 2, 3))


def alpha_norm(image: Tensor) -> Tensor:
    """Mean of (|x| / 80)⁶ over the pixels, |x| being the norm over the colours: it keeps colours within the usual range
    (Mahendran & Vedaldi 2016, eq. (6), α = 6; Simonyan et al. 2014 have α = 2)."""
    return (image.square().sum(1) / 80**2).pow(3).mean((1, 2))


PENALTIES: dict[str, Callable[[Tensor], Tensor]] = {
    "total_variation": total_variation,
    "quadratic_variation": quadratic_variation,
    "frequency_penalty": high_frequency,
    "edge": edge,
    "alpha_norm": alpha_norm,
}
