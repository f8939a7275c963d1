"""Names that hold no patient identity.

A file or a series description may carry anything. What is known of a person (the words of identifying tags) is taken
out of a description in every spelling that is likely; of a file's name only words that describe an image are kept.

Words are compared by their letters alone (:func:`~napari_sparse3d.io.letters.keys_of`): without case, accents, width
and invisible characters, Greek and Cyrillic letters in Latin ones; and once more without what transliterations differ
in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import permutations
from pathlib import PurePath

from napari_sparse3d.catalog.formats import FORMATS
from napari_sparse3d.io.dates import numeric_dates, without_dates
from napari_sparse3d.io.letters import (
    is_dense,
    key_of,
    keys_of,
    parts_of,
    repaired,
    visible,
    with_repaired,
    without_accented,
    words_of,
)
from napari_sparse3d.text import printable

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
_TERMS = _DESCRIBING_WORDS | frozenset(
    """
    abd ac ankle ap arm axl bh cap cardiac carotid contrast corr coupe cow cs cspine dicom diff diffusion dixon dual
    dyn eadc elbow ep fast fatsat femur ff field fiesta fl2d fl3d foot forearm fs fse fused gad gd gr gradient hand
    hase haste hires hrct iac images iop isotropic lat lava leg long lspine lumbar mag medium min mobiview mpgr mrcp
    mt multi multislice navi noncontrast opposed orbit pa par pc pca phs planes prone propeller proton pwi recon
    reformat rel rf ri rl sagital se semi sense shoulder si single slices sms space spair spc spgr spin spir sr ssfp
    star steady supine surview swan te temporal tfe tfl thigh thor thrive ti tibia tilt time tirm topogram tr tracew
    trans trufi tse tspine turbo vasc views wat weighted wip wrist xa xl
    """.split()  # noqa: SIM905
)
"""Further words of series descriptions; some are names too, so they count only against what is no person's name."""
_BIDS_ENTITIES = frozenset(
    """
    sub ses task acq ce trc stain rec dir run mod echo flip inv mt part proc hemi space res den label desc
    """.split()  # noqa: SIM905
)
_TITLES = frozenset(
    "mr mrs ms mx miss dr prof md phd herr frau mme mlle sr sra srta sig dott jr sen rn rt do".split()  # noqa: SIM905
)
"""Words of a person's name that name nobody."""
_PACKED = (".tar.gz", ".gz")
_MAX_LENGTH = 60
_LABEL_NAME = re.compile(r"(^|[_.-])(seg|segmentation|labels?|mask)(\d*|[_.-].*)?([_.-]|$)")


# -- files -------------------------------------------------------------------------------------------------------------


def named_as_labels(path: PurePath) -> bool:
    """Whether a file has a name that is given to labels: whole numbers in it are then read as such."""
    return _LABEL_NAME.search(path.name.lower()) is not None


def own_file_name(path: PurePath) -> str:
    """A file's own name without its ending, as one printable line.

    For the one who opened the file: layer names, ``info``. It may hold an identity and goes nowhere else.
    """
    return printable(_stem(path.name)).strip()


def safe_file_name(path: PurePath, fallback: str = "volume") -> str:
    """What of a file's name may go anywhere: the words that describe an image.

    ``LIDC-IDRI-0001_ct.nii.gz`` stays ``LIDC-IDRI-0001_ct``; ``Doe_Jane_19700101_T1.nii`` becomes ``T1``. A word stays
    when it is a term of imaging or the name of a public data set, a number of at most four digits, a letter, or the
    value of a BIDS entity (``sub-01``); a name, a date or a long identifier does not.
    """
    pieces: list[str] = []
    for piece in re.split(r"[\s_.]+", without_dates(_stem(path.name))):
        entity, _, value = piece.partition("-")
        if entity.lower() in _BIDS_ENTITIES and re.fullmatch(r"[A-Za-z0-9]{1,12}", value) and not _may_identify(value):
            pieces.append(piece)
            continue
        words = [word for word in piece.split("-") if not _may_identify(word)]
        if words:
            pieces.append("-".join(words))
    return "_".join(pieces)[:_MAX_LENGTH] or fallback


def _stem(name: str) -> str:
    suffix = FORMATS.ending_of(name) or next((each for each in _PACKED if name.lower().endswith(each)), "")
    return name[: len(name) - len(suffix)] or name


def _may_identify(word: str) -> bool:
    lower = word.lower()
    if not word or lower in _DESCRIBING_WORDS:
        return not word
    # [0-9], not \d: other digits are not looked for in dates
    if re.fullmatch(r"[0-9]{1,4}([a-z]{1,3})?", lower) or re.fullmatch(r"[a-z]", lower):  # 0001, 1mm, 30sl, A
        return False
    stem = re.fullmatch(r"([a-z]+)[0-9]{1,4}[a-z]?", lower)  # case12, seg117
    return stem is None or not (stem[1] in _DESCRIBING_WORDS or len(stem[1]) == 1)


# -- persons -----------------------------------------------------------------------------------------------------------


def identity_words(values: Iterable[str], names: Iterable[str] = ()) -> frozenset[str]:
    """What identifies, for :func:`without_identity`.

    Parameters
    ----------
    values : iterable of str
        Of tags that hold numbers, places and dates. Words of at least three characters count, unless they are terms of
        imaging: a department may be called Neck and Spine.
    names : iterable of str
        Of tags that hold persons' names. Every word of at least two letters counts, a term of imaging too, and one
        letter of a script that writes a name with one; so do a person's initials, and numbers from three digits.
    """
    words: set[str] = set()
    for value in with_repaired(values):
        parts = [part for part in map(key_of, words_of(value)) if part]
        words.update(part for part in parts if len(part) >= 3 and part not in _TERMS)
        joined = "".join(parts)
        if len(parts) > 1 and len(joined) >= 5 and joined not in _TERMS:
            words.add(joined)
        words.update(numeric_dates(value))
    for value in with_repaired(names):
        for person in value.split("\\"):
            words |= _words_of_a_name(person)
    return frozenset(words)


def _words_of_a_name(person: str) -> set[str]:
    """``Müller^Anna Li^^Dr=...``: each component's words, the words joined, the initials."""
    words: set[str] = set()
    for group in person.split("="):  # alphabetic, ideographic, phonetic
        parts = [part for part in map(key_of, words_of(group)) if part and part not in _TITLES]
        words.update(part for part in parts if _counts_as_a_name(part))
        words.update(mangled for part in words_of(group) if len(mangled := key_of(without_accented(part))) >= 4)
        for component in re.split(r"[\s^]+", group):
            joined = key_of("".join(words_of(component)))  # O'Brien is OBrien
            words.update({joined} if len(joined) >= 3 else ())
        if 2 <= len(parts) <= 4 and all(part.isalpha() for part in parts):
            first = [part[0] for part in parts]
            initials = ("".join(order) for n in range(2, len(first) + 1) for order in permutations(first, n))
            words.update(f"{each}." for each in initials if each.isascii() and each not in _TERMS)
        if 2 <= len(parts) <= 3 and is_dense("".join(parts)):
            words.update("".join(order) for order in permutations(parts))
    return words


def _counts_as_a_name(part: str) -> bool:
    if part.isdigit():
        return len(part) >= 3
    return len(part) >= 2 or is_dense(part)


def without_identity(text: str, identity: frozenset[str], fallback: str = "") -> str:
    """A description with the patient's identity taken out.

    Out goes any piece with a word that is known (:func:`identity_words`) in one of its spellings, alone, joined with
    others or spaced out; as does a date, a long number (a patient's or accession number), an address of mail, and what
    is not printable.

    Parameters
    ----------
    text : str
        What was written by whoever made the scan.
    identity : frozenset of str
        See :func:`identity_words`.
    fallback : str
        If nothing is left.
    """
    known = _known(identity)
    # composed first: a mark that stands alone would part a word
    text = without_dates(printable(repaired(unicodedata.normalize("NFKC", visible(text)))))
    pieces = re.split(r"([\s_^=,;:/\\]+)", text)
    gone = [bool(piece and known.stands_in(piece)) for piece in pieces]
    for first, last in known.spaced_out([words_of(piece) for piece in pieces[::2]]):
        gone[2 * first : 2 * last + 1 : 2] = [True] * (last - first + 1)
    for place in range(0, len(pieces), 2):  # what is left of a name: J. beside Doe
        beside = gone[max(0, place - 2) : place + 3 : 2]
        word = key_of("".join(words_of(pieces[place])))
        if len(word) == 1 and word in known.initials and any(beside):
            gone[place] = True
    # with what parted it from the next
    rest = "".join(piece for place, piece in enumerate(pieces) if not gone[place - place % 2])
    clean = re.sub(r"\s+", " ", rest).strip(" _^=,;:/\\")
    return clean[:_MAX_LENGTH].rstrip() or fallback


class _Known:
    """The words of one identity, as they are looked for."""

    def __init__(self, identity: frozenset[str]) -> None:
        words = {word for word in identity if not word.endswith(".")}
        self.whole = {key for word in words for key in keys_of(word)} | words
        self.alone = {word[:-1] for word in identity if word.endswith(".")}
        self.initials = frozenset(word[0] for word in words if word.isalpha())
        self.inside = {word for word in self.whole if len(word) >= (2 if is_dense(word) else 4)}
        self.longest = max(map(len, self.whole), default=0)

    def stands_in(self, piece: str) -> bool:
        """Whether a piece of a description holds a known word, a long number or an address of mail."""
        if re.search(r"\d{6,}", piece) or re.search(r"[^\s@]@[^\s@]", piece):
            return True
        words = words_of(piece)
        if not self.alone.isdisjoint(map(key_of, words)):
            return True
        return any(self._is_known(part) for word in words for part in (word, *parts_of(word)))

    def _is_known(self, word: str) -> bool:
        keys = keys_of(word)
        if keys & self.whole:
            return True
        if key_of(word) in _TERMS:
            return False
        return any(known in key for key in keys for known in self.inside) or any(map(self._is_composed, keys))

    def _is_composed(self, word: str) -> bool:
        """Whether a word is known words and nothing else, but for initials, numbers and terms of imaging."""
        if len(word) > 64:
            return False
        reached: dict[int, int] = {0: 0}  # place to the letters of known words on the best way there
        for start in range(len(word)):
            if start not in reached:
                continue
            for end in range(start + 1, len(word) + 1):
                part = word[start:end]
                is_known = part in self.whole and len(part) > 1
                if is_known or part in self.initials or part.isdigit() or part in _TERMS:
                    reached[end] = max(reached.get(end, 0), reached[start] + (len(part) if is_known else 0))
        return reached.get(len(word), 0) >= 3

    def spaced_out(self, words: list[list[str]]) -> Iterator[tuple[int, int]]:
        """First and last piece of each run of pieces that are a known word only together: ``M U E L L E R``."""
        flat = [(place, key) for place, piece in enumerate(words) for key in map(key_of, piece) if key]
        for start in range(len(flat)):
            joined = ""
            for end in range(start, len(flat)):
                joined += flat[end][1]
                if len(joined) > self.longest + 4:
                    break
                if end > start and len(joined) >= 2 and (keys_of(joined) & self.whole or joined in self.alone):
                    yield flat[start][0], flat[end][0]


@lru_cache(maxsize=64)
def _known(identity: frozenset[str]) -> _Known:
    return _Known(identity)
