"""`refspec models`: what is known by name, and what is on disk."""

import argparse
from pathlib import Path

from refspec.cli.exits import SUCCESS
from refspec.models.home import EMBEDDED, EMBEDDED_DRAFTS, KNOWN, folder_of, home


def listing() -> str:
    """The known models with a word on each, then every folder that was fetched, with its size and path."""
    folder = home() / "models"
    here = sorted(path for path in folder.glob("*") if path.is_dir() and not path.name.startswith("."))
    lines = ["inside the package", *(f"  {name:<27}{about}" for name, about in (EMBEDDED | EMBEDDED_DRAFTS).items())]
    lines.append("known by name (to fetch one: python -m weights_tools fetch NAME)")
    for known in KNOWN.values():
        lines.append(f"  {known.name:<18}{'on disk' if folder_of(known.name) in here else '-':<9}{known.about}")
    lines.append(f"on disk, in {folder} (REFSPEC_HOME moves it)" + ("" if here else ": none"))
    for path in here:
        lines.append(f"  {path.name.replace('--', '/', 1):<18}{size(path) / 1e6:>9,.1f} MB  {path}")
    return "\n".join(lines)


def size(folder: Path) -> int:
    """Bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def run(options: argparse.Namespace) -> int:
    print(listing())
    return SUCCESS
