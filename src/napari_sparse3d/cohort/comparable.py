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
_ANEW = "embed the cohort anew with `predict` or in the Cohort panel"


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
        "model": f"run the case with the model that embedded it (--model, or Model in Network), or {_ANEW}",
        "recipe": f"make the voxels by the recipe that it was embedded with (--recipe, or Sparse voxels), or {_ANEW}",
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
    unsaid = [kind for kind in _KINDS if not any(cohort.column(f"{kind}_hash"))]
    names = {str(value) for value in cohort.column("model") if value}
    if "model" in unsaid and names - {origin.model}:
        raise InputError(
            f"the cohort was embedded by another model ({', '.join(sorted(names))[:80]}): distances to its embeddings "
            f"mean nothing; {cure['model']}"
        )
    if not unsaid:
        return ""
    what = " and ".join(unsaid)
    return f"the table does not hold the hash of its {what}: that it is the {what} of this case is not certain"
