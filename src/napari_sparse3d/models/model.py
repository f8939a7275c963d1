"""A network with its card: run on voxel sets, saved to one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_sparse3d.activity import LayerActivity
from napari_sparse3d.engine.choice import Choice, choose
from napari_sparse3d.errors import InputError
from napari_sparse3d.files import replacing
from napari_sparse3d.models.finite import check_features, check_result, check_weights, checking_layers
from napari_sparse3d.models.heads import meaning_of
from napari_sparse3d.models.network import Network
from napari_sparse3d.models.trace import recording
from napari_sparse3d.models.weights import checksum, pack
from napari_sparse3d.sparse import SparseTensor, use_engine
from napari_sparse3d.sparse.modules.planned import unchanged
from napari_sparse3d.sparse.tensor_voxels import TensorVoxels, batch_in_field
from napari_sparse3d.voxels.voxel_set import VoxelSet

if TYPE_CHECKING:
    from napari_sparse3d.models.card import ModelCard

SUFFIX = ".safetensors"
_OURS = __name__.partition(".")[0] + "."

Voxels: TypeAlias = VoxelSet | TensorVoxels
"""On the CPU, or on the card where they were made."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a model says about one voxel set.

    Attributes
    ----------
    probabilities : ndarray
        (classes,) float32, in the order of ``model.card.classes``. Without meaning where the model is not trained.
    embedding : ndarray
        (D,) float32, unit length.
    layers : tuple of LayerActivity
        The per-layer table, in the order in which the layers ran. Where it was not recorded, the network runs again
        when it is first asked for.
    choice : Choice
        Engine, device, and why.
    seconds : float
        Wall time of the network, layers recorded or not, as :meth:`Model.run` was asked.
    """

    model: Model = field(repr=False)
    input: SparseTensor = field(repr=False)
    probabilities: NDArray[np.float32]
    embedding: NDArray[np.float32] = field(repr=False)
    choice: Choice
    seconds: float
    recorded: tuple[LayerActivity, ...] | None = field(default=None, repr=False)
    """The per-layer table, if the run was to record it."""

    @cached_property
    def layers(self) -> tuple[LayerActivity, ...]:  # noqa: D102
        return self._again()[0] if self.recorded is None else self.recorded

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.model.card.classes[int(self.probabilities.argmax())]

    def activations(self, layer: str) -> SparseTensor:
        """What one layer gave, after the activation that follows it; runs the network again.

        Raises
        ------
        InputError
            If the network has no such layer.
        """

        _, outputs = self._again(layer)
        if not outputs:
            raise InputError(f"there is no layer {layer!r}; choose {', '.join(row.name for row in self.layers)}")
        return outputs[0]

    def _again(self, keep: str | None = None) -> tuple[tuple[LayerActivity, ...], list[SparseTensor]]:
        """The table, and the output of the layer to keep, of one more run."""

        def run() -> tuple[tuple[LayerActivity, ...], list[SparseTensor]]:
            self.model._prepare(self.choice.device)  # it may have run elsewhere, or been trained, since
            with use_engine(self.choice.engine), recording(self.model.network, keep=keep) as (rows, outputs):
                self.model.describer.describe(self.input)
            return tuple(rows), outputs

        return _apart(run)


@dataclass(frozen=True, eq=False)
class Model:
    """A network and its card.

    Attributes
    ----------
    network : nn.Module
        ``SparseTensor`` in, logits (B, classes) out; ``.embed(x)`` gives (B, D).
    card : ModelCard
        Recipe, classes, and where the weights come from.
    """

    network: nn.Module
    card: ModelCard

    @property
    def describer(self) -> Network:
        """The network, typed as what all networks of this package offer."""
        return cast(Network, self.network)

    def batch(self, voxels: Voxels | Sequence[Voxels], *, device: str = "cpu") -> SparseTensor:
        """Voxel sets, centred in the field that the network sees.

        Rows of :class:`TensorVoxels` stay on their device; those of a ``VoxelSet`` are sent there.

        Raises
        ------
        InputError
            If they have other features than the network takes, or do not fit into its field.
        """
        sets = [voxels] if isinstance(voxels, VoxelSet | TensorVoxels) else voxels
        on_cpu = [one for one in sets if isinstance(one, VoxelSet)]
        if len(on_cpu) == len(sets):
            x = SparseTensor.from_voxels(on_cpu, self.describer.field, device=device)
        else:
            x = batch_in_field([TensorVoxels.of(one, device) for one in sets], self.describer.field)
        if x.features.shape[1] != self.describer.in_features:
            raise InputError(
                f"model {self.card.name!r} takes {self.describer.in_features} feature(s) a voxel, "
                f"got {x.features.shape[1]}; use its own recipe (features {', '.join(self.card.recipe.features)})"
            )
        return x

    def run(self, voxels: Voxels, *, engine: str = "auto", device: str = "auto", record: bool = False) -> Result:
        """Classify and embed one voxel set.

        Parameters
        ----------
        voxels : VoxelSet or TensorVoxels
            Made with the model's recipe, or one of the same size and features. May be empty.
        engine, device : str
            See :func:`napari_sparse3d.engine.choice.choose`.
        record : bool
            Whether each layer is recorded on the way, for who wants :attr:`Result.layers`. It then runs on its own and
            not in one pass with others.

        Raises
        ------
        InputError
            If the voxel set does not fit the network, or its features, the weights, what a layer gives or the result
            are not all finite.
        EngineError
            If the engine or device is not available.

        Notes
        -----
        Several threads may run one model at the same time, on one device; an interrupt leaves nothing behind.
        """
        choice = choose(engine, device)
        (result,) = _apart(lambda: self._run([voxels], choice, record))
        if isinstance(result, Exception):
            raise result
        return result

    def run_each(
        self, sets: Sequence[Voxels], *, engine: str = "auto", device: str = "auto"
    ) -> list[Result | Exception]:
        """Classify and embed several voxel sets, each on its own: to the bit what :meth:`run` gives, in their order.

        What does not depend on the voxels is done once: the weights are looked at, and chains of layers read. Small
        sets take a fraction of the time for it.

        Parameters
        ----------
        sets : sequence of VoxelSet or TensorVoxels
            As for :meth:`run`.
        engine, device : str
            As for :meth:`run`.

        Returns
        -------
        list of Result or Exception
            In the place of one that failed, what :meth:`run` raises for it.

        Raises
        ------
        InputError
            If the weights are not all finite.
        EngineError
            If the engine or device is not available.
        """
        choice = choose(engine, device)
        return _apart(lambda: self._run(sets, choice, record=False))

    def _run(self, sets: Sequence[Voxels], choice: Choice, record: bool) -> list[Result | Exception]:
        results: list[Result | Exception] = []
        with use_engine(choice.engine), ExitStack() as opened:
            self._prepare(choice.device)
            check_weights(self.network)
            if not record:
                opened.enter_context(checking_layers(self.network))
            if len(sets) > 1 and type(self.network).__module__.startswith(_OURS):  # another's may change as it runs
                opened.enter_context(unchanged())
            for voxels in sets:
                try:
                    with use_engine(choice.engine):  # says what a card without memory says
                        results.append(self._answer(voxels, choice, record))
                except Exception as error:  # the next one may be right, or smaller
                    results.append(error)
        return results

    def _answer(self, voxels: Voxels, choice: Choice, record: bool) -> Result:
        x = self.batch(voxels, device=choice.device)
        check_features(x.features)
        started = perf_counter()
        rows: list[LayerActivity] | None = None
        if record:
            with recording(self.network) as (rows, _):
                described = self.describer.describe(x)
        else:
            described = self.describer.describe(x)
        # numpy has no bfloat16, in which autocast may have left them
        logits = self.describer.logits(described).float()
        probabilities = meaning_of(self.network).probabilities(logits)[0]
        embedding = nn.functional.normalize(described.float())[0]
        check_result(probabilities, embedding, described)
        seen = probabilities.cpu().numpy(), embedding.cpu().numpy()
        seconds = perf_counter() - started
        return Result(self, x, *seen, choice, seconds, None if rows is None else tuple(rows))

    def _prepare(self, device: str) -> None:
        """To the device, for inference; not touched where it is so already: another thread may be running it."""
        if any(module.training for module in self.network.modules()):
            self.network.eval()
        there = torch.empty(0, device=device).device
        if any(weight.device != there for weight in (*self.network.parameters(), *self.network.buffers())):
            self.network.to(there)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and card as one ``.safetensors`` file; it appears whole or not at all."""
        if Path(path).suffix != SUFFIX:
            raise InputError(f"a model is written as {SUFFIX}, got {Path(path).name!r}")
        check_weights(self.network)
        content = pack(self.network.state_dict(), {"card": self.card.model_dump_json()})
        with replacing(path) as temporary:
            # not save_file, which makes a file that nobody but its owner may read
            temporary.write_bytes(content)

    def digest(self) -> str:
        """SHA-256 over weights and card: what the answers of this model follow from."""
        return checksum(self.network.state_dict(), {"card": self.card.model_dump_json()})


_T = TypeVar("_T")


def _apart(run: Callable[[], _T]) -> _T:
    """Without gradients, and in a context of its own: what is set there goes with it, however it ends."""
    before = torch.is_grad_enabled()
    try:
        with torch.no_grad():
            return copy_context().run(run)
    finally:
        torch.set_grad_enabled(before)  # an interrupt may come between no_grad's steps
