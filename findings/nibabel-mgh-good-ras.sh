#!/usr/bin/env bash
# nibabel 5.4.2: an MGH file whose goodRASFlag is 0 (its place is unknown) is read as 1 mm voxels in a default place, and the header
# then says goodRASFlag 1. Saved again, the file says 1 as well. The place is not even FreeSurfer's default (y to the feet, z to the
# front) but its transpose: y to the head, z to the back.
# It surprises because the one field that says "unknown" is overwritten by reading it: nothing tells a guess from a measurement.
# So: read bytes 28 and 29 of the file, and take neither size nor place where they are 0.
set -euo pipefail
source "$(dirname "$0")/run"
use nibabel==5.4.2 numpy==2.4.6
python - <<'PYTHON'
import struct

import nibabel
import numpy as np

print("nibabel", nibabel.__version__)
file = bytearray(nibabel.MGHImage(np.zeros((4, 4, 4), np.float32), np.diag([2.0, 2.0, 2.0, 1.0])).to_bytes())
struct.pack_into(">h", file, 28, 0)
with open("unknown.mgh", "wb") as opened:
    opened.write(file)

image = nibabel.load("unknown.mgh")
nibabel.save(image, "again.mgh")
with open("again.mgh", "rb") as opened:
    (again,) = struct.unpack_from(">h", opened.read(), 28)
print(f"goodRASFlag: 0 in the file, {int(image.header['goodRASFlag'])} in the header that was read, {again} in the file saved from it")
print(f"voxels of {image.header['delta'].tolist()} mm, the axes point to {nibabel.aff2axcodes(image.affine)}")
assert int(image.header["goodRASFlag"]) == 1 and again == 1
assert image.header["delta"].tolist() == [1, 1, 1]
assert nibabel.aff2axcodes(image.affine) == ("L", "S", "P")
PYTHON
