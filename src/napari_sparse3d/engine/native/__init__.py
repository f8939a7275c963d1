"""The engine of this project: C++ kernels for the CPU (see ``docs/kernels.md``).

``NAPARI_SPARSE3D_ISA`` (``baseline``, ``avx2``, ``avx512`` or ``avx512_bf16``; on 64-bit Arm ``neon``) forces an
instruction set. The number of threads is torch's. Under ``torch.autocast("cpu", torch.bfloat16)``, without gradients,
products of convolutions are those of bfloat16 where the processor has an instruction for them (``avx512_bf16``); sums
stay float32.
"""

from napari_sparse3d.engine.native.engine import NativeEngine

__all__ = ["NativeEngine"]
