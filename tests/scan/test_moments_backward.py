"""What in collected moments excites a unit: from the frames that the network saw, not from an index's photos."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from small import network

from deepvis.scan.patch_backward import patch_backward
from deepvis.scan.patches import cut_out
from deepvis.scan.results import Patch
from deepvis.workers.messages import TopImagesWish, TopPictures
from deepvis.workers.top_images import TopImagesWorker
from deepvis.workers.worker import WishOf

LIMIT = 30.0


def test_moments_are_carried_back_without_any_index(tmp_path: Path) -> None:
    net = network()
    seen = tuple(np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8))
    boxes, cells = [(2, 3, 8, 8), (10, 9, 8, 8), (-2, -2, 8, 8)], [(3, 3), (6, 7), (0, 0)]
    patches = tuple(
        Patch(i, f"camera {i}", row, column, 1.0, box, np.ascontiguousarray(cut_out(image, box, (24, 24))))
        for i, (image, box, (row, column)) in enumerate(zip(seen, boxes, cells))
    )
    moments = TopPictures("pool", 2, "", patches, seen=seen)
    worker = TopImagesWorker(lambda _network: tmp_path)  # where there is none
    try:
        for method in ("deconv", "gradient"):
            worker.want(WishOf(net, TopImagesWish("pool", 2, method, moments)))
            end = time.monotonic() + LIMIT
            while not (worker.idle and worker.answer.method == method):
                assert time.monotonic() < end
                time.sleep(0.005)
            found = worker.answer
            assert found.patches == patches and found.seen == seen and not found.backward_note
            for one, other in zip(found.backward, patch_backward(network(), seen, "pool", 2, method, boxes, cells)):
                np.testing.assert_array_equal(one, other)
        worker.want(WishOf(net, TopImagesWish("pool", 2, "deconv", replace(moments))))
        worker.want(WishOf(net, TopImagesWish("pool", 2)))
        while not (worker.idle and not worker.answer.patches):
            assert time.monotonic() < end + LIMIT
            time.sleep(0.005)
        assert "There are none yet. To find them: deepvis scan" in worker.answer.note
    finally:
        assert worker.close(LIMIT)
