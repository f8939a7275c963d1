"""The engine of this project: C++ kernels for the CPU (see ``docs/kernels.md``).

``NAPARI_SPARSE3D_ISA`` (``baseline``, ``avx2``, ``avx512`` or ``avx512_bf16``; on 64-bit Arm ``neon``) forces an
instruction set. The number of threads is torch's. Under ``torch.autocast("cpu", torch.bfloat16)``, without gradients,
products of convolutions are those of bfloat16 where the processor has an instruction for them (``avx512_bf16``); sums
stay float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from napari_sparse3d import _kernels
from napari_sparse3d.errors import InputError, TensorTypeError
from napari_sparse3d.sparse.arrays import (
    Sized,
    channels_of,
    channels_of_weight,
    check_eps,
    check_indices,
    check_sizes,
    check_slope,
)
from napari_sparse3d.sparse.engine import Engine, Fused, FusedChain, Layer, Normalized, Place, scale_and_shift
from napari_sparse3d.sparse.kept import kept, version
from napari_sparse3d.sparse.window import Geometry, Triple, check_grid
from napari_sparse3d.voxels.instruction_set import instruction_set

_INDEX = "native index"  # under which a tensor's is kept
_NO_ACTIVATION = 1.0  # as the slope of a leaky ReLU
_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}
_KERNELS = {
    dtype: {
        name: getattr(_kernels, f"{name}_{suffix}")
        for name in (
            "convolution",
            "convolution_chain",
            "convolution_chain_kept",
            "convolution_chain_kept_bytes",
            "convolution_chain_backward",
            "convolution_backward",
            "leaky_relu_backward",
            "scale_rows",
            "row_statistics",
            "normalized_rows_backward",
            "pooled_convolution",
            "pooled_convolution_backward",
            "max_pool",
            "max_pool_backward",
            "avg_pool",
            "avg_pool_backward",
        )
    }
    for dtype, suffix in _SUFFIX.items()
}


class NativeEngine(Engine):
    """C++ kernels on CPU tensors of float32 (fast) or float64 (for checking gradients).

    Raises
    ------
    InputError
        If one of our environment variables cannot be used.
    EngineError
        If ``NAPARI_SPARSE3D_ISA`` asks for an instruction set that this processor lacks.
    """

    name: ClassVar[str] = "native"
    normalizes: ClassVar[bool] = True
    chains: ClassVar[bool] = True

    def __init__(self) -> None:
        self.instruction_set = instruction_set()
        self._multiplies_bfloat16: bool = _kernels.multiplies_bfloat16()

    def check_sites(self, indices: Tensor, batch_size: int, shape: Triple) -> None:  # noqa: D102
        _index(indices, batch_size, shape)

    def output_sites(self, indices: Tensor, geometry: Geometry) -> Tensor:  # noqa: D102
        threads = torch.get_num_threads()
        sites = _index(indices, geometry.batch_size, geometry.in_shape)
        index = _asked(_kernels.output_sites, sites, geometry.packed, threads)
        return _written(index, geometry.batch_size, geometry.out_shape)

    def plan(self, in_indices: Tensor, out_indices: Tensor, geometry: Geometry) -> Any:  # noqa: D102
        return _asked(
            _kernels.make_plan,
            _index(in_indices, geometry.batch_size, geometry.in_shape),
            _index(out_indices, geometry.batch_size, geometry.out_shape),
            geometry.packed,
        )

    def neighbours(self, plan: Any) -> Tensor:
        """The plan written out: (kernel volume, M) int32, the input row of each offset and output row, or -1."""
        rows = torch.empty((plan.volume, plan.outputs), dtype=torch.int32)
        plan.write_neighbours(rows.data_ptr(), torch.get_num_threads())
        return rows

    def convolution(  # noqa: D102
        self, features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None, plan: Any
    ) -> Tensor:
        return self.fused_convolution(features, weight, bias, background, plan).values

    def convolution_backward(  # noqa: D102
        self,
        grad: Tensor,
        features: Tensor,
        weight: Tensor,
        background: Tensor | None,
        plan: Any,
        *,
        of_features: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        made = Fused(grad, None, None)  # without an activation nothing looks at the values
        return self.fused_convolution_backward(
            grad, None, made, features, weight, background, plan, of_features=of_features
        )

    def fused_convolution(  # noqa: D102
        self,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        background: Tensor | None,
        plan: Any,
        *,
        slope: float = _NO_ACTIVATION,
        pool_plan: Any = None,
        for_backward: bool = True,
    ) -> Fused:
        check_slope(slope)
        c_out, c_in = channels_of_weight(weight)
        if pool_plan is not None:
            _check_pool(plan, pool_plan)
        features, weight, bias, background = _ready(
            [("features", features, (plan.inputs, c_in)), ("weight", weight, (c_out, *plan.kernel, c_in))],
            [("bias", bias, (c_out,)), ("background", background, (c_in,))],
        )
        rows = None
        made_background = None if background is None else features.new_empty(c_out)
        given = (
            plan,
            features.data_ptr(),
            weight.data_ptr(),
            _address(bias),
            _address(background),
            c_in,
            c_out,
            slope,
            not for_backward and self._rounds(),
        )
        kernels, threads = _KERNELS[features.dtype], torch.get_num_threads()
        if pool_plan is None:
            values = features.new_empty((plan.outputs, c_out))
            kernels["convolution"](*given, values.data_ptr(), _address(made_background), threads)
        else:
            values = features.new_empty((pool_plan.outputs, c_out))
            rows = torch.empty((pool_plan.outputs, c_out), dtype=torch.int32) if for_backward else None
            kernels["pooled_convolution"](
                *given, pool_plan, values.data_ptr(), _address(rows), _address(made_background), threads
            )
        return Fused(values, rows, made_background)

    def plan_chain(self, indices: Tensor, places: Sequence[Place]) -> tuple[Tensor | None, Any]:  # noqa: D102
        first, threads = places[0].geometry, torch.get_num_threads()
        packed = [(each.packed, stays, None if pool is None else pool.packed) for each, stays, pool in places]
        plan = _asked(_kernels.plan_chain, _index(indices, first.batch_size, first.in_shape), packed, threads)
        if all(place.submanifold and place.pool is None for place in places):
            return None, plan
        return _written(plan.sites, first.batch_size, places[-1].out_shape), plan

    def run_chain(  # noqa: D102
        self, features: Tensor, background: Tensor | None, layers: Sequence[Layer], plan: Any
    ) -> tuple[Tensor, Tensor | None]:
        features, background, given, _held = _ready_chain(features, background, layers, plan)
        values, made_background = _result_of_chain(features, background, layers, plan)
        _KERNELS[features.dtype]["convolution_chain"](
            plan,
            given,
            features.data_ptr(),
            _address(background),
            self._rounds(),
            values.data_ptr(),
            _address(made_background),
            torch.get_num_threads(),
        )
        return values, made_background

    def run_chain_for_backward(  # noqa: D102
        self, features: Tensor, background: Tensor | None, layers: Sequence[Layer], plan: Any
    ) -> FusedChain:
        features, background, given, _held = _ready_chain(features, background, layers, plan)
        kernels = _KERNELS[features.dtype]
        values, made_background = _result_of_chain(features, background, layers, plan)
        between = torch.from_numpy(_kernels.new_bytes(kernels["convolution_chain_kept_bytes"](plan, given)))
        kernels["convolution_chain_kept"](
            plan,
            given,
            features.data_ptr(),
            _address(background),
            between.data_ptr(),
            values.data_ptr(),
            _address(made_background),
            torch.get_num_threads(),
        )
        return FusedChain(values, made_background, between)

    def run_chain_backward(  # noqa: D102
        self,
        grad: Tensor,
        grad_background: Tensor | None,
        made: FusedChain,
        features: Tensor,
        background: Tensor | None,
        layers: Sequence[Layer],
        plan: Any,
        needed: Sequence[bool],
    ) -> list[Tensor | None]:
        features, background, given, weights = _ready_chain(features, background, layers, plan)
        kernels = _KERNELS[features.dtype]
        made_shape, c_out = (plan.outputs, layers[-1].weight.shape[0]), layers[-1].weight.shape[0]
        has_background = [] if background is None else [("made.background", made.background, (c_out,))]
        grad, values, *others = _ready(
            [("grad", grad, made_shape), ("made.values", made.values, made_shape), *has_background],
            [("grad_background", grad_background, (c_out,))],
            dtype=features.dtype,
        )
        made_background, grad_background = (None, *others) if background is None else others
        kept_bytes = kernels["convolution_chain_kept_bytes"](plan, given)
        (between,) = _ready([("made.between", made.between, (kept_bytes,))], dtype=torch.uint8)
        found = [
            torch.empty_like(tensor) if asked and tensor is not None else None
            for tensor, asked in zip((features, background, *weights), needed, strict=True)
        ]
        g_features, g_background, *of_layers = map(_address, found)
        kernels["convolution_chain_backward"](
            plan,
            given,
            features.data_ptr(),
            _address(background),
            between.data_ptr(),
            values.data_ptr(),
            _address(made_background),
            grad.data_ptr(),
            _address(grad_background),
            g_features,
            g_background,
            list(zip(of_layers[::2], of_layers[1::2], strict=True)),
            torch.get_num_threads(),
        )
        return found

    def fused_convolution_backward(  # noqa: D102
        self,
        grad: Tensor,
        grad_background: Tensor | None,
        made: Fused,
        features: Tensor,
        weight: Tensor,
        background: Tensor | None,
        plan: Any,
        *,
        slope: float = _NO_ACTIVATION,
        pool_plan: Any = None,
        of_features: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        check_slope(slope)
        c_out, c_in = channels_of_weight(weight)
        if (pool_plan is None) != (made.rows is None):
            raise InputError("the rows of a max pool and its plan go together; give both or neither")
        if pool_plan is not None:
            _check_pool(plan, pool_plan)
        shape = ((plan if pool_plan is None else pool_plan).outputs, c_out)
        features, weight, grad, background, grad_background = _ready(
            [("features", features, (plan.inputs, c_in)), ("weight", weight, (c_out, *plan.kernel, c_in)),
             ("grad", grad, shape)],
            [("background", background, (c_in,)), ("grad_background", grad_background, (c_out,))],
        )  # fmt: skip
        grad, grad_background = self._before_activation(grad, grad_background, made, slope)
        g_features = torch.empty_like(features) if of_features else features.new_empty(0)
        g_weight = torch.empty_like(weight)
        g_bias = weight.new_empty(c_out)
        g_background = None if background is None else torch.zeros_like(background)
        given = (
            plan,
            grad.data_ptr(),
            _address(grad_background),
            features.data_ptr(),
            weight.data_ptr(),
            _address(background),
            c_in,
            c_out,
        )
        results = (
            g_features.data_ptr() if of_features else 0,
            g_weight.data_ptr(),
            g_bias.data_ptr(),
            _address(g_background) if of_features else 0,
            torch.get_num_threads(),
        )
        kernels = _KERNELS[features.dtype]
        if made.rows is None:
            kernels["convolution_backward"](*given, *results)
        else:
            (rows,) = _ready([("rows", made.rows, shape)], dtype=torch.int32)
            kernels["pooled_convolution_backward"](*given, pool_plan, rows.data_ptr(), *results)
        return g_features, g_weight, g_bias, g_background

    def _rounds(self) -> bool:
        """Whether products may be those of bfloat16."""
        return (
            self._multiplies_bfloat16
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") == torch.bfloat16
        )

    def leaky_relu_backward(self, grad: Tensor, values: Tensor, slope: float) -> Tensor:  # noqa: D102
        # not torch's: its threads would wait, spinning, beside ours
        check_slope(slope)
        shape = tuple(grad.shape)
        grad, values = _ready([("grad", grad, shape), ("values", values, shape)])
        result = torch.empty_like(grad)
        _KERNELS[grad.dtype]["leaky_relu_backward"](
            grad.data_ptr(), values.data_ptr(), slope, grad.numel(), result.data_ptr(), torch.get_num_threads()
        )
        return result

    def scale_rows(  # noqa: D102
        self,
        features: Tensor,
        scale: Tensor,
        shift: Tensor,
        other: Tensor | None,
        *,
        slope: float = _NO_ACTIVATION,
    ) -> Tensor:
        check_slope(slope)
        channels = (channels_of(features),)
        features, scale, shift, other = _ready(
            [("features", features, features.shape), ("scale", scale, channels), ("shift", shift, channels)],
            [("other", other, features.shape)],
        )
        result = torch.empty_like(features)
        _KERNELS[features.dtype]["scale_rows"](
            features.data_ptr(),
            scale.data_ptr(),
            shift.data_ptr(),
            _address(other),
            *features.shape,
            slope,
            result.data_ptr(),
            torch.get_num_threads(),
        )
        return result

    def batch_norm(  # noqa: D102
        self,
        features: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        other: Tensor | None,
        *,
        eps: float,
        slope: float = _NO_ACTIVATION,
    ) -> Normalized:
        check_eps(eps)
        channels = (channels_of(features),)
        if not len(features):
            raise InputError("the mean of no rows was asked for; batch normalisation needs at least one")
        features, weight, bias, other = _ready(
            [("features", features, features.shape)],
            [("weight", weight, channels), ("bias", bias, channels), ("other", other, features.shape)],
        )
        mean, variance = (features.new_empty(features.shape[1]) for _ in range(2))
        _KERNELS[features.dtype]["row_statistics"](
            features.data_ptr(), *features.shape, mean.data_ptr(), variance.data_ptr(), torch.get_num_threads()
        )
        scale, shift = scale_and_shift(mean, variance, weight, bias, eps)
        return Normalized(self.scale_rows(features, scale, shift, other, slope=slope), mean, variance)

    def batch_norm_backward(  # noqa: D102
        self,
        grad: Tensor,
        made: Normalized,
        features: Tensor,
        weight: Tensor | None,
        *,
        eps: float,
        slope: float = _NO_ACTIVATION,
        of_other: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        check_slope(slope)
        check_eps(eps)
        channels, shape = (channels_of(features),), features.shape
        features, grad, values, mean, variance, weight = _ready(
            [("features", features, shape), ("grad", grad, shape), ("values", made.values, shape),
             ("mean", made.mean, channels), ("variance", made.variance, channels)],
            [("weight", weight, channels)],
        )  # fmt: skip
        deviation = torch.sqrt(variance + eps)
        g_features = torch.empty_like(features)
        g_other = torch.empty_like(features) if of_other else None
        g_weight, g_bias = (features.new_empty(features.shape[1]) for _ in range(2))
        _KERNELS[features.dtype]["normalized_rows_backward"](
            grad.data_ptr(),
            0 if slope == _NO_ACTIVATION else values.data_ptr(),
            features.data_ptr(),
            mean.data_ptr(),
            deviation.data_ptr(),
            _address(weight),
            *features.shape,
            slope,
            g_features.data_ptr(),
            _address(g_other),
            g_weight.data_ptr(),
            g_bias.data_ptr(),
            torch.get_num_threads(),
        )
        return g_features, g_weight, g_bias, g_other

    def max_pool(self, features: Tensor, background: Tensor | None, plan: Any) -> tuple[Tensor, Tensor]:  # noqa: D102
        channels = channels_of(features)
        features, background = _ready(
            [("features", features, (plan.inputs, channels))], [("background", background, (channels,))]
        )
        values = features.new_empty((plan.outputs, channels))
        rows = torch.empty((plan.outputs, channels), dtype=torch.int32)
        _KERNELS[features.dtype]["max_pool"](
            plan,
            features.data_ptr(),
            _address(background),
            channels,
            values.data_ptr(),
            rows.data_ptr(),
            torch.get_num_threads(),
        )
        return values, rows

    def max_pool_backward(self, grad: Tensor, rows: Tensor, plan: Any) -> tuple[Tensor, Tensor]:  # noqa: D102
        channels = channels_of(grad, "grad")
        shape = (plan.outputs, channels)
        (grad,), (rows,) = _ready([("grad", grad, shape)]), _ready([("rows", rows, shape)], dtype=torch.int32)
        features, background = grad.new_empty((plan.inputs, channels)), grad.new_empty(channels)
        _KERNELS[grad.dtype]["max_pool_backward"](
            plan,
            grad.data_ptr(),
            rows.data_ptr(),
            channels,
            features.data_ptr(),
            background.data_ptr(),
            torch.get_num_threads(),
        )
        return features, background

    def avg_pool(self, features: Tensor, background: Tensor | None, plan: Any) -> Tensor:  # noqa: D102
        channels = channels_of(features)
        features, background = _ready(
            [("features", features, (plan.inputs, channels))], [("background", background, (channels,))]
        )
        values = features.new_empty((plan.outputs, channels))
        _KERNELS[features.dtype]["avg_pool"](
            plan,
            features.data_ptr(),
            _address(background),
            channels,
            values.data_ptr(),
            torch.get_num_threads(),
        )
        return values

    def avg_pool_backward(self, grad: Tensor, plan: Any, *, over_active: bool) -> tuple[Tensor, Tensor]:  # noqa: D102
        channels = channels_of(grad, "grad")
        (grad,) = _ready([("grad", grad, (plan.outputs, channels))])
        features, background = grad.new_empty((plan.inputs, channels)), grad.new_empty(channels)
        _KERNELS[grad.dtype]["avg_pool_backward"](
            plan,
            grad.data_ptr(),
            channels,
            over_active,
            features.data_ptr(),
            background.data_ptr(),
            torch.get_num_threads(),
        )
        return features, background


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _result_of_chain(
    features: Tensor, background: Tensor | None, layers: Sequence[Layer], plan: Any
) -> tuple[Tensor, Tensor | None]:
    """Room for the last layer's values and background."""
    dtype, c_out = features.dtype, layers[-1].weight.shape[0]
    values = torch.empty((plan.outputs, c_out), dtype=dtype)
    return values, None if background is None else torch.empty(c_out, dtype=dtype)


def _ready_chain(
    features: Tensor, background: Tensor | None, layers: Sequence[Layer], plan: Any
) -> tuple[Tensor, Tensor | None, list[tuple[int, int, int, int, float]], list[Tensor | None]]:
    """Features, background, the layers as the kernels take them, and their weights and biases, to be held meanwhile."""
    kernels = plan.kernels
    if len(kernels) != len(layers):
        raise InputError(f"the plan is one of {len(kernels)} layers, got {len(layers)}; plan the layers that are run")
    channels = channels_of(features)
    required: list[Sized] = [("features", features, (plan.inputs, channels))]
    optional: list[Sized] = [("background", background, (channels,))]
    sizes = []
    for (_, weight, bias, slope), kernel in zip(layers, kernels, strict=True):
        check_slope(slope)
        c_out, _ = channels_of_weight(weight)
        required.append(("weight", weight, (c_out, *kernel, channels)))
        optional.append(("bias", bias, (c_out,)))
        sizes.append((channels, c_out))
        channels = c_out
    ready = _ready(required, optional)
    weights, biases = ready[1 : len(required)], ready[len(required) + 1 :]
    given = [
        (weight.data_ptr(), _address(bias), *size, layer.slope)
        for layer, weight, bias, size in zip(layers, weights, biases, sizes, strict=True)
    ]
    return ready[0], ready[len(required)], given, [each for pair in zip(weights, biases, strict=True) for each in pair]


def _ready(required: Sequence[Sized], optional: Sequence[Sized] = (), *, dtype: torch.dtype | None = None) -> list[Any]:
    """The arrays of a call, contiguous and in order: what may be handed to the kernels as an address.

    Every array that a caller gives passes here, before its address is taken.

    Raises
    ------
    InputError
        If one has another size than stated, its memory is gone, or its type is not ``dtype`` (if None: that of the
        first, float32 or float64), or it does not lie in this machine's memory.
    """
    check_sizes(required, optional)
    given: list[Any] = [array for _, array, _ in (*required, *optional)]
    if dtype is None:
        dtype = given[0].dtype
        if dtype not in _SUFFIX:
            raise TensorTypeError(
                f"the native engine computes in float32 or float64, got {dtype}; convert the features"
            )
    for number, array in enumerate(given):
        if array is None:
            continue
        if not (array.dtype is dtype and array.is_cpu and array.layout is torch.strided):
            raise TensorTypeError(
                f"the native engine needs dense CPU tensors of one dtype, got {dtype} and {array.dtype} "
                f"on {array.device}; convert them, or choose another engine"
            )
        if array.is_neg():  # a view whose sign is still to be turned
            array = array.resolve_neg()
        array = given[number] = array.contiguous()
        if not array.data_ptr() and array.numel():
            raise InputError("the memory of a tensor was given back; copy the tensor before that")
    return given


def _check_pool(plan: Any, pool_plan: Any) -> None:
    if not pool_plan.reads(plan):
        raise InputError(
            f"the max pool reads {pool_plan.inputs} other sites than the {plan.outputs} that the convolution writes; "
            "plan it from the convolution's own"
        )


def _asked(make: Callable[..., Any], *arguments: Any) -> Any:
    """What the kernels make of sites; what they refuse is the caller's error."""
    try:
        return make(*arguments)
    except ValueError as error:
        raise InputError(str(error)) from None


# Every layer that meets the same tensor finds its index.
def _index(indices: Tensor, batch_size: int, shape: Triple) -> Any:
    check_indices(indices)
    held = kept(indices).get(_INDEX)
    key = (version(indices), batch_size, shape)
    if held is not None and held[0] == key:
        return held[1]
    (ready,) = _ready([("indices", indices, indices.shape)], dtype=torch.int32)
    check_grid(shape, batch_size)
    index = _asked(_kernels.index_sites, ready.data_ptr(), len(ready), batch_size, shape, torch.get_num_threads())
    _remember(indices, index, batch_size, shape)
    return index


def _written(index: Any, batch_size: int, shape: Triple) -> Tensor:
    """(N, 4): the sites of an index, which is kept for them."""
    sites = torch.empty((index.count, 4), dtype=torch.int32)
    index.write(sites.data_ptr(), torch.get_num_threads())
    _remember(sites, index, batch_size, shape)
    return sites


def _remember(indices: Tensor, index: Any, batch_size: int, shape: Triple) -> None:
    kept(indices)[_INDEX] = (version(indices), batch_size, shape), index
