"""The session of a network's result. No Qt."""

from __future__ import annotations

from pathlib import Path

from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.child.records import Attributed
from napari_sparse3d.widgets.network.export import write_chart, write_table
from napari_sparse3d.widgets.network.state import NetworkRun
from napari_sparse3d.widgets.toolbox.notes import read_words
from napari_sparse3d.widgets.toolbox.session_folder import Lines, finish, input_record, make_folder
from napari_sparse3d.widgets.toolbox.words import RESEARCH_ONLY


def save_network_session(
    folder: Path, ran: NetworkRun, drove: Attributed | None, source: repeat.Source | None
) -> list[Path]:
    """Write recipe, hashes, versions, the per-layer table, its chart, the embedding and the lines that repeat it.

    Parameters
    ----------
    folder : Path
        Made if it is not there; a session that is there is replaced.
    ran : NetworkRun
        What the network said, and the voxels that it was shown, with their recipe and their volume: what was repaired
        or guessed there is said.
    drove : Attributed or None
        The attribution that is shown with it.
    source : Source or None
        Where the volume was read from; without one the session says that it cannot be repeated.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    InputError
        If ``folder`` is a file.
    """
    make_folder(folder)
    result, recipe, volume = ran.result, ran.made.recipe, ran.made.volume
    recipe.save(folder / "recipe.toml")
    write_table(result, folder / "layers.csv")
    write_chart(result, folder / "layers.svg")
    write_chart(result, folder / "layers.png")
    request, lines = result.request, Lines()
    model = repeat.model_without_name(request.model)
    if source is not None:
        unnamed = repeat.without_name(source)
        again = repeat.Ran(unnamed, recipe, model, request.engine, recipe_file="recipe.toml")
        lines = Lines(repeat.network_command(again, drove), repeat.network_python(again, drove))
    record = {
        "input": None if source is None else input_record(source.path),
        "input_notes": read_words(volume.meta, volume.unit),
        "model": {
            "name": result.model.name,
            "argument": model,
            "sha256": result.model.sha256 or None,
            "model_hash": result.model_hash,
            "trained": result.model.trained,
        },
        "engine": result.engine,
        "device": result.device,
        "seconds": result.seconds,
        "classes": list(result.model.classes),
        "probabilities": [float(value) for value in result.probabilities],
        "embedding": [float(value) for value in result.embedding],
        "attribution": None if drove is None else drove.record,
        "n_voxels": request.voxels.n_active,
        "outside_training": result.outside_training,
        "note": RESEARCH_ONLY + ("" if result.model.trained else "; random weights: the classes mean nothing"),
    }
    return finish(folder, record, lines)
