"""Write into the cards of the bundled models what their training saw, from the sets that they were trained on.

    python benchmarks/bundled_seen.py ../shared/data/labelled

Weights stay as they are. ``train`` writes the same into every new card.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from train_bundled import MODELS

from napari_sparse3d.cases.seen import seen_in, split_of
from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.models import bundled_models, load_model
from napari_sparse3d.models.model import Model
from napari_sparse3d.training.checks import prepare


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    asked = parser.parse_args()
    for name, path in bundled_models().items():
        source, model = MODELS[name], load_model(name)
        store = VoxelStore(model.card.recipe)
        cases = cases_of(asked.data / source.file, label_column=source.label)
        field = model.describer.field
        prepared = prepare(cases, store, field, unlabelled_is_a_problem=False)
        seen = seen_in(prepared.train, store, field)
        split = split_of(prepared.train, prepared.val, prepared.contents)
        Model(model.network, model.card.model_copy(update={"seen": seen, "split": split})).save(path)
        print(name, len(prepared.train), len(prepared.val), prepared.problems, model.card.active_percent_seen, seen)


if __name__ == "__main__":
    main()
