"""What a network makes of the vector by which it describes a volume: logits, and what they mean."""

from napari_sparse3d.models.heads.classes import ClassHead
from napari_sparse3d.models.heads.head import Head, Meaning, meaning_of

__all__ = ["ClassHead", "Head", "Meaning", "meaning_of"]
