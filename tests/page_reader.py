"""What is on an HTML page: for tests of pages."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Takes a page apart: tables as text, addresses, identifiers, headings and tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.addresses: list[str] = []
        self.identifiers: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.addresses += [v or "" for k, v in attrs if k.endswith(("src", "href", "action"))]
        self.identifiers += [found["id"] or ""] if "id" in found else []
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        self.cell = tag in ("td", "th")
        if self.cell:
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.cell:
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.cell = self.cell and tag not in ("td", "th")

    def rows(self, heading: str) -> dict[str, list[str]]:
        """Rows of the table whose header has a heading, by their first cell."""
        (table,) = [table for table in self.tables if heading in table[0]]
        return {row[0]: row[1:] for row in table[1:]}
