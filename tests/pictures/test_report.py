"""A report page stands alone and shows text as text."""

from html.parser import HTMLParser

from napari_sparse3d.pictures import report


class _Balance(HTMLParser):
    """Collects the tags that stay open or close nothing."""

    void = frozenset({"meta", "img", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.faults, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_every_tag_is_closed_and_text_is_escaped():
    hostile = '<script>alert("x")</script> & more'
    page = report.page(
        hostile,
        hostile,
        report.figures([(hostile, hostile)]),
        report.heading(hostile),
        report.paragraph(hostile),
        report.picture(b"\x89PNG", hostile),
        report.table([hostile, "b"], [[hostile, "1"]]),
        report.code(hostile),
        footer=hostile,
    )
    parser = _Balance()
    parser.feed(page)
    assert parser.open == parser.faults == []
    assert "<script" not in page
    assert "".join(parser.text).count(hostile) == 12  # the title twice


def test_nothing_comes_from_the_net():
    page = report.page("t", "l", report.picture(b"\x89PNG", "c"))
    assert "http" not in page
    assert 'src="data:image/png;base64,' in page
