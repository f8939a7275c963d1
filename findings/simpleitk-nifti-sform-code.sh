#!/usr/bin/env bash
# SimpleITK 2.5.7: of a NIfTI file with both forms, the sform is taken only where sform_code is 1. With 2, 3 or 4 (aligned,
# Talairach, MNI) the image lies where the qform says, and nothing is printed.
# It surprises because the sform is what nibabel and most neuroimaging tools take for every code above 0: one file, two places.
# So: read the codes and both matrices from the header, take one by a rule of your own, and say so where the two disagree.
set -euo pipefail
source "$(dirname "$0")/run"
use SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.4.6
python - <<'PYTHON'
import nibabel
import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version.VersionString(), "and nibabel", nibabel.__version__)
qform = np.diag([2.0, 2.0, 2.0, 1.0])
sform = np.diag([2.0, 2.0, 2.0, 1.0])
sform[:3, 3] = 50, 60, 70
for code in 1, 2, 3, 4:
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), sform)
    image.header.set_xyzt_units("mm")
    image.set_qform(qform, 1)
    image.set_sform(sform, code)
    nibabel.save(image, "both.nii")

    x, y, z = sitk.ReadImage("both.nii").GetOrigin()
    seen = np.array([-x, -y, z])  # SimpleITK's axes point to the left and the back, NIfTI's to the right and the front
    print(f"sform_code {code}: SimpleITK's first voxel is at {seen + 0.0}, nibabel's at {nibabel.load('both.nii').affine[:3, 3]}")
    assert np.allclose(nibabel.load("both.nii").affine, sform)
    assert np.allclose(seen, sform[:3, 3] if code == 1 else qform[:3, 3])
PYTHON
