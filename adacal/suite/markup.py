"""Any printed table as Markdown, LaTeX (booktabs) or HTML: heads, cells, what is text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "–": "--", "×": r"$\times$", "±": r"$\pm$", "µ": r"$\mu$", "φ": r"$\varphi$",
    "θ": r"$\theta$", "ρ": r"$\rho$", "●": r"$\bullet$", "○": r"$\circ$",
    "…": r"\ldots{}", "·": r"$\cdot$",
    "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$", "\N{NO-BREAK SPACE}": "~",
}  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """A table ready to print.

    Attributes:
        heads: one a column.
        left: which columns are text.
        cells: rows of texts.
        notes: what stands below, a paragraph each.
        long: the column whose texts LaTeX breaks into lines; none below 0.
    """

    heads: Sequence[str]
    left: Sequence[bool]
    cells: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default=())
    long: int = -1


def markdown(grid: Grid) -> str:
    """Returns a Markdown table with its notes below."""
    lines = [
        _line(grid.heads),
        "|" + "|".join(":--" if left else "--:" for left in grid.left) + "|",
        *(_line(row) for row in grid.cells),
    ]
    return "\n".join(lines) + "".join(f"\n\n{note}" for note in grid.notes) + "\n"


def latex(grid: Grid, title: str, label: str) -> str:
    r"""Returns a LaTeX table for `\usepackage{booktabs}`; it needs no other package.

    It takes a page across, both columns of a paper that has two. What does not fit gets fewer
    columns by `--columns`.

    Args:
        grid: the table.
        title: the caption.
        label: for `\ref`.
    """
    kinds = ["l" if left else "r" for left in grid.left]
    if grid.long >= 0:
        kinds[grid.long] = r"p{0.175\linewidth}"
    rows = [
        [_broken(cell) if place == grid.long else tex(cell) for place, cell in enumerate(row)]
        for row in grid.cells
    ]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{2.5pt}",
        r"\caption{" + tex(title) + ".}",
        r"\label{" + label + "}",
        r"\begin{tabular}{@{}" + "".join(kinds) + "@{}}",
        r"\toprule",
        " & ".join(_stacked(head, left) for head, left in zip(grid.heads, grid.left, strict=True))
        + r" \\",
        r"\midrule",
        # A row that begins with [ would be taken for the option of the \\ before it.
        *("{}" + " & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(r"\par\smallskip\raggedright " + tex(note.replace("`", "")) for note in grid.notes),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _stacked(head: str, left: bool) -> str:
    """Breaks a head into lines at its spaces, outside of brackets, so that columns stay narrow."""
    words = re.split(r" (?![^\[(]*[\])])", head)
    parts = [tex(word) for word in words]
    if len(parts) == 1:
        return parts[0]
    # Braces: a line that begins with [ would be taken for the option of the \\ before it.
    return rf"\shortstack[{'l' if left else 'r'}]{{" + r"\\{}".join(parts) + "}"


def _broken(text: str) -> str:
    """Lets LaTeX break a long name where it has an underscore or a bracket."""
    marked = text.replace("_", "_\0").replace("(", "(\0").replace("={", "=\0{")
    return r"\raggedright " + tex(marked).replace("\0", r"\allowbreak{}")


def html(grid: Grid, title: str) -> str:
    """Returns a plain HTML table with its notes below."""
    sides = [f'style="text-align:{"left" if left else "right"}"' for left in grid.left]
    heads = "".join(
        f'<th scope="col" {side}>{escape(head)}</th>'
        for side, head in zip(sides, grid.heads, strict=True)
    )
    rows = [
        "".join(f"<td {side}>{escape(cell)}</td>" for side, cell in zip(sides, row, strict=True))
        for row in grid.cells
    ]
    lines = [
        "<table>",
        f"<caption>{escape(title)}</caption>",
        f"<thead><tr>{heads}</tr></thead>",
        "<tbody>",
        *(f"<tr>{row}</tr>" for row in rows),
        "</tbody>",
        "</table>",
        *(f"<p>{escape(note)}</p>" for note in grid.notes),
    ]
    return "\n".join(lines) + "\n"


def tex(text: str) -> str:
    r"""Returns the text with what LaTeX would take for commands, and our symbols, written out.

    >>> print(tex("φ=4 & 50 % of max_spikes"))
    $\varphi$=4 \& 50 \% of max\_spikes
    """
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _line(words: Sequence[str]) -> str:
    return "| " + " | ".join(word.replace("|", "\\|") for word in words) + " |"
