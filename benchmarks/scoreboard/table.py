"""The verdicts as a table and totals."""

from __future__ import annotations

from collections.abc import Sequence

from scoreboard.judge import Verdict


def markdown(verdicts: Sequence[Verdict]) -> str:
    """A row a set, then totals."""
    head = ["set", "images: ours / dcm2niix / published", "right", "refused", "wrong", "what differs"]
    lines = [head, ["---"] * len(head)]
    for verdict in verdicts:
        counts = " / ".join(map(str, verdict.counts))
        right, refused, wrong = len(verdict.right), len(verdict.refused), len(verdict.wrong)
        told = "<br>".join(text.replace("|", "\\|") for text in differing(verdict))
        lines.append([verdict.name, counts, str(right), str(refused), str(wrong), told])
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", totals(verdicts)])


def plain(verdicts: Sequence[Verdict]) -> str:
    """The same for a terminal."""
    lines = []
    for verdict in verdicts:
        ours, dcm2niix, published = verdict.counts
        score = f"{len(verdict.right)} right, {len(verdict.refused)} refused, {len(verdict.wrong)} wrong"
        lines.append(f"{verdict.name}: {score} (ours {ours}, dcm2niix {dcm2niix}, published {published})")
        lines += [f"    {text}" for text in differing(verdict)]
    return "\n".join([*lines, totals(verdicts)])


def differing(verdict: Verdict) -> list[str]:
    """Everything but plain agreement, in words."""
    return [
        *(f"wrong {name}: {why}" for name, why in verdict.wrong.items()),
        *(f"we refuse {name}: {why}" for name, why in verdict.refused.items()),
        *(f"only ours {name}: {why}" for name, why in verdict.only_ours.items()),
        *verdict.notes,
    ]


def totals(verdicts: Sequence[Verdict]) -> str:
    """``"12 right, 3 refused, 0 wrong, 1 only ours"``."""
    right = sum(len(verdict.right) for verdict in verdicts)
    refused = sum(len(verdict.refused) for verdict in verdicts)
    wrong = sum(len(verdict.wrong) for verdict in verdicts)
    only = sum(len(verdict.only_ours) for verdict in verdicts)
    return f"{right} right, {refused} refused, {wrong} wrong, {only} only ours; {len(verdicts)} sets"
