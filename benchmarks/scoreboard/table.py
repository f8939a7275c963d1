"""The verdicts as a table and totals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

from scoreboard.judge import Verdict

_BEGIN, _END = "<!-- table: begin -->\n", "<!-- table: end -->"
HEAD = ("set", "ours / dcm2niix / published", "right", "refused", "wrong", "what differs")


def markdown(verdicts: Sequence[Verdict]) -> str:
    """A row a set, then totals."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for verdict in verdicts:
        counts = " / ".join(map(str, verdict.counts))
        told = "<br>".join(text.replace("|", "\\|") for text in differing(verdict))
        lines.append((verdict.name, counts, *map(str, score(verdict)), told))
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", totals(verdicts)])


def plain(verdicts: Sequence[Verdict]) -> str:
    """The same for a terminal."""
    lines = []
    for verdict in verdicts:
        ours, dcm2niix, published = verdict.counts
        right, refused, wrong = score(verdict)
        of = f"ours {ours}, dcm2niix {dcm2niix}, published {published}"
        lines.append(f"{verdict.name}: {right} right, {refused} refused, {wrong} wrong ({of})")
        lines += [f"    {text}" for text in differing(verdict)]
    return "\n".join([*lines, totals(verdicts)])


def score(verdict: Verdict) -> tuple[int, int, int]:
    """How many images were read right, refused, and read wrongly."""
    return (
        len(verdict.right) + len(verdict.ours_right),
        len(verdict.refused) + len(verdict.refused_rightly),
        len(verdict.wrong),
    )


def differing(verdict: Verdict) -> list[str]:
    """Everything but plain agreement, in words."""
    groups = {
        "wrong": verdict.wrong,
        "we refuse": verdict.refused,
        "rightly refused": verdict.refused_rightly,
        "ours is right": verdict.ours_right,
        "only ours": verdict.only_ours,
    }
    said = [f"{what} {names}: {why}" for what, group in groups.items() for why, names in _by_cause(group).items()]
    return said + verdict.notes


def _by_cause(group: dict[str, str]) -> dict[str, str]:
    names: dict[str, list[str]] = {}
    for name, why in group.items():
        names.setdefault(why, []).append(name)
    return {why: ", ".join(alike) for why, alike in names.items()}


def totals(verdicts: Sequence[Verdict]) -> str:
    """All sets in one line; what reviews changed stands in brackets."""
    right, refused, wrong = (sum(counts) for counts in zip(*map(score, verdicts))) if verdicts else (0, 0, 0)
    against = sum(len(verdict.ours_right) for verdict in verdicts)
    rightly = sum(len(verdict.refused_rightly) for verdict in verdicts)
    only = sum(len(verdict.only_ours) for verdict in verdicts)
    return (
        f"{right} right ({against} against or beyond the references), {refused} refused ({rightly} rightly), "
        f"{wrong} wrong, {only} only ours and not looked at; sets: {len(verdicts)}"
    )


def versions(dcm2niix: str | None) -> str:
    """When, and with what, a table was made."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("napari-sparse3d", "pydicom", "nibabel"))
    return f"Made on {date.today().isoformat()} with {libraries}, " + (
        f"dcm2niix {dcm2niix}." if dcm2niix else "without dcm2niix."
    )


def put_into(page: Path, text: str) -> None:
    """Replace what stands between the two marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    if not mark:
        raise SystemExit(f"{page.name} has no {_BEGIN.strip()} and {_END}: add both, on lines of their own")
    page.write_text(f"{before}{_BEGIN}\n{text}\n\n{_END}{after}", encoding="utf-8")
