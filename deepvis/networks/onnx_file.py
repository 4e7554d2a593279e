"""Reading ONNX files safely: they cannot read files outside their folder or run code."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepvis.core.errors import UserError


def read_onnx(path: Path) -> Any:
    """Read the onnx.ModelProto of a file, with the data in files beside it.

    Raises:
        UserError: its data lies outside the file's folder.
        Exception: whatever onnx raises if it is not an ONNX file.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    folder = path.resolve().parent
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _check_place(
                next((entry.value for entry in tensor.external_data if entry.key == "location"), ""), folder, path
            )
    onnx.load_external_data_for_model(model, str(folder))
    for node in model.graph.node:
        # The converter puts these names between quotes in Python code and runs it.
        name = re.sub(r"[^\w./:-]", "_", node.name)
        node.name = name + "_" * keyword.iskeyword(name)
    return model


def _check_place(location: str, folder: Path, path: Path) -> None:
    place = (folder / location).resolve()
    if not place.is_relative_to(folder):
        raise UserError(
            f"{path} has its data in {location!r}, outside its folder. Export it again, with the data beside the ONNX "
            f"file"
        )
    if not place.is_file():
        raise UserError(f"{path} has its data in {location!r}, but there is no such file beside it. Put it there")


def _tensors(model: Any) -> Iterator[Any]:
    """All tensors of a model, also those in attributes, subgraphs and functions."""
    todo: list[Any] = [model.graph, *model.functions]
    while todo:
        graph = todo.pop()
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for value in node.attribute:
                yield from (value.t, *value.tensors)
                for sparse in (value.sparse_tensor, *value.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                todo += [value.g, *value.graphs]
