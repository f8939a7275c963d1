"""A package of somebody else's that brings a preset, and recipes that use it: data, which imports nothing else."""

from napari_sparse3d.catalog import RecipeInfo, ThresholdInfo

AIRWAYS = ThresholdInfo(
    name="airways",
    title="Airways (CT)",
    description="air within the airways, and around the patient",
    values={"kind": "range", "low": -1024, "high": -950, "unit": "HU"},
)
RECIPES = [
    RecipeInfo(
        name="ct-airways-110",
        title="Airways CT (ct-airways-110)",
        description="air in CT, its longest side 110 voxels",
        values={
            "resample": {"kind": "longest_side", "voxels": 110},
            "threshold": {"kind": "preset", "name": "airways"},
            "components": {"keep": 2},
            "field": 126,
        },
    ),
]
