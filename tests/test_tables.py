"""Tables as text and as HTML."""

from foveal.tables import html_table, text_table


def test_a_table_is_aligned() -> None:
    shown = text_table(["name", "n"], [["a", "1"], ["long name", "100"]], right={1})
    assert shown.splitlines() == [
        "name         n",
        "─────────  ───",
        "a            1",
        "long name  100",
    ]


def test_every_text_of_an_html_table_is_escaped() -> None:
    page = html_table(["<a>"], [["<b>"]], tooltips=['"<c>'])
    assert page == (
        "<table><thead><tr><th>&lt;a&gt;</th></tr></thead>"
        '<tbody><tr title="&quot;&lt;c&gt;"><td>&lt;b&gt;</td></tr></tbody></table>'
    )


def test_without_a_header_the_first_cells_are_headings() -> None:
    page = html_table(None, [("state", "trained"), ("<a>", "b")])
    assert page == (
        "<table><tr><th>state</th><td>trained</td></tr><tr><th>&lt;a&gt;</th><td>b</td></tr></table>"
    )
