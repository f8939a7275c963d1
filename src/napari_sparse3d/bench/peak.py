"""``python -m napari_sparse3d.bench.peak WORKLOAD PASS ENGINE DEVICE``: memory in a process of its own."""

import json
import sys

from napari_sparse3d.bench.timing import peak_of_process

if __name__ == "__main__":
    print(json.dumps(peak_of_process(*sys.argv[1:5])))
