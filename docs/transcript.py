"""Draws docs/transcript.png, what a notebook shows of the text that `refspec demo` begins with: python docs/transcript.py.

Needs chromium. The model, the prompt and the seed are the demo's own: the text was not chosen for its figures.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import refspec
from refspec.cli import demo
from refspec.cli.arguments import parser

PICTURE = Path(__file__).with_suffix(".png")
SIZE = "900,300"
PAGE = """<!doctype html><meta charset="utf-8">
<style>body { margin: 0; overflow: hidden; background: #ffffff } label { display: none }</style>
<body data-jp-theme-light="true">"""


def main() -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no chromium was found; install it, so that the page can be drawn")
    asked = vars(parser().parse_args(["demo"]))
    options = {"gamma": asked["gamma"], "seed": asked["seed"], "max_new_tokens": 83, "stop": (), "record": True}
    out = refspec.generate(demo.TARGET, demo.PROMPT, drafter=demo.DRAFT, **options)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(PAGE + out._repr_html_(), encoding="utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
        flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}/profile"]
        flags += [f"--window-size={SIZE}", f"--screenshot={PICTURE}", page.as_uri()]
        subprocess.run([browser, *flags], check=True, stderr=subprocess.DEVNULL, timeout=60)


if __name__ == "__main__":
    main()
