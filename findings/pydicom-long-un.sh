#!/usr/bin/env bash
# pydicom 3.0.2: a public element of 64 KB or more that is stored as UN comes back as bytes, a shorter one as its known type, though
# config.replace_un_with_known_vr is said to be for all. Contour Data of many points is one: pydicom writes it so itself.
# It surprises because such lengths do not fit the explicit VR, so that UN is how they must be written (DICOM PS3.5, 6.2.2): the
# larger contours of a plan are bytes, the smaller ones numbers.
# So: convert what is UN and in the dictionary by its VR, whatever its length.
set -euo pipefail
source "$(dirname "$0")/run"
use pydicom==3.0.2
python - <<'PYTHON'
import io
import warnings

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

print("pydicom", pydicom.__version__)
warnings.simplefilter("ignore")  # pydicom says that it writes UN
for points, expected in ((1000, "DS"), (10000, "UN")):
    dataset = Dataset()
    dataset.ContourData = [1.5, 2.5, 3.5] * points
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stored = io.BytesIO()
    pydicom.dcmwrite(stored, dataset)
    stored.seek(0)
    element = pydicom.dcmread(stored, force=True)["ContourData"]
    print(f"{points} points: VR {element.VR}, {type(element.value).__name__} of length {len(element.value)}")
    assert element.VR == expected
    assert isinstance(element.value, bytes) == (expected == "UN")
PYTHON
