"""Names that hold no patient identity.

A file or a series description may carry anything. What reaches layers, tables and logs is only words that describe an
image; everything else is dropped rather than judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

_DESCRIBING_WORDS = frozenset(
    """
    2d 3d 4d abdomen abide acq adc adni adrenal age aligned angio aorta arterial asc asl atlas average ax
    axial b0 background bet bias bids binary bladder bold bone brain brats breast btcv camcan case cest chest
    cine clean colon converted cor coronal corrected crop cropped ct cta cube defaced delayed denoised desc
    dose dti dwi dynamic echo edge empty ep2d epi fa fat female fgatir fieldmap flair flare flash fmri fov
    full gm gray gre grey hcp hd head healthy heart high hip hippocampus hnts hr hu icbm152 idri image img in
    inverted ircad isles iso ixi kidney kits knee label labels left lesion lge lidc lits liver lobe loc
    localised localiser localizer low lr luna luna16 lung lungs magnitude male map mask max md mean median
    medmnist miccai minimal mip mni mni152 mni305 modelnet mosaic motion mp2rage mpr mprage mr mra mri msd nac
    native neck nih nlin nlst nm nodule nodules noise norm normal null oasis obl oblique openneuro orig
    original out pancreas part pd pelvis perf perfusion pet petct phantom phase picai plain portal post ppmi
    pre pred prediction probability prostate pt ras reg registered res resampled rest resting rgb right roi
    rot rsna sag sagittal sample scan scout seg segmentation series shape shear short sim skull sl slice
    smooth snr soft spect spine spiral spleen stack standard std stir stroke suv swi sym synthetic t1 t1c t1gd
    t1n t1w t2 t2f t2star t2w tal tcga tcia temp template test thick thin thorax tissue tof totalsegmentator
    tra train transversal transverse tumor tumour ukb uni us val vein venous ventricle verse vessel vessels
    vibe vol volume volumes warped water wb whole wm zoom
    """.split()  # noqa: SIM905
)
_BIDS_ENTITIES = frozenset(
    """
    sub ses task acq ce trc stain rec dir run mod echo flip inv mt part proc hemi space res den label desc
    """.split()  # noqa: SIM905
)
_SUFFIXES = tuple(
    ".nii.gz .tar.gz .nii .hdr .img .nrrd .nhdr .mha .mhd .mgz .mgh .zip .dcm .gz".split()  # noqa: SIM905
)
_MAX_LENGTH = 60
LABEL_NAME = r"(^|[_.-])(seg|segmentation|labels?|mask)(\d*|[_.-].*)?([_.-]|$)"
"""How files of labels are named: a regular expression for the lower-case file name."""


def safe_file_name(path: PurePath, fallback: str = "volume") -> str:
    """A name for a file's layer: the words of its name that describe an image.

    ``LIDC-IDRI-0001_ct.nii.gz`` stays ``LIDC-IDRI-0001_ct``; ``Doe_Jane_19700101_T1.nii`` becomes ``T1``. A word stays
    when it is a term of imaging or the name of a public data set, a number of at most four digits, a letter, or the
    value of a BIDS entity (``sub-01``); a name, a date or a long identifier does not.
    """
    name = path.name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    kept: list[str] = []
    for piece in re.split(r"([\s_.]+)", name):
        if re.fullmatch(r"[\s_.]+", piece):
            continue
        entity, _, value = piece.partition("-")
        if entity.lower() in _BIDS_ENTITIES and re.fullmatch(r"[A-Za-z0-9]{1,12}", value) and not _may_identify(value):
            kept.append(piece)
            continue
        words = [word for word in piece.split("-") if not _may_identify(word)]
        if words:
            kept.append("-".join(words))
    return "_".join(kept)[:_MAX_LENGTH] or fallback


def _may_identify(word: str) -> bool:
    lower = word.lower()
    if not word or lower in _DESCRIBING_WORDS:
        return not word
    if re.fullmatch(r"\d{1,4}([a-z]{1,3})?", lower) or re.fullmatch(r"[a-z]", lower):  # 0001, 1mm, 30sl, A
        return False
    stem = re.fullmatch(r"([a-z]+)\d{1,4}[a-z]?", lower)  # case12, seg117
    return stem is None or not (stem[1] in _DESCRIBING_WORDS or len(stem[1]) == 1)


def identity_words(values: Iterable[str]) -> frozenset[str]:
    """The words, of at least three characters, of the values of identifying tags, for :func:`without_identity`."""
    words: set[str] = set()
    for value in values:
        words.update(word.lower() for word in re.split(r"[\W_]+", value) if len(word) >= 3)
    return frozenset(words)


def without_identity(text: str, identity: frozenset[str], fallback: str = "") -> str:
    """A description with the patient's identity taken out.

    Any word that also stands in an identifying tag of the same file goes, as does a long number (a date, a patient
    or accession number) and what is not printable.
    """
    kept = []
    for piece in re.split(r"([\s_^=,;:/\\]+)", "".join(ch if ch.isprintable() else " " for ch in text)):
        words = [word for word in re.split(r"[\W_]+", piece.lower()) if word]
        known = any(
            word in identity or any(word.startswith(w) or w in word for w in identity if len(w) >= 4) for word in words
        )
        if not known and not re.search(r"\d{6,}", piece):
            kept.append(piece)
    clean = re.sub(r"\s+", " ", "".join(kept)).strip(" _^=,;:/\\")
    return clean[:_MAX_LENGTH] or fallback
