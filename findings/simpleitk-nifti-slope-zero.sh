#!/usr/bin/env bash
# SimpleITK 2.5.7: of a NIfTI file with scl_slope 0, it still adds scl_inter to every voxel, and gives floats.
# It surprises because nifti1.h scales only "if the scl_slope field is nonzero": with 0, stored values are the values, whatever
# scl_inter holds. nibabel reads them so; a CT comes out 1024 lower in one of the two.
# So: read scl_slope and scl_inter from the header, and scale by nobody's default.
set -euo pipefail
source "$(dirname "$0")/run"
use SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.4.6
python - <<'PYTHON'
import struct

import nibabel
import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version.VersionString(), "and nibabel", nibabel.__version__)
file = bytearray(nibabel.Nifti1Image(np.full((2, 3, 4), 100, np.int16), np.eye(4)).to_bytes())
struct.pack_into("<2f", file, 112, 0.0, -1024.0)  # scl_slope, scl_inter
with open("slope0.nii", "wb") as opened:
    opened.write(file)

image = sitk.ReadImage("slope0.nii")
value = image.GetPixel(0, 0, 0)
reference = nibabel.load("slope0.nii").get_fdata()[0, 0, 0]
print(f"stored 100, scl_slope 0, scl_inter -1024: SimpleITK {value} ({image.GetPixelIDTypeAsString()}), nibabel {reference}")
assert value == 100 - 1024
assert reference == 100
PYTHON
