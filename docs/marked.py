"""Tables between marks of a page: where a script writes what it makes from the records."""

from __future__ import annotations

import re
from collections.abc import Mapping


def filled(text: str, tables: Mapping[str, str]) -> str:
    """Returns the page with its tables made anew, each after its `<!-- table: NAME -->`."""
    for name, table in tables.items():
        marks = rf"(<!-- table: {re.escape(name)} -->\n).*?(<!-- end -->)"
        text = re.sub(marks, lambda m, t=table: m[1] + t + m[2], text, flags=re.DOTALL)
    return text
