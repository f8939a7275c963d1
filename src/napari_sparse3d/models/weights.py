"""Tensors as one ``.safetensors`` file that knows its own content: a flipped bit is an error, not other weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from napari_sparse3d.errors import InputError

_SUM = "sha256"


class Damaged(InputError):
    """The file is no longer what was written."""


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a ``.safetensors`` file, with a checksum over names, types, shapes, values and metadata."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    places = [tensor.data_ptr() for tensor in whole.values() if tensor.numel()]
    if len(set(places)) < len(places):
        whole = {name: tensor.clone() for name, tensor in whole.items()}  # shared memory cannot be written
    notes = dict(metadata or {})
    content: bytes = serialized(whole, metadata={**notes, _SUM: checksum(whole, notes)})
    return content


def unpack(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What :func:`pack` was given; files without a checksum, written elsewhere or before, are read as they are.

    Raises
    ------
    Damaged
        If the file is cut, or not what was written.
    FileNotFoundError
        If there is none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.name}")
    try:
        with safe_open(path, framework="pt") as stored:
            notes: dict[str, str] = dict(stored.metadata() or {})
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise Damaged(f"{path.name} is damaged or no .safetensors file ({' '.join(str(error).split())})") from error
    expected = notes.pop(_SUM, None)
    if expected is not None and checksum(tensors, notes) != expected:
        raise Damaged(f"{path.name} is damaged: its checksum does not fit its content; take a copy of it")
    return tensors, notes


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over everything that the file says."""
    total = hashlib.sha256()
    for name, text in sorted(metadata.items()):
        total.update(f"{name}={text}\n".encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
