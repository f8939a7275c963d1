"""What docs/extending.md prints is what the tests of this folder install and run."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "extending.md"
PRINTED = re.compile(r"<!-- file (\S+) -->\n(.*?)<!-- /file -->", re.DOTALL)


def test_every_example_is_the_file_that_is_run():
    printed = PRINTED.findall(PAGE.read_text(encoding="utf-8"))
    assert len(printed) >= 6
    for name, text in printed:
        assert text == f"```python\n{(ROOT / name).read_text(encoding='utf-8')}```\n", name


def test_every_place_that_is_named_is_there():
    named = re.findall(
        r"`((?:tests|src|catalog|io|cases|cli|widgets|sparse|engine|models)/[\w/]+(?:\.\w+)?/?)`", PAGE.read_text()
    )
    assert len(named) > 15
    package = ROOT / "src" / "napari_sparse3d"
    assert [name for name in named if not (ROOT / name).exists() and not (package / name).exists()] == []


def test_every_kind_of_the_catalogue_is_on_the_page():
    from napari_sparse3d import catalog

    groups = {each.group for each in vars(catalog).values() if isinstance(each, catalog.Registry)}
    assert len(groups) >= 5
    assert [group for group in groups if f"`{group}`" not in PAGE.read_text()] == []
