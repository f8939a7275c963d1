"""Forms that magicgui builds: what is set is what is read, bounds are the model's, nothing is cut in a narrow panel."""

from __future__ import annotations

from typing import Any

import pytest

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets.toolbox.fields import Field

pytestmark = pytest.mark.gui


@pytest.fixture
def control(qtbot: Any) -> Any:
    from napari_sparse3d.widgets.toolbox.controls import Control

    def make(field: Field, titles: Any = None) -> Any:
        made = Control(field, titles)
        qtbot.addWidget(made.widget)
        heard: list[int] = []
        made.changed.connect(lambda: heard.append(1))
        return made, heard

    return make


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (Field("a", "switch", False), [True, False]),
        (Field("a", "whole", 3, low=1), [1, 2**31 - 1]),
        (Field("a", "whole", 3, low=1, unit="voxels"), [1, 4096]),
        (Field("a", "number", 0.002, low=0, above=True), [1e-5, 0.25, 12.5]),
        (Field("a", "number", 0.3, low=0, high=1), [0.0, 0.125, 1.0]),
        (Field("a", "number", None, low=0, count=3, unit="mm"), [(1.5, 1.5, 1.5)]),
        (Field("a", "choice", "x", choices=("x", None, 6)), ["x", None, 6]),
        (Field("a", "subset", ("x",), choices=("x", "y", "z")), [("x", "z"), (), ("y",)]),
        (Field("a", "text", "auto"), ["", "other"]),
        (Field("a", "json", [1, 2]), [[3], {"b": None}, "text", 4]),
        (Field("a", "whole", None, low=1, words=(None,)), [5, None, 1]),
        (Field("a", "whole", "all", low=1, words=("all",)), [5, "all", 1]),
    ],
    ids=lambda each: each.kind + "+" * bool(each.words) if isinstance(each, Field) else "",
)
def test_what_is_shown_is_read_again(control: Any, field: Field, values: list[Any]) -> None:
    made, heard = control(field)
    if field.default is not None or None in field.words:
        assert made.value == field.default
    for value in values:
        made.show(value)
        assert made.value == value
        assert type(made.value) is type(value)
    assert not heard  # showing is not changing


def test_a_bound_is_that_of_the_annotation(control: Any) -> None:
    made, heard = control(Field("a", "number", 0.5, low=0, high=1, above=True, below=True))
    for typed, kept in ((0.0, 0.5), (7.0, 0.5), (1.0, 0.5), (0.0001, 0.0001), (0.25, 0.25)):  # taken, or refused
        made.parts["value"].setValue(typed)
        assert made.value == pytest.approx(kept)
    assert len(heard) == 2


def test_a_word_in_the_place_of_a_number(control: Any) -> None:
    made, heard = control(
        Field("keep", "whole", "all", low=1, words=("all",)), {"all": "everything", "number": "parts"}
    )
    words, number = made.parts["words"], made.parts["value"]
    assert [words.itemText(i) for i in range(words.count())] == ["everything", "parts"]
    assert not number.isEnabled()
    words.setCurrentIndex(1)
    assert number.isEnabled()
    assert made.value == 1
    number.setValue(4)
    assert made.value == 4
    assert len(heard) == 2


def test_what_is_no_json_is_a_sentence(control: Any) -> None:
    made, _ = control(Field("channels", "json", [1]))
    made.parts["value"].setText("[1, ")
    with pytest.raises(InputError, match=r"^channels is written as JSON, for example \[16, 32\]; got '\[1, '$"):
        _ = made.value


def test_a_form_knows_what_is_not_its_default(qtbot: Any) -> None:
    from napari_sparse3d.widgets.toolbox.forms import FieldsForm

    fields = (Field("rate", "number", 0.002, low=0, above=True), Field("sizes", "json", (1, 2)), Field("n", "whole", 3))
    form = FieldsForm(fields)
    qtbot.addWidget(form)
    assert form.changes() == {}
    form.controls["n"].parts["value"].setValue(5)
    form.show_values({"rate": 0.5, "other": 1})
    assert form.changes() == {"n": 5, "rate": 0.5}


def test_choosing_a_kind_shows_its_arguments(qtbot: Any) -> None:
    from napari_sparse3d.voxels.recipe import Resample
    from napari_sparse3d.widgets.toolbox.fields import kinds_of
    from napari_sparse3d.widgets.toolbox.forms import KindForm

    begin = {"longest_side": {"voxels": 110}, "spacing_mm": {"spacing_mm": (1.0, 1.0, 1.0)}}
    form = KindForm(kinds_of(Resample), {"longest_side": "side"}, begin, "how")
    qtbot.addWidget(form)
    form.show()

    def visible() -> list[str]:
        return [name for each in form.controls.values() for name, one in each.items() if one.widget.isVisible()]

    assert form.values() == {"kind": "longest_side", "voxels": 110}
    assert form.choice.itemText(0) == "side"
    shown = {}
    for index in range(form.choice.count()):
        form.choice.setCurrentIndex(index)
        shown[form.kind] = visible()
    assert shown == {"longest_side": ["voxels"], "none": [], "spacing_mm": ["spacing_mm"]}
    # what one number cannot show stays, until it is touched
    form.show_values({"kind": "spacing_mm", "spacing_mm": (3.0, 1.25, 1.7)})
    assert form.values()["spacing_mm"] == (3.0, 1.25, 1.7)
    form.controls["spacing_mm"]["spacing_mm"].parts["value"].setValue(2.0)
    assert form.values()["spacing_mm"] == (2.0, 2.0, 2.0)
