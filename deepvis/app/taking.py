"""Taking along what the window shows: the numbers of the picture in view, the view itself, a picture of a pane."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from deepvis.app.views import must_be_kept, view_of
from deepvis.attribution.requests import Result
from deepvis.core.files import beside, writing
from deepvis.interface.settings import Settings
from deepvis.render import Scene
from deepvis.scan.index import Index
from deepvis.store import numbers

if TYPE_CHECKING:
    from deepvis.networks.network import Network


@dataclass(frozen=True, eq=False)
class Taken:
    """What is to be saved: a scene, the result of its layer, the network that it is of, and the network's index."""

    scene: Scene
    result: Result
    network: Network
    index: Index | None
    settings: Settings

    def save(self, folder: Path, stamp: str) -> str:
        """Write STAMP.npz, STAMP.csv and STAMP.view.yaml, and the picture if it cannot be read again.

        No file gets its name before all are complete, and none is replaced.

        Returns:
            A message that says what was written.
        Raises:
            UserError: the pass failed, or the folder cannot be written.
        """
        stem = next(stem for stem in _numbered(stamp) if not (folder / f"{stem}.view.yaml").exists())
        frame = self.result.request.frame
        picture = f"{stem}.input.png" if must_be_kept(frame, self.scene.state) else ""
        view = view_of(self.scene.state, self.scene.layers, self.settings, frame, picture)
        kept = self._numbers()
        with writing(folder / f"{stem}.npz", "Name another folder: output in settings.yaml"), ExitStack() as whole:
            numbers.write_arrays(whole.enter_context(beside(folder / f"{stem}.npz")), kept)
            table = numbers.table(kept).encode("utf-8", "backslashreplace")
            whole.enter_context(beside(folder / f"{stem}.csv")).write(table)
            whole.enter_context(beside(folder / f"{stem}.view.yaml")).write(view.text().encode())
            if picture:
                encoded = cv2.imencode(".png", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))[1]
                whole.enter_context(beside(folder / picture)).write(encoded.tobytes())
        path = folder / f"{stem}.view.yaml"
        return f"saved {folder / stem}.npz, .csv and .view.yaml; deepvis live --view {path} opens this view again"

    def _numbers(self) -> numbers.Numbers:
        scene, network, result = self.scene, self.network, self.result
        seen = network.input.seen(result.request.frame.pixels, result.request.crop)
        about = {
            "model": network.name,
            "fingerprint": network.fingerprint,
            "mean": network.input.mean,
            "std": network.input.std,
            "range": network.input.range,
            "order": network.input.order,
        }
        return numbers.Numbers(result, scene.layer, scene.state.unit, network.classes, seen, self.index, about)


def link_of(scene: Scene, settings: Settings) -> str:
    """A link that opens the view again. Of a camera it holds no picture."""
    frame = scene.result.request.frame if scene.result is not None else scene.frame
    return view_of(scene.state, scene.layers, settings, frame).link()


def _numbered(name: str) -> itertools.chain[str]:
    return itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
