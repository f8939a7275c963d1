"""Every way to a panel leads to one instance, in front, among the tabs; the manifest says what the catalogue says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from napari_sparse3d.catalog import PANELS
from napari_sparse3d.catalog.panels import PLUGIN_TITLE
from napari_sparse3d.errors import CatalogError

MANIFEST = Path(__file__).resolve().parents[2] / "napari.yaml"


def test_the_manifest_says_what_the_catalogue_says() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(MANIFEST)
    commands = {command.id: command for command in manifest.contributions.commands}
    assert manifest.display_name == PLUGIN_TITLE
    ours = [part for part in PANELS.values() if part.home.startswith("napari_sparse3d.")]
    assert [(f"{manifest.name}.{part.name}", part.title) for part in ours] == [
        (widget.command, widget.display_name) for widget in manifest.contributions.widgets
    ]
    for part in ours:
        command = commands[f"{manifest.name}.{part.name}"]
        assert (command.python_name, command.title) == (part.home, part.title)
        assert f"{manifest.name}.show_{part.name}" in commands
        assert part.description


def docks(viewer: Any) -> dict[str, Any]:
    return dict(viewer.window.dock_widgets)


def in_front(panel: Any) -> bool:
    """Whether it can be seen: of tabs, the one in front."""
    return bool(panel.isVisible() and not panel.visibleRegion().isEmpty())


@pytest.mark.gui
def test_one_instance_from_every_way_in(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> None:
    from napari._app_model import get_app_model

    from napari_sparse3d.widgets.show import show_panel

    viewer = make_napari_viewer(show=True)
    execute = get_app_model().commands.execute_command
    by_menu = execute("napari-sparse3d.train").result()  # as Plugins > Sparse 3D does
    panel = show_panel("train", viewer)
    assert list(docks(viewer)) == ["Train (Sparse 3D)"]
    other = show_panel("cohort", viewer)
    assert in_front(other)
    assert show_panel("train", viewer) is panel
    qtbot.waitUntil(lambda: in_front(panel), timeout=10_000)
    assert not in_front(other)
    # a script's way, which napari calls by another name, gives the same panel too
    _, scripted = viewer.window.add_plugin_dock_widget("napari-sparse3d", "Train", tabify=True)
    assert scripted is panel
    assert show_panel("train", viewer) is panel
    execute("napari-sparse3d.show_train").result()
    assert sum(type(each) is type(panel) for each in docks(viewer).values()) == 1
    assert len(docks(viewer)) == 2
    main = viewer.window._qt_window
    from napari_sparse3d.widgets.toolbox.viewers import dock_of

    assert dock_of(other) in main.tabifiedDockWidgets(dock_of(panel))
    del by_menu


@pytest.mark.gui
def test_every_way_in_raises_the_one_tab_with_the_one_title(
    make_napari_viewer: Any, one_child: Any, qtbot: Any
) -> None:
    """The panel is behind another each time: Plugins menu, palette, a script that asks for a tab or not, a button."""
    from napari._app_model import get_app_model

    from napari_sparse3d.widgets.show import show_panel
    from napari_sparse3d.widgets.toolbox.viewers import dock_of

    viewer = make_napari_viewer(show=True)
    execute, window = get_app_model().commands.execute_command, viewer.window
    ways = {
        "plugins menu": lambda: execute("napari-sparse3d.train").result(),
        "command palette": lambda: execute("napari-sparse3d.show_train").result(),
        "script": lambda: window.add_plugin_dock_widget("napari-sparse3d", "Train"),
        "script, again": lambda: window.add_plugin_dock_widget("napari-sparse3d", "Train", tabify=True),
        "button": lambda: cohort.show_panel("train"),
    }
    cohort = show_panel("cohort", viewer)
    train = show_panel("train", viewer)
    for way, come_in in ways.items():
        cohort.show_panel("cohort")
        qtbot.waitUntil(lambda: in_front(cohort) and not in_front(train), timeout=10_000)
        come_in()
        qtbot.waitUntil(lambda: in_front(train), timeout=10_000)
        assert sorted(docks(viewer)) == ["Cohort (Sparse 3D)", "Train (Sparse 3D)"], way
        dock = dock_of(train)
        assert dock.windowTitle() == "Train (Sparse 3D)", way
        assert dock_of(cohort) in window._qt_window.tabifiedDockWidgets(dock), way
    execute("napari-sparse3d.train").result()  # in front, its checked entry in the menu takes it away
    qtbot.waitUntil(lambda: not train.isVisible(), timeout=10_000)
    execute("napari-sparse3d.train").result()
    qtbot.waitUntil(lambda: in_front(train), timeout=10_000)


@pytest.mark.gui
def test_a_panel_that_was_closed_opens_again(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> None:
    from napari_sparse3d.widgets.show import show_panel
    from napari_sparse3d.widgets.toolbox.viewers import dock_of

    viewer = make_napari_viewer(show=True)
    panel = show_panel("train", viewer)
    dock_of(panel).destroyOnClose()
    qtbot.wait(50)
    assert docks(viewer) == {}
    again = show_panel("train", viewer)
    assert in_front(again)
    assert len(docks(viewer)) == 1


@pytest.mark.gui
def test_what_needs_an_extra_is_greyed_with_the_line_that_installs_it(
    make_napari_viewer: Any, one_child: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the base install that the plugin manager makes: the panels are all there."""
    from qtpy.QtCore import Qt

    from napari_sparse3d.widgets.show import show_panel

    for module in ("openTSNE", "pytorch_metric_learning", "captum", "optuna", "trimesh"):
        monkeypatch.setitem(sys.modules, module, None)
    viewer = make_napari_viewer(show=True)
    panels = {name: show_panel(name, viewer) for name in PANELS}
    maps = panels["cohort"].drawn.by
    assert not maps.model().item(maps.findText("t-SNE")).isEnabled()
    assert "pip install 'napari-sparse3d[train]'" in maps.itemData(maps.findText("t-SNE"), Qt.ItemDataRole.ToolTipRole)
    loss = panels["train"].loss
    greyed = [k for k in range(loss.count()) if not loss.model().item(k).isEnabled()]
    assert all("pip install" in loss.itemData(k, Qt.ItemDataRole.ToolTipRole) for k in greyed)
    assert maps.model().item(maps.findText("PCA")).isEnabled()


@pytest.mark.gui
def test_no_such_panel(make_napari_viewer: Any) -> None:
    from napari_sparse3d.widgets.show import show_panel

    viewer = make_napari_viewer(show=False)
    with pytest.raises(CatalogError, match="there is no panel 'x'; choose voxels, network, pick, cohort, look, train"):
        show_panel("x", viewer)


SOURCE = """
from napari_sparse3d.catalog import PanelInfo

info = PanelInfo(name="ruler", title="Ruler", description="Measures", home="stranger_panel:RulerPanel")
greyed = PanelInfo(name="saw", title="Saw", description="Cuts", home="nowhere:Saw", needs=("nowhere",),
                   install="pip install nowhere")

def __getattr__(name):
    if name != "RulerPanel":
        raise AttributeError(name)
    from napari_sparse3d.widgets.toolbox.panel import Panel

    class RulerPanel(Panel):
        primary_text = "Measure"

        def run(self):
            self.say(f"{len(self.viewer.layers)} layers measured.")

    globals()[name] = RulerPanel
    return RulerPanel
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package with two panels of its own, installed beside ours."""
    (tmp_path / "stranger_panel.py").write_text(SOURCE)
    about = tmp_path / "stranger_panel-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger_panel\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[napari_sparse3d.panels]\nruler = stranger_panel:info\nsaw = stranger_panel:greyed\n"
        "broken = stranger_panel:no\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    PANELS.forget()
    yield
    sys.modules.pop("stranger_panel", None)
    monkeypatch.undo()
    PANELS.forget()


@pytest.mark.gui
def test_a_strangers_panel_is_offered_and_works(
    stranger: None, make_napari_viewer: Any, one_child: Any, qtbot: Any
) -> None:
    from qtpy.QtWidgets import QPushButton

    from napari_sparse3d.widgets.show import show_panel

    viewer = make_napari_viewer(show=True)
    train = show_panel("train", viewer)
    (button,) = [each for each in train.findChildren(QPushButton) if each.text() == "More panels"]
    actions = {action.text(): action for action in button.menu().actions()}
    assert list(actions) == ["Ruler", "Saw", "broken"]
    assert [action.isEnabled() for action in actions.values()] == [True, False, False]
    assert "pip install nowhere" in actions["Saw"].toolTip()
    assert "AttributeError" in actions["broken"].toolTip()
    actions["Ruler"].trigger()
    panel = docks(viewer)["Ruler (Sparse 3D)"]
    assert in_front(panel)
    assert panel.workbench is train.workbench
    panel.press("primary")
    assert "0 layers measured." in panel.message.text()
    assert show_panel("ruler", viewer) is panel
