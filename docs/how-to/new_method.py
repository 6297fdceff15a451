"""Starts a method: writes the two files of `add-a-method.md` with another name in them.

Usage: make new-method NAME=my_method
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]


def main(name: str) -> str:
    """Writes both files and returns what was done, or raises SystemExit with one sentence."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SystemExit(
            f"a method's name is small letters, digits and _, got '{name}'; "
            "write for example: make new-method NAME=my_method"
        )
    guide = (HERE / "add-a-method.md").read_text(encoding="utf-8")
    code, config = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)[:2]
    files = {
        CHECKOUT / "adacal" / "methods" / f"{name}.py": code,
        CHECKOUT / "configs" / "_base_" / "methods" / f"{name}.py": config,
    }
    for path in files:
        if path.exists():
            raise SystemExit(f"{path.relative_to(CHECKOUT)} exists already; choose another name")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        renamed = text.replace("half_peak", name).replace("HalfPeak", class_name)
        path.write_text(renamed, encoding="utf-8")
    listing = " and ".join(str(path.relative_to(CHECKOUT)) for path in files)
    return f"wrote {listing}; change them, then: make check"


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1] if len(sys.argv) > 1 else "") + "\n")
