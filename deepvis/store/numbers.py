"""The numbers of one picture in files: everything that the network said of it, and a table of a layer's units.

What the files hold: docs/files.md. Without torch.
"""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from deepvis.attribution.requests import Result
from deepvis.core.arrays import add_array, text_array
from deepvis.core.errors import UserError
from deepvis.core.layers import Layer
from deepvis.scan.index import Index, bin_edges

COLUMNS = (
    *("unit", "label", "maximum", "mean", "row", "column", "x", "y"),
    *("share_of_dataset_maximum", "dataset_rank", "dataset_rank_is"),
)


@dataclass(frozen=True, eq=False)
class Numbers:
    """What is written.

    Attributes:
        result: of the picture in view, with the layer's activations.
        layer, unit: the selected ones.
        classes: names of the scores.
        seen: float32 height×width×channels, the picture as the network got it.
        index: the network's index; None if there is none.
        about: more values for the request's text, such as the name of the model.
    """

    result: Result
    layer: Layer
    unit: int
    classes: tuple[str, ...]
    seen: np.ndarray
    index: Index | None
    about: Mapping[str, object]

    @property
    def maps(self) -> np.ndarray:
        """Activations of the layer, float32 C×H×W. Raises UserError if there are none."""
        if self.result.activations is None:
            raise UserError("there are no numbers yet: the network is computing")
        return self.result.activations


def write_arrays(file: BinaryIO, numbers: Numbers) -> None:
    """Write the arrays as an .npz file that `np.load(allow_pickle=False)` reads."""
    result = numbers.result
    arrays = {
        "activations": numbers.maps,
        "scores": result.scores,
        "backward": result.pixels,
        "layer_backward": result.layer_gradient,
        "input": numbers.seen,
        "unit_names": text_array(numbers.layer.labels),
        "class_names": text_array(numbers.classes),
        "request": np.array(json.dumps(_request(numbers), ensure_ascii=True)),
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            if array is not None:
                add_array(archive, name, array)


def _request(numbers: Numbers) -> dict[str, object]:
    request, frame = numbers.result.request, numbers.result.request.frame
    return {
        **numbers.about,
        "file": frame.source,
        "picture": frame.name,
        "seconds": frame.seconds,
        "crop": request.crop,
        "layer": request.layer,
        "kind": numbers.layer.kind,
        "unit": numbers.unit,
        "method": request.method,
        "origin": request.origin,
    }


def table(numbers: Numbers) -> str:
    """The table of the layer's units as CSV, a line for each unit, with the names of COLUMNS first."""
    out = io.StringIO(newline="")
    rows = csv.writer(out)
    rows.writerow(COLUMNS)
    maps, ranks = numbers.maps, _Ranks.of(numbers.index, numbers.layer.name)
    for unit, values in enumerate(maps):
        cell = int(np.nan_to_num(values, nan=-np.inf).argmax())
        highest = float(values.flat[cell])
        place = _place(numbers, *divmod(cell, values.shape[1])) if numbers.layer.is_map else ("", "", "", "")
        known = ranks.row(unit, highest) if ranks is not None and math.isfinite(highest) else ("", "", "")
        label = numbers.layer.label(unit)
        rows.writerow([unit, label, _text(highest), _text(float(values.mean(dtype=np.float64))), *place, *known])
    return out.getvalue()


def _text(value: float) -> str:
    return f"{value:.7g}"


def _place(numbers: Numbers, row: int, column: int) -> tuple[object, ...]:
    """A place of the map, and the middle of its receptive field in pixels of the network's input (x, y)."""
    field = numbers.result.receptive_field
    if field is None:
        return row, column, "", ""
    x = field.start[1] + field.stride[1] * column + field.width / 2
    y = field.start[0] + field.stride[0] * row + field.height / 2
    return row, column, f"{x:.1f}", f"{y:.1f}"


@dataclass(frozen=True, eq=False)
class _Ranks:
    """How strong a layer's units can be: their top images' values, and their histograms."""

    best: np.ndarray
    has: np.ndarray
    histogram: np.ndarray
    images: int

    @classmethod
    def of(cls, index: Index | None, layer: str) -> _Ranks | None:
        span = next((span for span in index.spans if span.name == layer), None) if index is not None else None
        if index is None or span is None or not index.count:
            return None
        top = index.top[span.rows]
        return cls(top.value, top.image >= 0, index.histogram[span.rows], index.count)

    def row(self, unit: int, value: float) -> tuple[str, str, str]:
        """The value as a share of the data set's maximum, its rank among the data set's images, and how it is known.

        Among the top images the rank is exact; behind them the histogram says about how many images are stronger.
        """
        best = self.best[unit][self.has[unit]]
        share = f"{value / float(best[0]):.4f}" if len(best) and best[0] > 0 else ""
        stronger = int((best > value).sum())
        if stronger < len(best) or len(best) >= self.images:
            return share, str(stronger + 1), "exact"
        return share, str(max(stronger, round(_above(self.histogram[unit], value))) + 1), "about"


def _above(counts: np.ndarray, value: float) -> float:
    """About how many of a histogram's responses are above a value; those in its bin are taken as evenly spread."""
    edges = bin_edges()
    own = int(np.clip(np.searchsorted(edges, value, "right") - 1, 0, len(counts) - 1))
    low, high = edges[own], edges[own + 1]
    part = (high - value) / (high - low) if np.isfinite(high - low) else 0.5
    return float(counts[own + 1 :].sum() + part * counts[own])
