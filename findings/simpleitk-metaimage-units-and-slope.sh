#!/usr/bin/env bash
# SimpleITK 2.5.7: of a MetaImage header, DistanceUnits and ElementToIntensityFunctionSlope and Offset change nothing: 500 um
# are read as 500 mm, stored values are taken for intensities, and a file without any spacing gets 1 mm.
# It surprises because all are fields of the format, read without a word, in a library whose spacings are millimetres.
# So: read the header yourself, convert the unit and the values, and call a spacing that is not there unknown.
set -euo pipefail
source "$(dirname "$0")/run"
use SimpleITK==2.5.7 numpy==2.4.6
python - <<'PYTHON'
import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version.VersionString())


def read(*fields):
    """Read a MetaImage of 4 x 5 x 6 voxels, each 100, with the further fields."""
    header = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False", "CompressedData = False"]
    header += [*fields, "DimSize = 4 5 6", "ElementType = MET_SHORT", "ElementDataFile = LOCAL", ""]
    with open("image.mha", "wb") as opened:
        opened.write("\n".join(header).encode() + np.full(4 * 5 * 6, 100, "<i2").tobytes())
    image = sitk.ReadImage("image.mha")
    print(f"{', '.join(fields) or 'no spacing'}: spacing {image.GetSpacing()}, value {image.GetPixel(0, 0, 0)}")
    return image


assert read("DistanceUnits = um", "ElementSpacing = 500 500 500").GetSpacing() == (500, 500, 500)
assert read("ElementToIntensityFunctionSlope = 2", "ElementToIntensityFunctionOffset = -1024").GetPixel(0, 0, 0) == 100
assert read().GetSpacing() == (1, 1, 1)
PYTHON
