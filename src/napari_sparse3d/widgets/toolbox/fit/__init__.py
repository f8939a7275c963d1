"""Nothing is cut in a narrow dock or with a large font.

Controls beside each other stand in a :class:`Row`, which breaks. A form (``layout.form``) puts a control below its
label. :class:`Fit`, of which every panel has one, breaks the texts of buttons, and lets boxes show what stands in them
or say the rest on hover.
"""

from napari_sparse3d.widgets.toolbox.fit.row import Row
from napari_sparse3d.widgets.toolbox.fit.texts import Fit

__all__ = ["Fit", "Row"]
