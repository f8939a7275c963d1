"""A stranger's package: a network whose classes are lengths of capsules, with a head and a loss of its own, and a way
to say what drove a class. Its descriptors import neither torch nor anything heavy; its parts do.
"""

from napari_sparse3d.catalog import ArchitectureInfo, AttributionInfo, LossInfo

LENGTHS = ArchitectureInfo(
    name="lengths",
    title="lengths of capsules",
    description="one convolution, one capsule a class",
    home="stranger_network.network:LengthNet",
    recipe="shape-40",
    arguments={"field": 16, "capsule": 4},
    loss="length-margin",
)
LENGTH_MARGIN = LossInfo(
    name="length-margin",
    title="margin of lengths",
    description="long for the true class, short for the others",
    home="stranger_network.loss:LengthMargin",
)
ONE_LEFT_OUT = AttributionInfo(
    name="one left out",
    title="one voxel left out",
    description="the answer without each voxel",
    home="stranger_network.attribution:one_left_out",
)
