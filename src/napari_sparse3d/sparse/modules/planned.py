"""Chains of layers that run in one call of the engine, for inference.

A chain is read once (:mod:`napari_sparse3d.sparse.traced`): its layers, and what they multiply with. Each time it is
called it is looked at whether it is still what was read, and weights are known by their content, so nothing that is
done to them (in place, through ``.data``, by an optimizer, a state, another device) is missed. What cannot be read, or
has to be seen layer by layer, runs as ever, with the same results to the bit; :func:`why_not_planned` says why.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import getitem, is_
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from napari_sparse3d.sparse.autograd.gradients import is_traced
from napari_sparse3d.sparse.contract import Program, RunsNetworks
from napari_sparse3d.sparse.engine import engine, engine_name
from napari_sparse3d.sparse.observers import observers_here, unobserved
from napari_sparse3d.sparse.tensor import SparseTensor
from napari_sparse3d.sparse.traced import NotTracedError, Trace

LARGEST = 1e30
"""Where all magnitudes are known to stay below, nothing on the way can be infinite or not a number: the intermediate
values of a product are at most some ten thousand times its factors, and float32 goes to 3.4e38."""

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_OURS = __name__.partition(".")[0] + "."
_TORCHS_OWN = frozenset(vars(nn.Module())) - {"training"}
_TORCHS = (nn.ReLU, nn.LeakyReLU, nn.Identity)


def run_planned(chain: nn.Module, x: SparseTensor) -> SparseTensor | None:
    """What the chain makes of ``x``, in one call; None where it has to run layer by layer."""
    if type(x) is not SparseTensor or torch.is_grad_enabled() or is_traced(x.features, x.background):
        return None
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        return None
    observers = observers_here()
    if not all(each.content_with_bounds for each in observers):
        return None
    device = x.features.device.type
    chosen = engine(engine_name(device))
    if not isinstance(chosen, RunsNetworks) or torch.is_autocast_enabled(device):
        return None
    looked, kind = _looked_at.get(), _kind_of(x)
    if looked is None or (known := looked.get((chain, chosen.name, kind))) is None:
        plan = _plan_of(chain, x, kind)
        if plan is None:
            return None
        known = plan, plan.frozen(chosen)
        if looked is not None:
            looked[chain, chosen.name, kind] = known
    plan, frozen = known
    sites, through = x.sites.network(chosen, plan.program)
    rows, largest = chosen.run_network(x.rows, plan.program, frozen, through)
    if observers and not largest < LARGEST:
        return None  # they look at each layer
    return SparseTensor._at(rows, sites)


_looked_at: ContextVar[dict[tuple[nn.Module, str, _Kind], tuple[_Plan, Any]] | None] = ContextVar(
    "napari_sparse3d_looked_at", default=None
)


@contextmanager
def unchanged() -> Iterator[None]:
    """Chains that are called in the ``with`` block, by this thread, stay what they are: each is looked at once."""
    token = _looked_at.set({})
    try:
        yield
    finally:
        _looked_at.reset(token)


def why_not_planned(chain: nn.Module, x: SparseTensor) -> str:
    """Why a chain runs layer by layer on an input like this, in inference by the engine of its device; "" if not so."""
    if not isinstance(engine(engine_name(x.features.device.type)), RunsNetworks):
        return "the engine runs layers one by one"
    read = _read(chain, x)
    return read if isinstance(read, str) else ""


class _Kind(NamedTuple):
    """Of an input: what else of it does not change the steps."""

    shape: tuple[int, int, int]
    batch_size: int
    channels: int
    dtype: torch.dtype
    grounded: bool


class _Plan:
    """A chain as it was read."""

    def __init__(self, chain: nn.Module, trace: Trace, program: Program) -> None:
        self.program = program
        self._given = trace.tensors
        tensors = {id(each): each for step in trace.tensors for each in step if each is not None}
        self._tensors = list(tensors.values())
        self._known = [(each, each.data_ptr(), each.shape) for each in self._tensors]
        self._dtype = trace.dtype
        # flat, so that looking takes no step of the interpreter for each
        self._dicts, self._keys, self._values = map(list, zip(*_members(chain), strict=True))
        self._sized = [part for module in chain.modules() for part in _parts(module)]
        self._sizes = list(map(len, self._sized))
        self._inner = list(chain.modules())[1:]  # not the chain itself, which would keep its own plan alive
        self._types = list(map(type, self._inner))
        self._hooks = [vars(module)[name] for module in chain.modules() for name in _HOOKS]
        self._frozen: tuple[Hashable, Any] = None, None

    def holds(self) -> bool:
        """Whether the chain is still what was read, and its tensors lie where they lay."""
        if any(self._hooks):
            return False
        try:
            same = all(map(is_, map(getitem, self._dicts, self._keys), self._values))
        except KeyError:
            return False
        return (
            same
            and list(map(type, self._inner)) == self._types
            and list(map(len, self._sized)) == self._sizes
            and all(
                tensor.data_ptr() == place and tensor.shape == shape and _plain(tensor, self._dtype)
                for tensor, place, shape in self._known
            )
        )

    def frozen(self, chosen: RunsNetworks[Any, Any]) -> Any:
        """The engine's copy of the weights as they are now."""
        content = chosen.name, chosen.content_of(self._tensors)
        known, frozen = self._frozen
        if known != content:
            frozen = chosen.freeze_network(self.program, self._given)
            self._frozen = content, frozen
        return frozen


_PLANS: WeakKeyDictionary[nn.Module, dict[_Kind, _Plan]] = WeakKeyDictionary()
_changing = Lock()
_MOST_KINDS = 8
"""Inputs of other grids or batch sizes for which a chain's plans are kept."""


def _kind_of(x: SparseTensor) -> _Kind:
    features = x.features
    return _Kind(x.spatial_shape, x.batch_size, features.shape[1], features.dtype, x.background is not None)


def _plan_of(chain: nn.Module, x: SparseTensor, kind: _Kind) -> _Plan | None:
    plans = _PLANS.get(chain)
    if plans is None:
        plans = _PLANS.setdefault(chain, {})
    plan = plans.get(kind)
    if plan is not None and plan.holds():
        return plan
    read = _read(chain, x)
    with _changing:  # several threads may run one chain
        plans.pop(kind, None)
        if isinstance(read, str):
            return None
        while len(plans) >= _MOST_KINDS:
            del plans[next(iter(plans))]
        plans[kind] = read
    return read


def _read(chain: nn.Module, x: SparseTensor) -> _Plan | str:
    """The plan of a chain for inputs like this one, or why there is none."""
    for module in chain.modules():
        known = type(module) in _TORCHS or type(module).__module__.startswith(_OURS)
        if not known or "forward" in vars(module):
            return f"{type(module).__name__} is not of this package: what it does may change from call to call"
        if any(vars(module)[name] for name in _HOOKS):
            return f"{type(module).__name__} has a hook"
    features = x.features
    if features.dtype not in (torch.float32, torch.float64):
        return f"features are {features.dtype}"
    trace = Trace(x.spatial_shape, x.batch_size, features.shape[1], features.dtype, grounded=x.background is not None)
    try:
        with unobserved():
            output = chain(trace.input)
        program = trace.program(output)
    except NotTracedError as error:
        return str(error)
    except Exception as error:  # it says so itself when it runs
        return f"{type(error).__name__}: {error}"
    own = {id(each) for each in (*chain.parameters(), *chain.buffers())}
    for tensor in (each for step in trace.tensors for each in step if each is not None):
        if id(tensor) not in own:
            return "a weight is made anew at each call"
        if not (_plain(tensor, features.dtype) and _is_there(tensor)):
            return "its weights are of another type or layout than the features"
    return _Plan(chain, trace, program)


def _plain(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether its numbers lie in memory one after the other."""
    return (
        tensor.dtype is dtype
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and not tensor.is_neg()
    )


def _is_there(tensor: Tensor) -> bool:
    """Whether it is no view that computes, and its memory holds all of it."""
    needed = (tensor.storage_offset() + tensor.numel()) * tensor.element_size()
    return type(tensor) in (Tensor, nn.Parameter) and tensor.untyped_storage().nbytes() >= needed


def _parts(module: nn.Module) -> tuple[dict[str, Any], ...]:
    """Where a module's members are."""
    own = vars(module)
    return own, own["_parameters"], own["_buffers"], own["_modules"]


def _members(chain: nn.Module) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """What modules are and hold, but for what torch keeps in each."""
    for module in chain.modules():
        for part in _parts(module):
            for key, value in part.items():
                if key not in _TORCHS_OWN:
                    yield part, key, value
