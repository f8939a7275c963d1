"""Dates in text, in every common form and language."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from napari_sparse3d.io.letters import key_of

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
_MONTH = "|".join(sorted({*_MONTHS, *(key_of(month) for month in _MONTHS)}, key=len, reverse=True))
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


def without_dates(text: str) -> str:
    """Without dates, in digits of any script."""
    return _DATES.sub(" ", "".join(_ascii_digit(character) for character in text))


def _ascii_digit(character: str) -> str:
    if character.isascii() or (digit := unicodedata.decimal(character, None)) is None:
        return character
    return str(digit)


def numeric_dates(value: str) -> Iterator[str]:
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
            yield from (date for date in (each + "".join(pair), "".join(pair) + each) if len(date) >= 5)
