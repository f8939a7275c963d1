"""The one index formula: which input site meets which output site, through which kernel offset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod

from napari_sparse3d.errors import InputError

Triple = tuple[int, int, int]

_LARGEST_SIDE = 2**30
"""Of a grid: what a window reaches from its last site must still be a number of 32 bits."""
_LARGEST_WINDOW = 2**30
_LARGEST_COUNT = 2**63 - 1
"""Of the sites of a batch: their places in raster order are numbers of 64 bits."""
_PACKED = 20


def triple(value: int | Sequence[int], name: str) -> Triple:
    """One number for every axis, or one for each of (z, y, x)."""
    z, y, x = (value, value, value) if isinstance(value, int) else value
    if min(z, y, x) < 0:
        raise ValueError(f"{name} must not be negative, got {(z, y, x)}")
    return int(z), int(y), int(x)


def check_grid(shape: Triple, batch_size: int) -> None:
    """Refuse a batch of grids in which a site has no place.

    Raises
    ------
    InputError
        If an axis has more than 2^30 sites or none, or the batch more than 2^63 - 1 of them.
    """
    if min(shape) < 1 or batch_size < 0:
        raise InputError(
            f"a grid needs at least one site on every axis, and a batch no fewer than 0 grids, got {shape} times "
            f"{batch_size}"
        )
    if max(shape) > _LARGEST_SIDE or batch_size > _LARGEST_SIDE:
        raise InputError(
            f"a grid of {shape} times {batch_size} is too large: at most 2^30 sites along an axis, and as many grids; "
            "use a smaller field or batch"
        )
    if (sites := prod(shape) * batch_size) > _LARGEST_COUNT:
        raise InputError(
            f"a grid of {shape} times {batch_size} is too large: {sites} sites, at most 2^63 - 1; use a smaller field "
            "or batch"
        )


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution or pool.

    On each axis, input site ``i`` meets output site ``o`` through kernel offset ``k`` when::

        i = o * stride + k * dilation - padding,      0 <= k < kernel

    All values are in voxels, ordered (z, y, x).
    """

    kernel: Triple
    stride: Triple = (1, 1, 1)
    padding: Triple = (0, 0, 0)
    dilation: Triple = (1, 1, 1)

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "dilation"):
            if min(getattr(self, name)) < 1:
                raise ValueError(f"{name} must be at least 1 on every axis, got {getattr(self, name)}")
        if min(self.padding) < 0:
            raise InputError(f"padding must not be negative on any axis, got {self.padding}")
        for name in ("kernel", "stride", "padding", "dilation"):
            if max(getattr(self, name)) > _LARGEST_WINDOW:
                raise InputError(f"{name} must be at most 2^30 on every axis, got {getattr(self, name)}")

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # looked up at every pass of every layer
        return hash((self.kernel, self.stride, self.padding, self.dilation))

    @classmethod
    def submanifold(cls, kernel: Triple, dilation: Triple = (1, 1, 1)) -> Window:
        """Stride 1, centred on the output site; an even kernel reaches one site further back than forward."""
        z, y, x = (k // 2 * d for k, d in zip(kernel, dilation, strict=True))
        return cls(kernel, (1, 1, 1), (z, y, x), dilation)

    @property
    def volume(self) -> int:
        """Number of kernel offsets."""
        return prod(self.kernel)

    def offsets(self) -> Iterator[Triple]:
        """The kernel offsets (kz, ky, kx) in raster order: the order of a weight's middle axes."""
        yield from product(*(range(k) for k in self.kernel))

    def output_shape(self, shape: Triple) -> Triple:
        """The grid that a convolution or pool over ``shape`` makes."""
        z, y, x = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(shape, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        )
        if min(z, y, x) < 1:
            raise ValueError(f"a grid of {shape} is too small for {self}; use a larger field or more padding")
        return z, y, x

    def over(self, shape: Triple, batch_size: int) -> Geometry:
        """The geometry of a convolution or pool over grids of this shape."""
        return Geometry(self, batch_size, shape, self.output_shape(shape))

    def within(self, shape: Triple, batch_size: int) -> Geometry:
        """The geometry of a submanifold convolution: from a grid to itself."""
        return Geometry(self, batch_size, shape, shape)

    def transposed_output_shape(self, shape: Triple, output_padding: Triple = (0, 0, 0)) -> Triple:
        """The grid that a transposed convolution over ``shape`` makes."""
        z, y, x = (
            (n - 1) * s - 2 * p + d * (k - 1) + 1 + extra
            for n, k, s, p, d, extra in zip(
                shape, self.kernel, self.stride, self.padding, self.dilation, output_padding, strict=True
            )
        )
        if min(z, y, x) < 1:
            raise ValueError(f"a transposed {self} over a grid of {shape} leaves nothing; use less padding")
        return z, y, x


@dataclass(frozen=True)
class Geometry:
    """Where an operator reads and writes: the window, the two grids and the number of volumes.

    ``transposed`` swaps the roles of input and output in the window's formula.
    """

    window: Window
    batch_size: int
    in_shape: Triple
    out_shape: Triple
    transposed: bool = False

    def __post_init__(self) -> None:
        check_grid(self.in_shape, self.batch_size)
        check_grid(self.out_shape, self.batch_size)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.window, self.batch_size, self.in_shape, self.out_shape, self.transposed))

    def pack(self) -> list[int]:
        """As 20 integers: what an operator's schema can carry."""
        w = self.window
        sizes = (*w.kernel, *w.stride, *w.padding, *w.dilation, *self.in_shape, *self.out_shape)
        return [*sizes, self.batch_size, int(self.transposed)]

    @classmethod
    def unpack(cls, numbers: Sequence[int]) -> Geometry:
        """The inverse of :meth:`pack`; ``InputError`` if there are other than 20 numbers."""
        if len(numbers) != _PACKED:
            raise InputError(f"a packed geometry has {_PACKED} integers, got {len(numbers)}; use Geometry.pack()")
        kernel, stride, padding, dilation, in_shape, out_shape = (
            (numbers[3 * i], numbers[3 * i + 1], numbers[3 * i + 2]) for i in range(6)
        )
        return cls(Window(kernel, stride, padding, dilation), numbers[18], in_shape, out_shape, bool(numbers[19]))
