"""What we read of public DICOM sets, beside dcm2niix and the sets' published references: the public scoreboard.

    python benchmarks/conformance.py FOLDER... [--shuffle] [--markdown] [--page PAGE.md] [--dcm2niix PROGRAM]

A FOLDER is a set: DICOM files in its ``In`` (``in``, ``in.tar.xz``) or anywhere below it, and the reference, where
there is one, as NIfTI in ``Ref`` (``ref``). dcm2niix comes from PyPI: ``python -m pip install dcm2niix==1.0.20260724``.
docs/conformance.md says what is compared and what was found. Exit code 1 where something was read wrongly.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scoreboard.judge import judge
from scoreboard.shuffle import changes, shuffled_copy
from scoreboard.sources import (
    DCM2NIIX,
    Answer,
    by_dcm2niix,
    dicom_of,
    find_dcm2niix,
    ours,
    published,
    version_of,
)
from scoreboard.table import markdown, plain, put_into, versions


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--markdown", action="store_true", help="the table as in docs/conformance.md")
    parser.add_argument("--page", type=Path, help="put that table into a page, between its marks")
    parser.add_argument("--shuffle", action="store_true", help="read each set again, renamed, spread and renumbered")
    parser.add_argument("--dcm2niix", type=Path, metavar="PROGRAM", help="unless it lies on PATH")
    options = parser.parse_args()
    if options.page is not None and not options.page.is_file():
        parser.error(f"--page {options.page}: there is no such page; name one with the two marks of the table")
    program = find_dcm2niix(options.dcm2niix)
    dcm2niix = None if program is None else version_of(program)
    missing = f"dcm2niix is missing, only published references count; python -m pip install dcm2niix=={DCM2NIIX}"
    print(missing if dcm2niix is None else f"dcm2niix {dcm2niix}", file=sys.stderr)
    verdicts = []
    for folder in options.folders:
        if not folder.is_dir():
            continue
        print(folder.name, file=sys.stderr)
        with dicom_of(folder) as dicom:
            found = ours(dicom)
            theirs = None if program is None else by_dcm2niix(program, dicom)
            verdict = judge(folder.name, found, theirs, published(folder))
            if options.shuffle:
                verdict.notes += _shuffled(dicom, found)
        verdicts.append(verdict)
    text = f"{markdown(verdicts)}\n\n{versions(dcm2niix)}"
    if options.page is not None:
        put_into(options.page, text)
    print(text if options.markdown else plain(verdicts))
    return int(any(verdict.wrong for verdict in verdicts))


def _shuffled(dicom: Path, before: Answer) -> Iterator[str]:
    for renumber, what in ((False, "renamed and spread"), (True, "renumbered as well")):
        with tempfile.TemporaryDirectory() as copy:
            shuffled_copy(dicom, Path(copy), renumber=renumber)
            changed = changes(before, ours(Path(copy)))
        yield f"{what}: " + ("; ".join(changed) or "nothing changes")


if __name__ == "__main__":
    raise SystemExit(main())
