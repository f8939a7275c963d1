#!/usr/bin/env bash
# SimpleITK 2.5.7: of a NRRD file that places its axes by "axis mins" and "axis maxs", the origin comes out right and the spacing is
# 1, silently.
# It surprises because the two and the centering define the spacing ((max - min) / size for cells, / (size - 1) for nodes), and
# because it is even computed: with cells, the origin lies half of it behind "axis mins".
# So: read the header's own fields, and refuse a file whose spacing nobody states.
set -euo pipefail
source "$(dirname "$0")/run"
use SimpleITK==2.5.7 numpy==2.4.6
python - <<'PYTHON'
import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version.VersionString())
sizes, mins, spacing = np.array([4, 5, 6]), np.array([10, 20, 30]), np.array([2, 2, 2.5])
for centering in "node", "cell":
    maxs = mins + spacing * (sizes - (centering == "node"))
    fields = [
        "NRRD0004", "type: short", "dimension: 3", "encoding: raw", "endian: little",
        "sizes: " + " ".join(map(str, sizes)), "kinds: domain domain domain",
        "axis mins: " + " ".join(map(str, mins)), "axis maxs: " + " ".join(map(str, maxs)),
        "centerings: " + " ".join([centering] * 3), 'units: "mm" "mm" "mm"',
    ]
    with open("extent.nrrd", "wb") as opened:
        opened.write("\n".join([*fields, "", ""]).encode() + np.zeros(sizes.prod(), "<i2").tobytes())

    image = sitk.ReadImage("extent.nrrd")
    print(f"{centering}s from {mins} to {maxs}, a spacing of {spacing}: spacing {image.GetSpacing()}, origin {image.GetOrigin()}")
    assert image.GetSpacing() == (1, 1, 1)
    assert np.allclose(image.GetOrigin(), mins + (spacing / 2 if centering == "cell" else 0))
PYTHON
