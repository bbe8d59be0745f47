"""Reads a report.html for the tests: balanced tags, the text of each section, the attributes."""

from html.parser import HTMLParser

from datm.reporting import report

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags balance; collects sections' text, attributes and tag counts."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.attributes, self.tags = [], {}, [], []
        self.section = None
        self.feed(html)
        self.close()
        assert self.open == [], "tags left open"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag == "section":
            self.section = dict(attrs)["id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        if tag == "section":
            self.section = None

    def handle_data(self, data):
        self.text[self.section] = self.text.get(self.section, "") + data.replace("\u00a0", " ")


def read(run):
    """Write the report of `run`; the page as read, and its text."""
    path = report(run)
    assert path == run / "report.html"
    html = path.read_text(encoding="utf-8")
    return Page(html), html
