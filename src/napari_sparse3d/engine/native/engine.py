"""The engine: sites and plans, and what its parts compute."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from napari_sparse3d import _kernels
from napari_sparse3d.engine.native.arrays import asked
from napari_sparse3d.engine.native.chain import Chains
from napari_sparse3d.engine.native.convolution import Convolutions
from napari_sparse3d.engine.native.network import Networks
from napari_sparse3d.engine.native.norm import Norms
from napari_sparse3d.engine.native.pool import Pools
from napari_sparse3d.engine.native.sites import bound, index_of, sites_of
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry
from napari_sparse3d.voxels.instruction_set import instruction_set


class NativeEngine(Convolutions, Pools, Chains, Networks, Norms):
    """C++ kernels on CPU tensors of float32 (fast) or float64 (for checking gradients).

    Raises
    ------
    InputError
        If one of our environment variables cannot be used.
    EngineError
        If ``NAPARI_SPARSE3D_ISA`` asks for an instruction set that this processor lacks.
    """

    name: ClassVar[str] = "native"

    def __init__(self) -> None:
        self.instruction_set = instruction_set()

    def check_sites(self, sites: Sites) -> None:  # noqa: D102
        index_of(sites)

    def output_sites(self, sites: Sites, geometry: Geometry) -> Sites:  # noqa: D102
        index = asked(
            _kernels.output_sites,
            inputs=index_of(sites),
            geometry=bound(geometry),
            threads=torch.get_num_threads(),
        )
        return sites_of(index, geometry.out_shape, geometry.batch_size)

    def plan(self, sites: Sites, out: Sites, geometry: Geometry) -> _kernels.Plan:  # noqa: D102
        return asked(_kernels.make_plan, inputs=index_of(sites), outputs=index_of(out), geometry=bound(geometry))

    def neighbours(self, plan: _kernels.Plan) -> Tensor:
        """The plan written out: (kernel volume, M) int32, the input row of each offset and output row, or -1."""
        rows = torch.empty((plan.volume, plan.outputs), dtype=torch.int32, device="cpu")
        plan.write_neighbours(rows=rows.data_ptr(), threads=torch.get_num_threads())
        return rows
