"""Models as files that other programs run: ONNX, and torch's own exported program."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from napari_sparse3d.errors import EngineError, InputError
from napari_sparse3d.files import replacing
from napari_sparse3d.models.densify import DenseNetwork, densify
from napari_sparse3d.models.finite import check_weights
from napari_sparse3d.models.model import Model

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
"""Each format with the ending of its files."""


class Exported(nn.Module):
    """What an exported file computes: probabilities (B, classes) and embedding (B, D) of ``voxels`` (B, C, D, H, W)."""

    def __init__(self, network: DenseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, voxels: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and unit embedding."""
        described = self.network.describe(voxels)
        return self.network.probabilities(self.network.logits(described)), nn.functional.normalize(described)


def export_model(model: Model, path: str | os.PathLike[str], *, format: str) -> None:
    """Write a model as a dense network, for programs that know nothing of this package.

    The file takes ``voxels`` (B, C, F, F, F) float32, the voxel set written out in the network's field, 0 where nothing
    is active, for any B; it gives ``probabilities`` (B, classes) and ``embedding`` (B, D). The model card (classes,
    recipe) is in its metadata under ``card``.

    Parameters
    ----------
    model : Model
        Any model whose layers have dense twins, see :func:`densify`.
    path : str or path
        The file; it appears whole or not at all.
    format : str
        ``"onnx"``, or ``"torch"`` for what ``torch.export.load`` reads.

    Raises
    ------
    InputError
        If there is no such format, the ending of ``path`` is not that of the format, a layer has no dense twin, or the
        weights are not all finite.
    EngineError
        If a package that writes the format is missing; the message names the line that installs it.
    """
    if Path(path).suffix != ending_of(format):
        raise InputError(f"a model in format {format} ends in {ending_of(format)}, got {Path(path).name!r}")
    if format == "onnx":
        _need("onnx", "onnxscript")
    check_weights(model.network)
    program = _program(model)
    card = model.card.model_dump_json()
    content = _onnx(program, card) if format == "onnx" else _exported(program, card)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def ending_of(format: str) -> str:
    """How files of a format end; ``InputError`` if there is no such format."""
    if format not in FORMATS:
        raise InputError(f"there is no format {format!r}; choose {' or '.join(FORMATS)}")
    return FORMATS[format]


def _program(model: Model) -> ExportedProgram:
    field, channels = model.describer.field, model.describer.in_features
    with torch.no_grad():
        # two volumes: torch takes a size of 1 for a constant
        example = torch.zeros(2, channels, field, field, field)
        exported = Exported(densify(model).cpu()).eval()
        return torch.export.export(exported, (example,), dynamic_shapes={"voxels": {0: Dim("batch")}})


def _exported(program: ExportedProgram, card: str) -> bytes:
    # in memory: torch's own writer ends the whole process where the disk is full (seen with 2.13)
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"card": card})
    return content.getvalue()


def _onnx(program: ExportedProgram, card: str) -> bytes:
    with _quiet():
        exported = torch.onnx.export(
            program, input_names=["voxels"], output_names=["probabilities", "embedding"], dynamo=True, verbose=False
        )
    if exported is None:
        raise EngineError("torch made no ONNX program; update onnxscript: pip install --upgrade onnxscript")
    exported.model.metadata_props["card"] = card
    content: bytes = exported.model_proto.SerializeToString()
    return content


def _need(*packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise EngineError(f"writing ONNX needs {' and '.join(missing)}; pip install {' '.join(missing)}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress on stdout and its notes about torch's own code."""
    level = logging.getLogger("onnxscript").level
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("onnxscript").setLevel(level)
