"""Made by `make stub` from kernels/binding; not to be edited."""

from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray

class Geometry:
    """
    Which input meets which output: i = o * stride + k * dilation - padding.
    """

    def __init__(
        self,
        *,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        batch_size: int,
        transposed: bool,
    ) -> None: ...

class LayerGeometry:
    """Of a convolution in a chain, and of the max pool after it."""

    def __init__(self, *, convolution: Geometry, submanifold: bool, pool: Geometry | None) -> None: ...

class SiteIndex:
    """Which cells of a batch of grids are stored."""

    @property
    def count(self) -> int: ...
    def write(self, *, indices: int, threads: int) -> None:
        """indices (count, 4) int32 [b, z, y, x], raster order."""

def index_sites(*, indices: int, rows: int, batch_size: int, shape: Sequence[int], threads: int) -> SiteIndex:
    """
    indices (rows, 4) int32 [b, z, y, x], in any order; ValueError if one is outside the grid or stands twice.
    """

def fingerprint(*, indices: int, rows: int) -> int:
    """
    A number for what stands in indices (rows, 4) int32: another where they were filled anew.
    """

def output_sites(*, inputs: SiteIndex, geometry: Geometry, threads: int) -> SiteIndex:
    """Every output site that has an input site in its window; raster order."""

class Plan:
    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    @property
    def volume(self) -> int: ...
    @property
    def kernel(self) -> tuple[int, int, int]: ...
    def reads(self, before: Plan) -> bool:
        """Whether its inputs are the outputs of another."""

    def write_neighbours(self, *, rows: int, threads: int) -> None:
        """rows (volume, outputs) int32: the input row, or -1."""

def make_plan(*, inputs: SiteIndex, outputs: SiteIndex, geometry: Geometry) -> Plan: ...

class Chain:
    @property
    def inputs(self) -> int: ...
    @property
    def kernels(self) -> list[tuple[int, int, int]]: ...
    @property
    def outputs(self) -> int: ...
    @property
    def sites(self) -> SiteIndex: ...

def plan_chain(*, inputs: SiteIndex, layers: Sequence[LayerGeometry], threads: int) -> Chain: ...

class Layer:
    """
    weight (c_out, kz, ky, kx, c_in), bias (c_out) or 0; a slope of 1: no activation.
    """

    def __init__(self, *, weight: int, bias: int, c_in: int, c_out: int, slope: float) -> None: ...

class LayerGradients:
    """Where they are written; 0 for one that nobody asks for."""

    def __init__(self, *, weight: int, bias: int) -> None: ...

class Float32:
    """
    The operators for one type; arrays are addresses, 0 for one that is absent.
    """

    @staticmethod
    def convolution(
        *,
        plan: Plan,
        layer: Layer,
        features: int,
        background: int,
        bfloat16: bool,
        result: int,
        result_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def convolution_backward(
        *,
        plan: Plan,
        layer: Layer,
        features: int,
        background: int,
        grad: int,
        grad_background: int,
        g_features: int,
        g_weight: int,
        g_bias: int,
        g_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def pooled_convolution(
        *,
        plan: Plan,
        pool_plan: Plan,
        layer: Layer,
        features: int,
        background: int,
        bfloat16: bool,
        result: int,
        rows: int,
        result_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def pooled_convolution_backward(
        *,
        plan: Plan,
        pool_plan: Plan,
        layer: Layer,
        features: int,
        background: int,
        rows: int,
        grad: int,
        grad_background: int,
        g_features: int,
        g_weight: int,
        g_bias: int,
        g_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def convolution_chain(
        *,
        chain: Chain,
        layers: Sequence[Layer],
        features: int,
        background: int,
        bfloat16: bool,
        result: int,
        result_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def convolution_chain_kept_bytes(*, chain: Chain, layers: Sequence[Layer]) -> int:
        """How large `kept` is: what the layers make, but for the last one."""

    @staticmethod
    def convolution_chain_kept(
        *,
        chain: Chain,
        layers: Sequence[Layer],
        features: int,
        background: int,
        kept: int,
        result: int,
        result_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def convolution_chain_backward(
        *,
        chain: Chain,
        layers: Sequence[Layer],
        features: int,
        background: int,
        kept: int,
        result: int,
        result_background: int,
        grad: int,
        grad_background: int,
        g_features: int,
        g_background: int,
        g_layers: Sequence[LayerGradients],
        threads: int,
    ) -> None: ...
    @staticmethod
    def leaky_relu_backward(*, grad: int, values: int, slope: float, count: int, result: int, threads: int) -> None: ...
    @staticmethod
    def scale_rows(
        *,
        features: int,
        scale: int,
        shift: int,
        other: int,
        rows: int,
        channels: int,
        slope: float,
        result: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def row_statistics(*, features: int, rows: int, channels: int, mean: int, variance: int, threads: int) -> None: ...
    @staticmethod
    def normalized_rows_backward(
        *,
        grad: int,
        values: int,
        features: int,
        mean: int,
        deviation: int,
        weight: int,
        rows: int,
        channels: int,
        slope: float,
        g_features: int,
        g_other: int,
        g_weight: int,
        g_bias: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def max_pool(
        *, plan: Plan, features: int, background: int, channels: int, values: int, rows: int, threads: int
    ) -> None: ...
    @staticmethod
    def max_pool_backward(
        *, plan: Plan, grad: int, rows: int, channels: int, g_features: int, g_background: int, threads: int
    ) -> None: ...
    @staticmethod
    def avg_pool(*, plan: Plan, features: int, background: int, channels: int, values: int, threads: int) -> None: ...
    @staticmethod
    def avg_pool_backward(
        *, plan: Plan, grad: int, channels: int, over_active: bool, g_features: int, g_background: int, threads: int
    ) -> None: ...

class Float64:
    """
    The operators for one type; arrays are addresses, 0 for one that is absent.
    """

    @staticmethod
    def convolution(
        *,
        plan: Plan,
        layer: Layer,
        features: int,
        background: int,
        bfloat16: bool,
        result: int,
        result_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def convolution_backward(
        *,
        plan: Plan,
        layer: Layer,
        features: int,
        background: int,
        grad: int,
        grad_background: int,
        g_features: int,
        g_weight: int,
        g_bias: int,
        g_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def pooled_convolution(
        *,
        plan: Plan,
        pool_plan: Plan,
        layer: Layer,
        features: int,
        background: int,
        bfloat16: bool,
        result: int,
        rows: int,
        result_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def pooled_convolution_backward(
        *,
        plan: Plan,
        pool_plan: Plan,
        layer: Layer,
        features: int,
        background: int,
        rows: int,
        grad: int,
        grad_background: int,
        g_features: int,
        g_weight: int,
        g_bias: int,
        g_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def convolution_chain(
        *,
        chain: Chain,
        layers: Sequence[Layer],
        features: int,
        background: int,
        bfloat16: bool,
        result: int,
        result_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def convolution_chain_kept_bytes(*, chain: Chain, layers: Sequence[Layer]) -> int:
        """How large `kept` is: what the layers make, but for the last one."""

    @staticmethod
    def convolution_chain_kept(
        *,
        chain: Chain,
        layers: Sequence[Layer],
        features: int,
        background: int,
        kept: int,
        result: int,
        result_background: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def convolution_chain_backward(
        *,
        chain: Chain,
        layers: Sequence[Layer],
        features: int,
        background: int,
        kept: int,
        result: int,
        result_background: int,
        grad: int,
        grad_background: int,
        g_features: int,
        g_background: int,
        g_layers: Sequence[LayerGradients],
        threads: int,
    ) -> None: ...
    @staticmethod
    def leaky_relu_backward(*, grad: int, values: int, slope: float, count: int, result: int, threads: int) -> None: ...
    @staticmethod
    def scale_rows(
        *,
        features: int,
        scale: int,
        shift: int,
        other: int,
        rows: int,
        channels: int,
        slope: float,
        result: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def row_statistics(*, features: int, rows: int, channels: int, mean: int, variance: int, threads: int) -> None: ...
    @staticmethod
    def normalized_rows_backward(
        *,
        grad: int,
        values: int,
        features: int,
        mean: int,
        deviation: int,
        weight: int,
        rows: int,
        channels: int,
        slope: float,
        g_features: int,
        g_other: int,
        g_weight: int,
        g_bias: int,
        threads: int,
    ) -> None: ...
    @staticmethod
    def max_pool(
        *, plan: Plan, features: int, background: int, channels: int, values: int, rows: int, threads: int
    ) -> None: ...
    @staticmethod
    def max_pool_backward(
        *, plan: Plan, grad: int, rows: int, channels: int, g_features: int, g_background: int, threads: int
    ) -> None: ...
    @staticmethod
    def avg_pool(*, plan: Plan, features: int, background: int, channels: int, values: int, threads: int) -> None: ...
    @staticmethod
    def avg_pool_backward(
        *, plan: Plan, grad: int, channels: int, over_active: bool, g_features: int, g_background: int, threads: int
    ) -> None: ...

class Step:
    """
    Makes the next value of a network from values before it; value 0 is the input.
    """

    def __init__(
        self,
        *,
        kind: str,
        input: int,
        window: Geometry | None = None,
        at: int = -1,
        pool: Geometry | None = None,
        other: int = -1,
    ) -> None: ...

class StepWeights:
    """
    weight (c_out, kz, ky, kx, c_in) or a scale (c_out), bias (c_out); 0 for none.
    """

    def __init__(self, *, weight: int, bias: int, c_in: int, c_out: int, slope: float) -> None: ...

class NetworkPlan:
    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    @property
    def sites(self) -> SiteIndex: ...

def plan_network(*, inputs: SiteIndex, steps: Sequence[Step], threads: int) -> NetworkPlan: ...

class Network32:
    """The weights of a network, copied."""

    def __init__(self, *, steps: Sequence[Step], weights: Sequence[StepWeights]) -> None: ...
    def run(
        self, *, plan: NetworkPlan, features: int, background: int, result: int, result_background: int, threads: int
    ) -> float:
        """A bound of all magnitudes on the way; infinite where none is known."""

class Network64:
    """The weights of a network, copied."""

    def __init__(self, *, steps: Sequence[Step], weights: Sequence[StepWeights]) -> None: ...
    def run(
        self, *, plan: NetworkPlan, features: int, background: int, result: int, result_background: int, threads: int
    ) -> float:
        """A bound of all magnitudes on the way; infinite where none is known."""

def fingerprint_arrays(arrays: Sequence[tuple[int, int]]) -> int:
    """
    A number for what stands in arrays, each an address and its bytes: words of four.
    """

class VoxelsUInt8:
    """
    Voxels with low <= value <= high; shape and strides (bytes) are (z, y, x).
    """

    @staticmethod
    def count(
        *, data: int, shape: Sequence[int], strides: Sequence[int], low: float, high: float, threads: int
    ) -> int: ...
    @staticmethod
    def find(
        *,
        data: int,
        shape: Sequence[int],
        strides: Sequence[int],
        low: float,
        high: float,
        capacity: int,
        indices: int,
        values: int,
        bitmap: int,
        threads: int,
    ) -> int:
        """
        How many there are; indices (capacity, 3) int32 and values (capacity) float32 are of use if that is no more than capacity.
        """

class VoxelsInt16:
    """
    Voxels with low <= value <= high; shape and strides (bytes) are (z, y, x).
    """

    @staticmethod
    def count(
        *, data: int, shape: Sequence[int], strides: Sequence[int], low: float, high: float, threads: int
    ) -> int: ...
    @staticmethod
    def find(
        *,
        data: int,
        shape: Sequence[int],
        strides: Sequence[int],
        low: float,
        high: float,
        capacity: int,
        indices: int,
        values: int,
        bitmap: int,
        threads: int,
    ) -> int:
        """
        How many there are; indices (capacity, 3) int32 and values (capacity) float32 are of use if that is no more than capacity.
        """

class VoxelsUInt16:
    """
    Voxels with low <= value <= high; shape and strides (bytes) are (z, y, x).
    """

    @staticmethod
    def count(
        *, data: int, shape: Sequence[int], strides: Sequence[int], low: float, high: float, threads: int
    ) -> int: ...
    @staticmethod
    def find(
        *,
        data: int,
        shape: Sequence[int],
        strides: Sequence[int],
        low: float,
        high: float,
        capacity: int,
        indices: int,
        values: int,
        bitmap: int,
        threads: int,
    ) -> int:
        """
        How many there are; indices (capacity, 3) int32 and values (capacity) float32 are of use if that is no more than capacity.
        """

class VoxelsFloat32:
    """
    Voxels with low <= value <= high; shape and strides (bytes) are (z, y, x).
    """

    @staticmethod
    def count(
        *, data: int, shape: Sequence[int], strides: Sequence[int], low: float, high: float, threads: int
    ) -> int: ...
    @staticmethod
    def find(
        *,
        data: int,
        shape: Sequence[int],
        strides: Sequence[int],
        low: float,
        high: float,
        capacity: int,
        indices: int,
        values: int,
        bitmap: int,
        threads: int,
    ) -> int:
        """
        How many there are; indices (capacity, 3) int32 and values (capacity) float32 are of use if that is no more than capacity.
        """

def new_bytes(bytes: int) -> Annotated[NDArray[numpy.uint8], dict(shape=(None,))]: ...
def new_rows(rows: int) -> Annotated[NDArray[numpy.int32], dict(shape=(None, None))]: ...
def new_values(count: int) -> Annotated[NDArray[numpy.float32], dict(shape=(None,))]: ...
def instruction_set() -> str:
    """The one in use; ValueError if NAPARI_SPARSE3D_ISA asks for another."""

def multiplies_bfloat16() -> bool:
    """Whether it has an instruction for products of bfloat16."""

def trim() -> None:
    """Give back the scratch memory that is kept between calls."""

def scratch_bytes() -> int:
    """How much is kept."""
