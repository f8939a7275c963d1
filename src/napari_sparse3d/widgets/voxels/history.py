"""The sets that were shown before, so that the last change can be undone. No Qt."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels

_MOST_BYTES = 500_000_000
"""Of all sets that are kept for one scan; the last one is kept whatever it takes."""


@dataclass
class History:
    """For each scan's layer, the sets that others replaced, the last one first to come back."""

    _before: dict[str, deque[ScanVoxels]] = field(default_factory=dict)

    def replaced(self, volume_id: str, earlier: ScanVoxels) -> None:
        """Keep what another set replaces."""
        before = self._before.setdefault(volume_id, deque())
        before.append(earlier)
        while len(before) > 1 and sum(map(_bytes, before)) > _MOST_BYTES:
            before.popleft()

    def last(self, volume_id: str) -> ScanVoxels | None:
        """What an undo would bring back."""
        before = self._before.get(volume_id)
        return before[-1] if before else None

    def take(self, volume_id: str) -> None:
        """It has been brought back."""
        self._before[volume_id].pop()

    def forget(self, volume_ids: set[str]) -> None:
        """Forget all scans but these: the others were closed."""
        self._before = {key: before for key, before in self._before.items() if key in volume_ids}


def _bytes(made: ScanVoxels) -> int:
    return made.voxels.indices.nbytes + made.voxels.features.nbytes
