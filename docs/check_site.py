"""`python docs/check_site.py site`: every link leads to a page and an anchor that exist, and no page fetches anything."""

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src")}


class Page(HTMLParser):
    """Its anchors, and what it points to: (tag, address)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors = {"", "top"}
        self.links: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if value and ((tag, name) in FETCHED or (tag, name) == ("a", "href")):
                self.links.append((tag, value))


@cache
def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def faults(site: Path) -> list[str]:
    found = []
    for path in sorted(site.rglob("*.html")):
        for tag, address in page(path).links:
            link = urlsplit(address)
            if link.scheme or link.netloc:
                if tag != "a" and link.scheme != "data":
                    found.append(f"{path.relative_to(site)} fetches {address}")
                continue
            goal = (path.parent / unquote(link.path)).resolve() if link.path else path
            if not goal.is_file():
                found.append(f"{path.relative_to(site)}: no file for {address}")
            elif goal.suffix == ".html" and unquote(link.fragment) not in page(goal).anchors:
                found.append(f"{path.relative_to(site)}: no anchor for {address}")
    return found


if __name__ == "__main__":
    site = Path(sys.argv[1])
    wrong = faults(site)
    pages = len(list(site.rglob("*.html")))
    sys.exit("\n".join(wrong) or (None if pages > 20 else f"{site} holds {pages} pages"))
