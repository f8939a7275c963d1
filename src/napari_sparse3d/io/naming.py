"""Names that hold no patient identity.

A file or a series description may carry anything. What is known of a person (the words of identifying tags) is taken
out of a description in every spelling that is likely; of a file's name only words that describe an image are kept.

Words are compared by their letters alone (:func:`_key`): without case, accents, width and invisible characters, Greek
and Cyrillic letters in Latin ones; and once more without what transliterations differ in (:func:`_loose`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import permutations
from pathlib import PurePath

from napari_sparse3d.catalog.formats import FORMATS
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
    kept: list[str] = []
    for piece in re.split(r"[\s_.]+", _without_dates(_stem(path.name))):
        entity, _, value = piece.partition("-")
        if entity.lower() in _BIDS_ENTITIES and re.fullmatch(r"[A-Za-z0-9]{1,12}", value) and not _may_identify(value):
            kept.append(piece)
            continue
        words = [word for word in piece.split("-") if not _may_identify(word)]
        if words:
            kept.append("-".join(words))
    return "_".join(kept)[:_MAX_LENGTH] or fallback


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
    for value in _with_repaired(values):
        parts = [part for part in map(_key, _words(value)) if part]
        words.update(part for part in parts if len(part) >= 3 and part not in _TERMS)
        joined = "".join(parts)
        if len(parts) > 1 and len(joined) >= 5 and joined not in _TERMS:
            words.add(joined)
        words.update(_numeric_dates(value))
    for value in _with_repaired(names):
        for person in value.split("\\"):
            words |= _words_of_a_name(person)
    return frozenset(words)


def _words_of_a_name(person: str) -> set[str]:
    """``Müller^Anna Li^^Dr=...``: each component's words, the words joined, the initials."""
    words: set[str] = set()
    for group in person.split("="):  # alphabetic, ideographic, phonetic
        parts = [part for part in map(_key, _words(group)) if part and part not in _TITLES]
        words.update(part for part in parts if _counts_as_a_name(part))
        words.update(mangled for part in _words(group) if len(mangled := _key(_without_accented(part))) >= 4)
        for component in re.split(r"[\s^]+", group):
            joined = _key("".join(_words(component)))  # O'Brien is OBrien
            words.update({joined} if len(joined) >= 3 else ())
        if 2 <= len(parts) <= 4 and all(part.isalpha() for part in parts):
            first = [part[0] for part in parts]
            initials = ("".join(order) for n in range(2, len(first) + 1) for order in permutations(first, n))
            words.update(f"{each}." for each in initials if each.isascii() and each not in _TERMS)
        if 2 <= len(parts) <= 3 and _is_dense("".join(parts)):
            words.update("".join(order) for order in permutations(parts))
    return words


def _counts_as_a_name(part: str) -> bool:
    if part.isdigit():
        return len(part) >= 3
    return len(part) >= 2 or _is_dense(part)


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
    text = _without_dates(printable(_repaired(unicodedata.normalize("NFKC", _visible(text)))))
    pieces = re.split(r"([\s_^=,;:/\\]+)", text)
    gone = [bool(piece and known.stands_in(piece)) for piece in pieces]
    for first, last in known.spaced_out([_words(piece) for piece in pieces[::2]]):
        gone[2 * first : 2 * last + 1 : 2] = [True] * (last - first + 1)
    for place in range(0, len(pieces), 2):  # what is left of a name: J. beside Doe
        beside = gone[max(0, place - 2) : place + 3 : 2]
        word = _key("".join(_words(pieces[place])))
        if len(word) == 1 and word in known.initials and any(beside):
            gone[place] = True
    # with what parted it from the next
    kept = "".join(piece for place, piece in enumerate(pieces) if not gone[place - place % 2])
    clean = re.sub(r"\s+", " ", kept).strip(" _^=,;:/\\")
    return clean[:_MAX_LENGTH].rstrip() or fallback


class _Known:
    """The words of one identity, as they are looked for."""

    def __init__(self, identity: frozenset[str]) -> None:
        words = {word for word in identity if not word.endswith(".")}
        self.whole = {key for word in words for key in _keys(word)} | words
        self.alone = {word[:-1] for word in identity if word.endswith(".")}
        self.initials = frozenset(word[0] for word in words if word.isalpha())
        self.inside = {word for word in self.whole if len(word) >= (2 if _is_dense(word) else 4)}
        self.longest = max(map(len, self.whole), default=0)

    def stands_in(self, piece: str) -> bool:
        """Whether a piece of a description holds a known word, a long number or an address of mail."""
        if re.search(r"\d{6,}", piece) or re.search(r"[^\s@]@[^\s@]", piece):
            return True
        words = _words(piece)
        if not self.alone.isdisjoint(map(_key, words)):
            return True
        return any(self._is_known(part) for word in words for part in (word, *_parts(word)))

    def _is_known(self, word: str) -> bool:
        keys = _keys(word)
        if keys & self.whole:
            return True
        if _key(word) in _TERMS:
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
        flat = [(place, key) for place, piece in enumerate(words) for key in map(_key, piece) if key]
        for start in range(len(flat)):
            joined = ""
            for end in range(start, len(flat)):
                joined += flat[end][1]
                if len(joined) > self.longest + 4:
                    break
                if end > start and len(joined) >= 2 and (_keys(joined) & self.whole or joined in self.alone):
                    yield flat[start][0], flat[end][0]


@lru_cache(maxsize=64)
def _known(identity: frozenset[str]) -> _Known:
    return _Known(identity)


# -- letters -----------------------------------------------------------------------------------------------------------

_LATIN = {
    # letters that no decomposition takes apart
    **dict(zip("øłđðþıħŧŋæœßĸ", ("o", "l", "d", "d", "th", "i", "h", "t", "n", "ae", "oe", "ss", "k"), strict=True)),
    # Cyrillic and Greek as passports and libraries write them, as far as those agree (ISO 9, BGN/PCGN, ELOT 743)
    **dict(zip("абвгґдеэєзиіїйклмнопрстуфъьыў", "abvggdeeeziiiiklmnoprstuf''yu", strict=True)),
    **dict(zip("жхцчшщюя", ("zh", "kh", "ts", "ch", "sh", "shch", "yu", "ya"), strict=True)),
    **dict(zip("ђћљњџ", ("dj", "c", "lj", "nj", "dz"), strict=True)),
    **dict(zip("αβγδεζηικλμνοπρσςτυφωθξχψ", (*"avgdeziiklmnoprsstyfo", "th", "x", "ch", "ps"), strict=True)),
}  # fmt: skip
_LOOSE = (
    *(("tsch", "c"), ("shch", "s"), ("sch", "s"), ("sh", "s"), ("zh", "z"), ("kh", "h"), ("ch", "c"), ("ph", "f")),
    *(("tz", "c"), ("ts", "c"), ("cz", "c"), ("x", "ks"), ("y", "i"), ("j", "i"), ("w", "v"), ("f", "v")),
)
"""Ways to write one sound that differ between transliterations."""


def _visible(text: str) -> str:
    """Without soft hyphens, zero-width and other format characters."""
    return "".join(character for character in text if unicodedata.category(character) != "Cf")


def _with_repaired(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        yield value
        if (repaired := _repaired(value)) != value:
            yield repaired


def _repaired(text: str) -> str:
    """UTF-8 that was read as Latin-1, as where a file names no character set; else the text itself."""
    if text.isascii():
        return text
    try:
        return unicodedata.normalize("NFKC", text.encode("latin-1").decode("utf-8"))
    except UnicodeError:
        return text


def _words(text: str) -> list[str]:
    """Runs of letters, marks and digits."""
    text = unicodedata.normalize("NFKC", _visible(text))
    return "".join(ch if ch.isalnum() or unicodedata.category(ch)[0] == "M" else " " for ch in text).split()


def _parts(word: str) -> list[str]:
    """``LiWuT1`` as Li, Wu, T, 1; letters of dense scripts apart from others. Nothing where there is one part."""
    found = re.findall(r"\d+|[^\W\d_]+", word)
    parts = [part for each in found for part in re.findall(_CAMEL, each) or [each]] if not word.islower() else found
    parts = [run for part in parts for run in _by_density(part)]
    # two letters on their own are a name only where case parts them
    return [part for part in parts if len(part) >= 2 or _is_dense(part)] if len(parts) > 1 else []


_CAMEL = r"[^\W\d_]?(?:(?<=[A-ZÀ-ÖØ-Þ])[a-zß-öø-ÿ]+|[a-zß-öø-ÿ]+)|[A-ZÀ-ÖØ-Þ]+(?![a-zß-öø-ÿ])"


def _by_density(word: str) -> list[str]:
    runs: list[str] = []
    for character in word:
        if runs and _is_dense(runs[-1]) == _is_dense(character):
            runs[-1] += character
        else:
            runs.append(character)
    return runs


def _is_dense(text: str) -> bool:
    """Whether it is of a script in which one or two characters are a name: Chinese, Japanese, Korean."""
    return bool(text) and all(unicodedata.east_asian_width(character) in "WF" for character in text)


def _key(word: str) -> str:
    """The word's letters and digits alone: Latin where they can be, without case, accents and width."""
    if word.isascii():
        return word.lower()
    lower = unicodedata.normalize("NFKC", _visible(word)).casefold().replace("ου", "ou")
    # й and ї are letters of their own, which taking off their marks would change into others
    bare = "".join(
        _LATIN.get(ch, ch) if ch in _LATIN else "".join(map(_letter, unicodedata.normalize("NFKD", ch))) for ch in lower
    )
    return unicodedata.normalize("NFC", bare).replace("'", "")


def _letter(character: str) -> str:
    if unicodedata.category(character)[0] == "M":
        return ""
    if "ァ" <= character <= "ヶ":
        return chr(ord(character) - 0x60)  # hiragana
    digit = unicodedata.decimal(character, None)
    return _LATIN.get(character, character) if digit is None else str(digit)


def _keys(word: str) -> set[str]:
    key = _key(word)
    plain = _plain_umlauts(key)
    loose = _loose(plain)
    return {key, plain, *([loose] if len(loose) >= 4 else [])} - {""}


def _plain_umlauts(key: str) -> str:
    """Without what German, Danish and Dutch write for an accent: Mueller, Muller and Müller are one."""
    for pair in ("ae", "oe", "ue", "aa", "ss"):
        key = key.replace(pair, pair[0])
    return key


def _loose(key: str) -> str:
    for written, sound in _LOOSE:
        key = key.replace(written, sound)
    return re.sub(r"(.)\1+", r"\1", key)


def _without_accented(word: str) -> str:
    """``Mller``: what is left where a program dropped the letters that it did not know."""
    return "" if word.isascii() else "".join(character for character in word if character.isascii())


# -- dates -------------------------------------------------------------------------------------------------------------

_MONTHS = """
    january february march april may june july august september october november december sept
    januar februar märz maerz mai juni juli oktober dezember jänner jaenner feber
    janvier février fevrier mars avril juin juillet août aout septembre octobre novembre décembre decembre
    enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
    gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre
    janeiro fevereiro março marco maio junho julho setembro outubro novembro dezembro
    januari februari maart mei augustus maj augusti juni juli oktober desember marts
    stycznia lutego marca kwietnia maja czerwca lipca sierpnia września wrzesnia października pazdziernika listopada
    grudnia ledna února unora března brezna dubna května kvetna června cervna července cervence srpna září zari října
    rijna listopadu prosince ocak şubat subat mart nisan mayıs mayis haziran temmuz ağustos agustos eylül eylul ekim
    kasım kasim aralık aralik tammikuu helmikuu maaliskuu huhtikuu toukokuu kesäkuu heinäkuu elokuu syyskuu lokakuu
    marraskuu joulukuu ianuarie februarie martie aprilie iunie iulie septembrie octombrie noiembrie decembrie
    január február március április május június július augusztus szeptember október
    января февраля марта апреля мая июня июля августа сентября октября ноября декабря январь февраль март апрель май
    июнь июль август сентябрь октябрь ноябрь декабрь січня лютого березня квітня травня червня липня серпня вересня
    жовтня листопада грудня ιανουαρίου φεβρουαρίου μαρτίου απριλίου μαΐου ιουνίου ιουλίου αυγούστου σεπτεμβρίου
    οκτωβρίου νοεμβρίου δεκεμβρίου
    jan feb mar apr jun jul aug sep oct nov dec mär mrz okt dez janv fév fevr févr avr juil déc ene abr ago dic gen mag
    giu lug set ott fev mai out янв фев мар апр июн июл авг сен окт ноя дек
""".split()  # noqa: SIM905
_MONTH = "|".join(sorted({*_MONTHS, *(_key(month) for month in _MONTHS)}, key=len, reverse=True))
_BETWEEN = r"[\s_.,/^\-]{0,3}(?:(?:de|del|of|den|der)[\s_.]+)?"
_YEAR, _DAY, _NUMBER = r"(?:1[89]|2[01])[0-9]{2}", r"(?:0?[1-9]|[12][0-9]|3[01])", r"(?:0?[1-9]|1[0-2])"
_PART = r"[\s]?[.\-/_][\s]?"
_DATES = re.compile(
    "|".join(
        (
            rf"(?<![0-9]){_YEAR}{_PART}{_DAY}{_PART}{_DAY}(?![0-9])",  # 1970-01-31, 1970/31/01
            rf"(?<![0-9.]){_DAY}{_PART}{_DAY}{_PART}(?:{_YEAR}|'?[0-9]{{2}})(?![0-9.])",  # 31.01.1970, 1/2/70
            rf"(?<![0-9.])[0-9]{{2}}{_PART}{_NUMBER}{_PART}{_DAY}(?![0-9.])",  # 70-01-31
            rf"(?<![0-9.]){_NUMBER}[/\-.]{_YEAR}(?![0-9])|(?<![0-9]){_YEAR}[/\-]{_NUMBER}(?![0-9])",  # 01/1970
            rf"(?<![0-9]){_YEAR}\s{_NUMBER}\s{_DAY}(?![0-9])|(?<![0-9]){_DAY}\s{_DAY}\s{_YEAR}(?![0-9])",  # 1970 01 31
            # 31st of January 1970, 31.Jan.70
            rf"(?<![0-9]){_DAY}(?:st|nd|rd|th|er|º|ª)?{_BETWEEN}(?:{_MONTH})[a-z]{{0,2}}{_BETWEEN}"
            rf"'?(?:{_YEAR}|[0-9]{{2}})(?![0-9])",
            # January 31, 1970
            rf"(?<![^\W_])(?:{_MONTH}){_BETWEEN}(?:{_DAY}(?:st|nd|rd|th)?{_BETWEEN})?'?{_YEAR}(?![0-9])",
            rf"(?<![0-9]){_YEAR}{_BETWEEN}(?:{_MONTH})(?:{_BETWEEN}{_DAY})?(?![0-9])",  # 1970 Jan 31
            r"[0-9]{2,4}\s?[年년]\s?[0-9]{1,2}\s?[月월](?:\s?[0-9]{1,2}\s?[日일])?",
        )
    ),
    re.IGNORECASE,
)


def _without_dates(text: str) -> str:
    """Without dates, in digits of any script."""
    return _DATES.sub(" ", "".join(_ascii_digit(character) for character in text))


def _ascii_digit(character: str) -> str:
    if character.isascii() or (digit := unicodedata.decimal(character, None)) is None:
        return character
    return str(digit)


def _numeric_dates(value: str) -> Iterator[str]:
    """A date of DICOM (``19700131``) as it stands elsewhere without anything between: 31011970, 310170, 3170, ..."""
    match = re.fullmatch(r"((?:1[89]|20)(\d\d))[.\-]?(\d\d)[.\-]?(\d\d)", value.strip())
    if match is None:
        return
    year, short, month, day = match.groups()
    for pair in (
        (month, day),
        (day, month),
        (month.lstrip("0"), day.lstrip("0")),
        (day.lstrip("0"), month.lstrip("0")),
    ):
        for each in (year, short):
            yield from (found for found in (each + "".join(pair), "".join(pair) + each) if len(found) >= 5)
