"""The lines of a NRRD header: fields, keys and comments. Definition: teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.limits import what_begins
from napari_sparse3d.io.text_header import MAX_TEXT_BYTES, TextHeader


@dataclass(frozen=True)
class NrrdHeader(TextHeader):
    """The fields of a NRRD header, and its keys.

    ``fields`` are by name in lower case and without blanks, ``listed`` the lines after ``data file: LIST``.
    """

    kind = "NRRD"

    keys: Mapping[str, str]
    """``key:=value``, as written."""

    @classmethod
    def read(cls, path: Path) -> NrrdHeader:
        """Read a file up to its voxels.

        Raises
        ------
        ReadError
            If it is no NRRD file, or its header is damaged.
        """
        fields: dict[str, str] = {}
        keys: dict[str, str] = {}
        listed: list[str] = []
        in_list = False
        with path.open("rb") as file:
            magic = file.readline(64)
            if not re.match(rb"NRRD000\d\s*$", magic):
                begins = what_begins(magic + file.read(64))
                raise ReadError(f"the file does not begin with NRRD000 but {begins}: it is not what its name says")
            while line := file.readline(MAX_TEXT_BYTES):
                if file.tell() > MAX_TEXT_BYTES:
                    raise ReadError("the NRRD header does not end within 16 MB: it is damaged")
                text = _decoded(line)
                if not text:
                    break
                if in_list:
                    listed.append(text)
                elif not text.startswith("#"):
                    name = cls._enter(text, fields, keys)
                    in_list = name == "datafile" and re.match(r"LIST\b", fields[name]) is not None
            end = file.tell()
        return cls(path, fields, tuple(listed), end, keys)

    @staticmethod
    def _enter(text: str, fields: dict[str, str], keys: dict[str, str]) -> str:
        pair = re.match(r"(.*?[^:])?:=(.*)", text)
        if pair is not None and pair[1] is not None and ": " not in pair[1]:
            keys[pair[1].strip()] = pair[2].strip()
            return ""
        name, colon, value = text.partition(":")
        name = re.sub(r"\s+", "", name).lower()
        name = {"centers": "centerings"}.get(name, name)
        if not colon or not name:
            raise ReadError("the NRRD header has a line that is neither a field, a key nor a comment: it is damaged")
        if name in fields and fields[name] != value.strip():
            raise ReadError(f"the NRRD header gives {_word(name)} twice, and not alike; repair the header")
        fields[name] = value.strip()
        return name

    @staticmethod
    def key(name: str) -> str:
        """Blanks in a field's name count for nothing."""
        return name.replace(" ", "")

    def integer(self, name: str) -> int:
        """A small whole number; ``ReadError`` if it is none."""
        value = self.required(name)
        if not re.fullmatch(r"\d{1,3}", value):
            raise ReadError(f"the NRRD header's {name} is no small whole number: it is damaged")
        return int(value)

    def skip(self, name: str) -> int:
        """How many lines or bytes to skip, 0 where nothing is said; ``ReadError`` if it is no such number."""
        value = self.get(name) or "0"
        if not re.fullmatch(r"[-+]?\d{1,12}", value):
            raise ReadError(f"the NRRD header's {name} is no whole number: it is damaged")
        count = int(value)
        if count < (-1 if name == "byte skip" else 0):
            raise ReadError(f"the NRRD header's {name} is {count}; repair the header")
        return count

    def per_axis(self, name: str, dimension: int) -> list[float]:
        """A number for each axis, NaN where the field is absent."""
        numbers = self.numbers(name, dimension)
        return [float("nan")] * dimension if numbers is None else numbers

    def words(self, name: str, dimension: int) -> list[str]:
        """A word for each axis, quoted or bare; empty where the field is absent or says nothing."""
        value = self.get(name)
        if value is None:
            return [""] * dimension
        pairs = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', value)
        texts = ["" if bare in ("???", "none") else quoted or bare for quoted, bare in pairs]
        if len(texts) != dimension:
            raise ReadError(f"the NRRD header has {len(texts)} {name} for dimension {dimension}; repair the header")
        return texts


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return line.decode("latin-1").strip()


def _word(name: str) -> str:
    return name if re.fullmatch(r"[a-z]{1,20}", name) else "a field"
