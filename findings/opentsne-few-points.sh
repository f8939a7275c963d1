#!/usr/bin/env bash
# openTSNE 1.0.4: TSNEEmbedding.optimize, step by step as in its guide to advanced use (exaggeration 12, then none, all else by default),
# draws 10 points into one: all distances end below 1e-20. TSNE.fit with the same points does not.
# It surprises because nothing is raised and every coordinate is finite: only the scale of the map tells.
# So: for few cases take a smaller exaggeration (4 keeps these apart), and check that the map has an extent.
set -euo pipefail
source "$(dirname "$0")/run"
use openTSNE==1.0.4 numpy==2.4.6
python - <<'PYTHON'
import importlib.metadata

import numpy as np
from openTSNE import TSNE, TSNEEmbedding, affinity, initialization

print("openTSNE", importlib.metadata.version("openTSNE"))
for seed in range(3):
    points = np.random.default_rng(seed).normal(size=(10, 8))
    affinities = affinity.PerplexityBasedNN(points, perplexity=3, method="exact", random_state=0)
    embedding = TSNEEmbedding(initialization.pca(points, random_state=0), affinities, random_state=0)
    embedding = embedding.optimize(n_iter=250, exaggeration=12, momentum=0.5).optimize(n_iter=500, momentum=0.8)
    gentle = TSNEEmbedding(initialization.pca(points, random_state=0), affinities, random_state=0)
    gentle = gentle.optimize(n_iter=250, exaggeration=4, momentum=0.5).optimize(n_iter=500, momentum=0.8)
    fitted = TSNE(perplexity=3, random_state=0).fit(points)
    drawn, smaller, whole = (np.ptp(np.asarray(positions), axis=0).max() for positions in (embedding, gentle, fitted))
    print(f"points {seed}: extent {drawn:.1e} step by step, {smaller:.1f} with an exaggeration of 4, {whole:.1f} by TSNE.fit")
    assert np.isfinite(embedding).all() and drawn < 1e-20 and smaller > 1 and whole > 1
PYTHON
