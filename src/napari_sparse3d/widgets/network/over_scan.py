"""What is drawn of a result over its scan: the sites of a layer, and what drove a class."""

from __future__ import annotations

from functools import partial

from napari.layers import Image
from qtpy.QtCore import QObject

from napari_sparse3d.widgets.child.records import Attributed, Sites
from napari_sparse3d.widgets.network import jobs
from napari_sparse3d.widgets.network.results import Results
from napari_sparse3d.widgets.network.sites_layer import hide_sites, put_attribution, put_sites
from napari_sparse3d.widgets.network.state import Colouring, NetworkState, attributed, colouring
from napari_sparse3d.widgets.toolbox.failures import Failure
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.work import Work

CLOSED = "The scan was closed; open it again and run the model to see layers over it."


class OverScan(QObject):
    """Fetches it from the child process and shows it; nothing of a result that has gone is shown any more."""

    def __init__(self, panel: Panel, state: NetworkState, results: Results) -> None:
        super().__init__(panel)
        self.panel, self.viewer, self.state, self.results = panel, panel.viewer, state, results
        self.child = panel.workbench.network_child
        self.viewing, self.attributing = Work(self), Work(self, interrupt=self.child.stop)
        panel.follow(self.attributing)
        self.attributing.finished.connect(self._show_attribution)
        self.viewing.finished.connect(self._show_sites)
        self.viewing.failed.connect(self._not_fetched)
        results.table.chosen.connect(self.see_layer)
        results.colour_by.currentIndexChanged.connect(self._recolour)
        results.channel.valueChanged.connect(self._channel_stepped)
        results.attribute_button.clicked.connect(self.attribute)

    # -- a layer -------------------------------------------------------------------------------------------------------

    def see_layer(self, name: str) -> None:
        """Fetch what a layer gave, and show it over the scan."""
        if self.state.ran is None:
            return
        self.results.say_of_picture(f"Fetching {name} …")
        request = self.state.ran.result.request
        self.viewing.start(partial(self.child.call, "network.layer", request=request, name=name), f"fetching {name}")

    def _show_sites(self, found: Sites) -> None:
        self.state.sites = found
        self.results.set_channels(found.values.shape[1])
        self._recolour()

    def _channel_stepped(self, _value: int) -> None:
        box = self.results.colour_by
        if box.currentData() != "channel":
            box.setCurrentIndex(box.findData("channel"))  # recolours
        else:
            self._recolour()

    def _recolour(self, _index: int = 0) -> None:
        sites, ran = self.state.sites, self.state.ran
        if sites is None or ran is None:
            return
        shown = colouring(sites, self.results.chosen_channel)
        name = f"{sites.layer} ({sites.shape[0]}³)"
        self._say(put_sites(self.viewer, ran, name, sites, shown.values, signed=shown.signed), shown)

    def _not_fetched(self, failure: Failure) -> None:
        self.results.forget_row()
        self.panel.fail(failure)

    # -- an attribution ------------------------------------------------------------------------------------------------

    def attribute(self) -> None:
        """Ask which voxels drove the chosen class."""
        if self.state.ran is None:
            return
        request, target = self.state.ran.result.request, self.results.target.currentIndex()
        method = self.results.method.currentData()
        job = partial(jobs.attribute, self.child, request, target, method)
        self.attributing.start(job, f"computing the {self.results.method.currentText()}")

    def _show_attribution(self, drove: Attributed) -> None:
        ran = self.state.ran
        if ran is None:
            return
        self.state.drove = drove
        self.results.forget_row()  # it is not what is seen any more: a click brings it back
        shown = attributed(drove, trained=ran.result.model.trained)
        self._say(put_attribution(self.viewer, ran, drove), shown)

    def _say(self, layer: Image | None, shown: Colouring) -> None:
        """Say what is drawn and in what colours; without the scan, say that."""
        if layer is None:
            self.results.say_of_picture(CLOSED)
        else:
            self.results.say_of_picture(shown.text)
            low, high = layer.contrast_limits
            self.results.colours.show_map(layer.colormap.map, float(low), float(high), signed=shown.signed)

    # -- what has gone -------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Nothing of the result's layers is shown any more, nor what is still fetched of them."""
        self.drop_fetches()
        self.state.sites = self.state.drove = None
        if self.state.ran is not None:
            hide_sites(self.viewer, self.state.ran.volume_id)

    def drop_fetches(self) -> None:
        """What is fetched of a result comes too late for the next."""
        if self.viewing.running:
            self.results.forget_row()
        self.viewing.drop()
        self.attributing.drop()
