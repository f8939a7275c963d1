"""A network with its card: run on voxel sets, saved to and loaded from one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_sparse3d.activity import LayerActivity
from napari_sparse3d.catalog import ARCHITECTURES, TRAINED, is_own
from napari_sparse3d.engine.choice import Choice, choose
from napari_sparse3d.environment import check_environment
from napari_sparse3d.errors import InputError
from napari_sparse3d.files import replacing
from napari_sparse3d.models.architectures import build_network
from napari_sparse3d.models.finite import check_features, check_result, check_weights
from napari_sparse3d.models.heads import meaning_of
from napari_sparse3d.models.network import Network
from napari_sparse3d.models.trace import recording
from napari_sparse3d.models.weights import Damaged, checksum, pack, unpack
from napari_sparse3d.sparse import SparseTensor, use_engine
from napari_sparse3d.sparse.tensor_voxels import TensorVoxels, batch_in_field
from napari_sparse3d.text import did_you_mean
from napari_sparse3d.voxels.voxel_set import VoxelSet

if TYPE_CHECKING:
    from napari_sparse3d.models.card import ModelCard

SUFFIX = ".safetensors"

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
        The per-layer table, in the order in which the layers ran.
    choice : Choice
        Engine, device, and why.
    seconds : float
        Wall time of the network, layers recorded.
    """

    model: Model = field(repr=False)
    input: SparseTensor = field(repr=False)
    probabilities: NDArray[np.float32]
    embedding: NDArray[np.float32] = field(repr=False)
    layers: tuple[LayerActivity, ...] = field(repr=False)
    choice: Choice
    seconds: float

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

        def recorded() -> list[SparseTensor]:
            with use_engine(self.choice.engine), recording(self.model.network, keep=layer) as (_, outputs):
                self.model.describer.describe(self.input)
            return outputs

        outputs = _apart(recorded)
        if not outputs:
            raise InputError(f"there is no layer {layer!r}; choose {', '.join(row.name for row in self.layers)}")
        return outputs[0]


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

    def run(self, voxels: Voxels, *, engine: str = "auto", device: str = "auto") -> Result:
        """Classify and embed one voxel set, and record what each layer did.

        Parameters
        ----------
        voxels : VoxelSet or TensorVoxels
            Made with the model's recipe, or one of the same size and features. May be empty.
        engine, device : str
            See :func:`napari_sparse3d.engine.choice.choose`.

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
        return _apart(lambda: self._run(voxels, choice))

    def _run(self, voxels: Voxels, choice: Choice) -> Result:
        with use_engine(choice.engine):
            self._prepare(choice.device)
            x = self.batch(voxels, device=choice.device)
            check_features(x.features)
            check_weights(self.network)
            started = perf_counter()
            with recording(self.network) as (rows, _):
                described = self.describer.describe(x)
            # numpy has no bfloat16, in which autocast may have left them
            logits = self.describer.logits(described).float()
            probabilities = meaning_of(self.network).probabilities(logits)[0]
            embedding = nn.functional.normalize(described.float())[0]
            check_result(probabilities, embedding, described)
            seen = probabilities.cpu().numpy(), embedding.cpu().numpy()
        return Result(self, x, *seen, tuple(rows), choice, perf_counter() - started)

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


def load_model(name: str | os.PathLike[str], *, seed: int = 0) -> Model:
    """A model by bundled name, by file, or an architecture with random weights.

    Parameters
    ----------
    name : str or path
        A bundled model, a ``.safetensors`` file written by :meth:`Model.save`, or an architecture such as ``"deepc2"``.
        Your own architecture is ``module:factory``, and a file of its weights ``module:factory=file.safetensors``: what
        a file names is never imported, unless you name it too.
    seed : int
        For an architecture: what its random weights are drawn from.

    Raises
    ------
    InputError
        If there is no such model, or the file is no model of this package.
    FileNotFoundError
        If the file does not exist.
    """
    check_environment()
    text = os.fspath(name)
    if text in ARCHITECTURES or is_own(text):
        return _untrained(text, seed)
    if text in TRAINED:
        return read_model(TRAINED[text].path)
    own, equals, file = text.partition("=")
    if equals and is_own(own) and not Path(text).is_file():
        return read_model(file, architecture=own)
    if Path(text).suffix == SUFFIX or os.sep in text:
        return read_model(Path(text))
    raise InputError(
        f"there is no model {text!r}; choose {', '.join([*TRAINED, *ARCHITECTURES])} or give a {SUFFIX} file"
        f"{did_you_mean(text, [*TRAINED, *ARCHITECTURES])}"
    )


def bundled_models() -> dict[str, Path]:
    """The trained models that have a name, ours and those of other packages: name and file.

    Raises
    ------
    CatalogError
        If a file is not where its package says.
    """
    return {name: info.path for name, info in TRAINED.items()}


def read_model(path: str | os.PathLike[str], *, architecture: str | None = None) -> Model:
    """Read a file that :meth:`Model.save` wrote; for errors see :func:`load_model`.

    Parameters
    ----------
    path : str or path
    architecture : str, optional
        The user's own, ``module:factory``, where the file is one of it.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"there is no model file {source}")
    try:
        weights, notes = unpack(source)
    except Damaged as error:
        raise InputError(f"{source.name} is no model file: a {SUFFIX} file was expected ({error})") from error
    card = _card(notes.get("card"), source)
    network = _network_of(card, {key: tuple(tensor.shape) for key, tensor in weights.items()}, source, architecture)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"the weights in {source.name} do not fit its own architecture {card.architecture!r}: "
            f"{' '.join(str(error).split())}"
        ) from error
    check_weights(network)
    return Model(network.eval(), card)


def _network_of(card: ModelCard, shapes: dict[str, tuple[int, ...]], source: Path, named: str | None) -> nn.Module:
    """The network that a card asks for, once it is known that the file's weights and card fit it.

    A card's word alone imports nothing: what is no name in the catalogue must be what the user has ``named``.
    """
    own = is_own(card.architecture)
    if own and named is None:
        raise InputError(
            f"{source.name} holds weights of {card.architecture[:80]!r}, code that is not part of this package; if you "
            "trust it, name it yourself: module:factory=FILE in place of FILE"
        )
    if named is not None and named != card.architecture:
        raise InputError(f"{source.name} holds weights of {card.architecture[:80]!r}, not of {named!r}; name that one")
    if own:  # the user's word: made at once, as their code need not know how to make shapes alone
        network = build_network(card.architecture, **card.arguments)
        _check_fits(card, network, shapes, source)
        return network
    with torch.device("meta"):  # shapes alone, before they take memory
        _check_fits(card, build_network(card.architecture, **card.arguments), shapes, source)
    return build_network(card.architecture, **card.arguments)


def _check_fits(card: ModelCard, network: nn.Module, shapes: dict[str, tuple[int, ...]], source: Path) -> None:
    """That the network which the card asks for is the one whose weights are there."""
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    other = sorted(key for key in wanted.keys() | shapes.keys() if wanted.get(key) != shapes.get(key))
    if other:
        key = other[0]
        raise InputError(
            f"the weights in {source.name} do not fit its own architecture {card.architecture!r}: {key[:80]!r} is "
            f"{shapes.get(key, 'missing')} where {wanted.get(key, 'none')} is expected (and {len(other) - 1} more)"
        )
    described = cast(Network, network)
    if len(card.classes) != described.classes:
        raise InputError(
            f"the card in {source.name} names {len(card.classes)} classes, its network gives {described.classes}"
        )
    if card.recipe.n_channels != described.in_features:
        raise InputError(
            f"the recipe of the card in {source.name} makes {card.recipe.n_channels} feature(s) a voxel, its network "
            f"takes {described.in_features}"
        )


# Cards and recipes need pydantic: where one is read or made, and not for who wants a network alone.


def _card(text: str | None, source: Path) -> ModelCard:
    from napari_sparse3d.models.card import ModelCard

    if text is None:
        raise InputError(f"{source.name} holds weights but no model card; save it with Model.save")
    try:
        return ModelCard.parse(text)
    except InputError as error:
        raise InputError(f"the model card in {source.name} cannot be read: {error}") from error


def _untrained(architecture: str, seed: int) -> Model:
    from napari_sparse3d.models.card import ModelCard
    from napari_sparse3d.voxels.recipe import Recipe

    # nobody has said how many: of ours that is what their arguments default to
    arguments = {"in_features": 1, "classes": 2} if is_own(architecture) else {}
    network = build_network(architecture, seed=seed, **arguments)
    described = cast(Network, network)
    named = _recipe_for(described.in_features) if is_own(architecture) else ARCHITECTURES[architecture].recipe
    recipe = Recipe.named(named).model_copy(update={"field": described.field})
    classes = tuple(f"class {number}" for number in range(described.classes))
    card = ModelCard(
        name=architecture,
        architecture=architecture,
        arguments=arguments,
        recipe=recipe,
        classes=classes,
        trained=False,
        description=f"random weights (seed {seed}): the classes mean nothing",
    )
    return Model(network.eval(), card)


def _recipe_for(in_features: int) -> str:
    """The first built-in recipe that makes so many features; or the first, whose voxels are then refused."""
    from napari_sparse3d.voxels.recipe import BUILT_IN

    return next((name for name, each in BUILT_IN.items() if each.n_channels == in_features), next(iter(BUILT_IN)))
