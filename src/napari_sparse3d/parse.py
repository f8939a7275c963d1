"""JSON, TOML and CSV from outside: what they hold, or one line with the cure."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from itertools import zip_longest
from pathlib import Path
from typing import Any

from napari_sparse3d.errors import InputError


def parse_json(text: str) -> Any:
    """What a JSON text holds.

    Raises
    ------
    InputError
        If it is no JSON, or is nested deeper, or has longer numbers, than anything of ours.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise InputError("this is JSON nested too deep; a few levels were expected") from error
    except (ValueError, OverflowError) as error:
        raise InputError(f"this is no JSON: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """What a TOML text holds; errors as of :func:`parse_json`."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise InputError("this is TOML nested too deep; a few levels were expected") from error
    except (ValueError, OverflowError) as error:
        raise InputError(f"this is no TOML: {error}") from error


_CURE = "save it as CSV UTF-8, separated by commas"


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV table with a heading: UTF-8, with or without a byte order mark, separated by commas.

    Raises
    ------
    InputError
        If it is in another encoding or separated by something else, a row is longer than the heading, or a column is
        named twice; the message says how to mend it. Missing values at the end of a row are empty.
    """
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:1000]:
        raise InputError(f"the table is UTF-16, or no text; {_CURE}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"the table is not UTF-8 (line {line}; perhaps Latin-1 or Windows-1252); {_CURE}") from error
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise InputError(f"the table is no CSV table: {error}; {_CURE}") from error
    if not lines:
        return []
    heading = lines[0]
    if len(heading) == 1 and (separator := next((sign for sign in ";\t|" if sign in heading[0]), None)):
        name = {";": "semicolons", "\t": "tabs", "|": "bars"}[separator]
        raise InputError(f"the table is separated by {name}; {_CURE}")
    if twice := next((name for name in heading if heading.count(name) > 1), None):
        raise InputError(f"the table has two columns {twice!r}; keep one")
    for number, values in enumerate(lines[1:], start=2):
        if len(values) > len(heading):
            raise InputError(
                f"row {number} of the table has {len(values)} values under {len(heading)} columns; "
                "put values that hold a comma in double quotes"
            )
    return [dict(zip_longest(heading, values, fillvalue="")) for values in lines[1:]]
