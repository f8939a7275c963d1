"""Weights of networks that were built and trained with plain spconv.

spconv knows no background: a missing input adds nothing. So give a network with such weights a ``SparseTensor`` with
``background=None``, and it says what the spconv network says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from napari_sparse3d.engine.plain_spconv import is_product, product_from_spconv
from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.modules.convolution import Convolution, SparseInverseConv3d

LAYOUTS = {"KRSC": (0, 1, 2, 3, 4), "RSKC": (3, 0, 1, 2, 4), "RSCK": (4, 0, 1, 2, 3)}
"""How spconv stored the weight of a convolution (K: C_out, RS: kernel, C: C_in), and the permutation to KRSC."""
_COUNTERS = frozenset({"max_num_voxels_during_training"})
"""What spconv keeps in a state dict beside weights, with ``record_voxel_count``: it takes no part in any result."""


def from_spconv(
    state: Mapping[str, Any],
    network: nn.Module,
    *,
    layers: Mapping[str, str] | None = None,
    layout: str = "KRSC",
) -> dict[str, Tensor]:
    """The state dict of an spconv network under the keys of one of ours: give the result to ``load_state_dict``.

    Parameters
    ----------
    state : mapping of str to Tensor
        What ``state_dict()`` of the spconv network gave, or a checkpoint with one such inside, under whatever name
        (``{"model_state": ..., "optimizer_state": ...}``).
    network : nn.Module
        The network of this package's layers with the same architecture.
    layers : mapping of str to str, optional
        From the name of a layer there to the name of that layer here, for example ``{"net.0": "layers.conv1"}``. None:
        layers with weights are paired in the order in which each network lists them.
    layout : str
        ``"KRSC"`` for spconv 2.2 and later, ``"RSKC"`` for 2.0 and 2.1, ``"RSCK"`` for 1.x.

    Raises
    ------
    InputError
        If layers are missing or left over, a tensor does not fit, or a checkpoint holds none or several state dicts.

    Notes
    -----
    spconv (seen in 2.3.6) computes a convolution of kernel 1 and stride 1 as a product with ``weight.view(C_in,
    C_out)``; such weights are turned so that the results agree.
    """
    if layout not in LAYOUTS:
        raise InputError(f"there is no weight layout {layout!r}; choose {', '.join(LAYOUTS)}")
    theirs, ours = _by_layer(_unpacked(state)), _by_layer(network.state_dict())
    names = _in_order(theirs, ours) if layers is None else layers
    _check_names(names, theirs, ours)
    convolutions = {name: module for name, module in network.named_modules() if isinstance(module, Convolution)}
    _check_inverses({target: convolutions[target] for target in names.values() if target in convolutions})
    converted: dict[str, Tensor] = {}
    for source, target in names.items():
        if set(theirs[source]) != set(ours[target]):
            raise InputError(
                f"layer {source!r} holds {', '.join(sorted(theirs[source]))}, but layer {target!r} here holds "
                f"{', '.join(sorted(ours[target]))}; build the same layer (bias or not, norm or not)"
            )
        for key, tensor in theirs[source].items():
            turned = target in convolutions and key == "weight" and tensor.ndim == 5
            fitting = tensor.permute(LAYOUTS[layout]).contiguous() if turned else tensor
            wanted = ours[target][key].shape
            if fitting.shape != wanted:
                hint = "; try another layout (" + ", ".join(LAYOUTS) + ")" if turned else ""
                raise InputError(
                    f"{source}.{key} is {tuple(fitting.shape)}, but {target}.{key} here is {tuple(wanted)}{hint}"
                )
            if turned and is_product(convolutions[target]):
                fitting = product_from_spconv(tensor, wanted)
            converted[_joined(target, key)] = fitting
    return converted


def _unpacked(state: object) -> Mapping[str, Tensor]:
    """The one state dict in what was given.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    nested = dict(_state_dicts(state, ""))
    if "" in nested:
        return nested[""]
    if len(nested) == 1:
        return next(iter(nested.values()))
    if nested:
        raise InputError(f"the checkpoint holds several state dicts ({', '.join(map(repr, nested))}); give one of them")
    if isinstance(state, Mapping):
        other = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in list(state.items())[:6])
        raise InputError(f"this is no state dict: it holds {other or 'nothing'}; give what state_dict() returns")
    raise InputError(f"this is no state dict but a {type(state).__name__}; give what its state_dict() returns")


def _state_dicts(value: object, name: str) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Those in a mapping of mappings, each by its dotted name: of tensors alone, and of a weight at least."""
    if not isinstance(value, Mapping):
        return
    if value and all(isinstance(key, str) and isinstance(one, Tensor) for key, one in value.items()):
        # an optimizer's state of one parameter is of tensors too
        if any(key.rpartition(".")[2] == "weight" for key in value):
            yield name, value
        return
    for key, one in value.items():
        yield from _state_dicts(one, f"{name}.{key}" if name else str(key))


def _by_layer(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        layer, _, key = name.rpartition(".")
        if key in _COUNTERS:
            continue
        layers.setdefault(layer, {})[key] = tensor
    return layers


def _in_order(theirs: Mapping[str, object], ours: Mapping[str, object]) -> dict[str, str]:
    if len(theirs) != len(ours):
        raise InputError(
            f"the spconv network has {len(theirs)} layers with weights ({', '.join(theirs)}), this one {len(ours)} "
            f"({', '.join(ours)}); build the same network, or name the pairs in layers="
        )
    return dict(zip(theirs, ours, strict=True))


def _check_names(names: Mapping[str, str], theirs: Mapping[str, object], ours: Mapping[str, object]) -> None:
    for what, named, known in (("spconv network", set(names), theirs), ("network here", set(names.values()), ours)):
        faults = [f"has no layer {name!r}" for name in sorted(named - set(known))]
        faults += [f"has a layer {name!r} that is not in layers=" for name in known if name not in named]
        if faults:
            raise InputError(f"the {what} {'; '.join(faults)}")


def _check_inverses(convolutions: Mapping[str, Convolution]) -> None:
    for name, layer in convolutions.items():
        w = layer.window
        if isinstance(layer, SparseInverseConv3d) and w.volume == 1 and w.stride != (1, 1, 1):
            raise InputError(
                f"layer {name!r} here is an inverse convolution of kernel 1, stride {w.stride}, but spconv multiplies "
                "its inverse convolution of kernel 1 on the sites that it gets and inverts nothing; put a SubMConv3d "
                "of kernel 1 there"
            )


def _joined(layer: str, key: str) -> str:
    return f"{layer}.{key}" if layer else key
