"""Which embeddings may be compared: those of one model and one recipe, told by their hashes.

Embeddings of two networks have nothing in common but their length. Tables of earlier versions have the names alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_sparse3d.errors import InputError

if TYPE_CHECKING:
    from napari_sparse3d.cohort.tables import Cohort

_KINDS = ("model", "recipe")


@dataclass(frozen=True)
class Origin:
    """What an embedding is of: the model's name and hash, the recipe's hash."""

    model: str
    model_hash: str
    recipe_hash: str


def check_one_origin(rows: Sequence[Mapping[str, Any]]) -> None:
    """That all rows were embedded by one model and one recipe, as far as they say.

    Raises
    ------
    InputError
        If they are mixed, or some say it by hashes and others do not.
    """
    for kind in _KINDS:
        hashes = {str(row[f"{kind}_hash"]) for row in rows if row.get(f"{kind}_hash")}
        n_without = sum(not row.get(f"{kind}_hash") for row in rows)
        names = {str(row[kind]) for row in rows if row.get(kind)}
        if len(hashes) > 1 or (kind == "model" and not hashes and len(names) > 1):
            raise InputError(
                f"the cases were embedded by {len(hashes) or len(names)} {kind}s, and such embeddings have nothing in "
                f"common; name tables of one {kind}, or embed all cases anew with `predict`"
            )
        if hashes and n_without:
            raise InputError(
                f"{n_without} of {len(rows)} cases do not say which {kind} embedded them (their table is of an earlier "
                "version, or somebody else's); embed them anew with `predict`, or leave them out"
            )


def check_comparable(cohort: Cohort, origin: Origin) -> str:
    """That a case embedded by ``origin`` may be compared with a cohort; what is to be said where that is not certain.

    Raises
    ------
    InputError
        If the cohort was embedded by another model or recipe.
    """
    ours = {"model": origin.model_hash, "recipe": origin.recipe_hash}
    cure = {
        "model": "name with --model the one that embedded it, or embed the cohort anew with `predict`",
        "recipe": "give with --recipe the one that it was embedded with, or embed the cohort anew with `predict`",
    }
    for kind in _KINDS:
        theirs = {str(value) for value in cohort.column(f"{kind}_hash") if value}
        if theirs - {ours[kind]}:
            named = sorted({str(value) for value in cohort.column(kind) if value})
            what = f" ({', '.join(named)[:80]})" if named and kind == "model" else ""
            raise InputError(
                f"the cohort was embedded by another {kind}{what}: distances to its embeddings mean nothing; "
                f"{cure[kind]}"
            )
    if any(cohort.column("model_hash")):
        return ""
    names = {str(value) for value in cohort.column("model") if value}
    if names - {origin.model}:
        raise InputError(
            f"the cohort was embedded by another model ({', '.join(sorted(names))[:80]}): distances to its embeddings "
            f"mean nothing; {cure['model']}"
        )
    return "the table does not hold its model's hash: that it is this model's is not certain"
