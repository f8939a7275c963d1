#!/usr/bin/env bash
# nibabel 5.4.2: `import nibabel` imports pydicom wherever it is installed, and with it pydicom's decoders, gdcm and requests.
# It surprises because a NIfTI file needs none of them: nibabel wants pydicom for the one header extension that holds DICOM, and says so
# by an optional import, which is done at once and not when such an extension is met.
# So: a command imports nibabel as on a machine without pydicom (src/napari_sparse3d/cli/optional_imports.py).
set -euo pipefail
source "$(dirname "$0")/run"
use nibabel==5.4.2 pydicom==3.0.2 numpy==2.4.6
python - <<'PYTHON'
import subprocess
import sys
import time


def seconds(statements: str) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", statements], check=True)
        times.append(time.perf_counter() - start)
    return sorted(times)[2]


subprocess.run([sys.executable, "-c", "import nibabel, sys; assert 'pydicom' in sys.modules"], check=True)
alone = "import sys; sys.modules['pydicom'] = None; import nibabel; assert not nibabel.nifti1.have_dicom"
print(f"import nibabel: {seconds('import nibabel'):.2f} s; with pydicom not to be found: {seconds(alone):.2f} s")
PYTHON
