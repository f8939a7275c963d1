"""One HTML page with everything inside: pictures, tables, the lines that repeat it. No script, nothing from the net."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

_CSS = """
:root { --ink: #1b1f24; --muted: #5b6670; --rule: #dfe4e8; --paper: #ffffff; --wash: #f4f6f8; --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaee; --muted: #9aa6b1; --rule: #2c343c; --paper: #14181c; --wash: #1c2228; --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
       font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p { margin: .5rem 0 1rem; max-width: 46rem; }
.lead { color: var(--muted); font-size: 1.08rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; margin: 1.75rem 0; }
.figures div { background: var(--wash); border-radius: .5rem; padding: .9rem 1.1rem; }
.figures b { display: block; font-size: 1.45rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures span { color: var(--muted); font-size: .88rem; }
figure { margin: 1rem 0; }
img { width: 100%; height: auto; border-radius: .5rem; display: block; }
figcaption { color: var(--muted); font-size: .9rem; margin-top: .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { padding: .4rem .75rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--muted); font-weight: 500; font-size: .85rem; }
th.text, td.text { text-align: left; }
th:first-child, td:first-child { padding-left: 0; }
pre { background: var(--wash); border-radius: .5rem; padding: 1rem 1.1rem; overflow-x: auto; font-size: .88rem;
      line-height: 1.5; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--rule); color: var(--muted);
         font-size: .88rem; }
"""


def page(title: str, lead: str, *sections: str, footer: str = "") -> str:
    """A whole page. ``title``, ``lead`` and ``footer`` are text; ``sections`` are HTML made by the functions below."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n'
        + "\n".join(sections)
        + (f"\n<footer>{escape(footer)}</footer>" if footer else "")
        + "\n</main>\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """A heading inside the page."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{escape(text)}</p>"


def figures(numbers: Sequence[tuple[str, str]]) -> str:
    """Key figures side by side: (value, what it is)."""
    tiles = "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in numbers)
    return f'<div class="figures">{tiles}</div>'


def picture(png: bytes, caption: str) -> str:
    """A PNG, embedded; the caption is what a screen reader says as well."""
    data = base64.b64encode(png).decode("ascii")
    words = escape(caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{words}"><figcaption>{words}</figcaption></figure>'


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    """A table; the first ``text_columns`` columns are left-aligned, the others, which hold numbers, right-aligned."""

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="text"' if place < text_columns else "" for place in range(len(cells))]
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))

    body = "\n".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{line(columns, "th")}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def code(text: str) -> str:
    """Lines to copy."""
    return f"<pre>{escape(text)}</pre>"
