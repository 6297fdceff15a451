"""Writes into the how-to guides the files that `adacal new` starts from; `make guides` runs it."""

from __future__ import annotations

import re
from pathlib import Path

from adacal.suite.scaffold import read
from adacal.suite.store import write_replacing

GUIDES = Path(__file__).resolve().parent / "how-to"
BLOCK = re.compile(r"(<!-- scaffold ([\w.]+): make guides -->\n```\w+\n)(.*?)(```)", re.DOTALL)


def filled(guide: str) -> str:
    """Returns a guide with each marked block replaced by the file that its mark names."""
    return BLOCK.sub(lambda found: found[1] + read(found[2]) + found[4], guide)


def main() -> None:
    """Rewrites the guides whose blocks are not what the files say."""
    for path in sorted(GUIDES.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if filled(text) != text:
            write_replacing(path, filled(text))


if __name__ == "__main__":
    main()
