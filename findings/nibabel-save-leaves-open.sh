#!/usr/bin/env bash
# nibabel 5.4.2, Python 3.12 or later: where writing a .nii.gz fails (no room), nibabel.save raises and leaves the file open. A file packed by
# gzip then lives in a cycle of references, so that it stays open after the error is dealt with, until the garbage collector comes by.
# It surprises because the error is raised and the file can be removed, and the disk is as full as before: removed and open, it keeps its room.
# So: the file is opened by us, in a `with`, and nibabel is handed the open file.
set -euo pipefail
for PYTHON in "${PYTHON:-python3.12}" python3.12 python3.13 python3; do
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && break
done
export PYTHON
source "$(dirname "$0")/run"
use nibabel==5.4.2 numpy==2.4.6
python - <<'PYTHON'
import gc
import os
import platform
import resource
import signal

import nibabel
import numpy as np

gc.disable()  # it would come by at some time
noise = np.random.default_rng(0).integers(0, 255, (64, 64, 64)).astype(np.uint8)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))  # as a disk without room: the write fails


def save() -> str:
    try:
        nibabel.save(nibabel.Nifti1Image(noise, np.eye(4)), "scan.nii.gz")
    except OSError as error:
        return error.strerror
    return "none"


def open_files() -> int:
    here = "/proc/self/fd"
    links = (os.path.join(here, name) for name in os.listdir(here))
    return sum("scan.nii.gz" in os.readlink(link) for link in links if os.path.lexists(link))


said = save()
os.unlink("scan.nii.gz")
after = open_files()
gc.collect()
print(f"nibabel {nibabel.__version__} on Python {platform.python_version()}: {said!r}")
print(f"open after the error was caught and the file removed: {after}; after a collection: {open_files()}")
assert said == "File too large"
assert after == 1
assert open_files() == 0
PYTHON
