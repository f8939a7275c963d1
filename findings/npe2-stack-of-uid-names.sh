#!/usr/bin/env bash
# npe2 0.10.0: a stack of DICOM files named by their UIDs (1.2.3.1, 1.2.3.2) is refused before any reader is asked: "All paths in
# the stack list must have the same extension".
# It surprises because the last number of a UID is taken for an extension, and archives do name files so: the same slices are read
# when they end in .dcm, by the same reader that takes every name.
# So: let a folder be opened as a whole, and group and sort its files in the reader.
set -euo pipefail
source "$(dirname "$0")/run"
use npe2==0.10.0 numpy==2.4.6
python - <<'PYTHON'
import importlib.metadata
import pathlib

import npe2
import numpy as np

print("npe2", importlib.metadata.version("npe2"))
with npe2.DynamicPlugin("slices", plugin_manager=npe2.PluginManager.instance()) as plugin:

    @plugin.contribute.reader(filename_patterns=["*"])
    def get_reader(path):
        return lambda paths: [(np.zeros((len(paths), 2, 2)), {}, "image")]

    for names in ["1.dcm", "2.dcm"], ["1.2.3.1", "1.2.3.2"]:
        for name in names:
            pathlib.Path(name).touch()
        try:
            said = f"read, shape {npe2.read(names, stack=True)[0][0].shape}"
        except ValueError as fault:
            said = f"ValueError: {fault}"
        print(f"{names}: {said}")
        assert said.startswith("read" if names[0].endswith("dcm") else "ValueError: All paths")
PYTHON
