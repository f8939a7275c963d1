"""Models by name and by file: what is looked at before a file's word is taken for anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from napari_sparse3d.catalog import ARCHITECTURES, TRAINED, is_own
from napari_sparse3d.environment import check_environment
from napari_sparse3d.errors import CatalogError, InputError
from napari_sparse3d.models.architectures import build_network
from napari_sparse3d.models.finite import check_weights
from napari_sparse3d.models.model import SUFFIX, Model
from napari_sparse3d.models.network import Network
from napari_sparse3d.models.weights import Damaged, unpack
from napari_sparse3d.text import did_you_mean

if TYPE_CHECKING:
    from napari_sparse3d.models.card import ModelCard


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

    One whose file is not where its package says is left out: :func:`load_model` and ``doctor`` say so.
    """
    files = {}
    for name, info in TRAINED.items():
        with suppress(CatalogError):
            files[name] = info.path
    return files


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
    with torch.device("meta"), _NothingDrawn():  # shapes alone, before they take memory
        _check_fits(card, build_network(card.architecture, **card.arguments), shapes, source)
    return build_network(card.architecture, **card.arguments)


class _NothingDrawn(TorchFunctionMode):
    """Weights stay as they are allocated, whatever a layer would draw them from.

    Where tensors are shapes alone there is nothing to draw; and torch answers some draws there (``normal_``) by way of
    its compiler, whose import takes longer than all else that is done for a model.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call ``func``, unless it draws."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


_DRAWS = frozenset(
    ("normal_", "uniform_", "trunc_normal_", "log_normal_", "cauchy_", "exponential_", "geometric_", "bernoulli_")
)


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
