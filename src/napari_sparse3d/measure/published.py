"""What was published, or computed independently, about how deepC2 fills up: percent active after each layer.

The first two rows are those of the PySparseConvNet work (2017); the last was computed for this project on a dense mask
of the MNI152 T1 head (2009 symmetric, as packaged with nilearn) with recipe ``mri-110``, by code that shares nothing
with it.
"""

from __future__ import annotations

DEEPC2_LAYERS = (
    "input",
    "conv1",
    "pool1",
    "conv2",
    "pool2",
    "conv3",
    "pool3",
    "conv4",
    "pool4",
    "conv5",
    "pool5",
    "conv6",
)

MODELNET40_MEAN = (0.18, 0.35, 0.69, 1.07, 1.93, 3.26, 7.32, 15.14, 46.30, 97.54, 100.0, 100.0)
"""Mean over ModelNet40, longest side of 40 voxels; percent active."""

MRI_PUBLISHED = (9.76, 10.75, 12.59, 14.94, 19.62, 26.49, 41.47, 64.55, 95.21, 100.0, 100.0, 100.0)
"""A head MRI, longest side of 110 voxels; percent active."""

MNI152_REFERENCE = (9.76, 10.80, 12.66, 15.04, 19.74, 26.70, 42.64, 68.27, 99.54, 100.0, 100.0, 100.0)
"""MNI152 T1 with recipe ``mri-110``; percent active."""
