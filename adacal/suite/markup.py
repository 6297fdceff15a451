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

PAGE_LINES = 45
"""Lines of a LaTeX table's rows: with caption, heads and notes they fit a page of 550 pt."""

LONG_EM = 9
LONG_LETTERS = 17
"""Width of columns whose texts are broken, and how many letters of ours it holds at least."""


@dataclass(frozen=True)
class Grid:
    """A table ready to print.

    Attributes:
        heads: one a column.
        left: which columns are text.
        cells: rows of texts.
        notes: what stands below, a paragraph each.
        long: the columns whose texts LaTeX breaks into lines.
    """

    heads: Sequence[str]
    left: Sequence[bool]
    cells: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default=())
    long: Sequence[int] = ()


def markdown(grid: Grid) -> str:
    """Returns a Markdown table with its notes below."""
    lines = [
        _line(grid.heads),
        "|" + "|".join(":--" if left else "--:" for left in grid.left) + "|",
        *(_line(row) for row in grid.cells),
    ]
    return "\n".join(lines) + "".join(f"\n\n{note}" for note in grid.notes) + "\n"


def latex(grid: Grid, title: str, label: str) -> str:
    r"""Returns LaTeX tables for `\usepackage{booktabs}`; they need no other package.

    Each takes a page across, both columns of a paper that has two (from 465 pt on). What does not
    fit gets fewer columns by `--columns`. What is longer than a page goes on in further tables
    of the same number; the notes stand below the last.

    Args:
        grid: the table.
        title: the caption.
        label: for `\ref`; of the first table.
    """
    parts = _parts(grid)
    captions = [f"{title} (continued, {i} of {len(parts)})" for i in range(1, len(parts) + 1)]
    captions[0] = title if len(parts) == 1 else f"{title} (1 of {len(parts)})"
    lines = [r"% needs \usepackage{booktabs}"]
    for number, (rows, caption) in enumerate(zip(parts, captions, strict=True)):
        # The caption of a further table would count as another table.
        again = [r"\addtocounter{table}{-1}"] if number else []
        named = [] if number else [r"\label{" + label + "}"]
        last = number == len(parts) - 1
        lines += [
            r"\begin{table*}",
            r"\centering",
            r"\scriptsize",
            r"\setlength{\tabcolsep}{2pt}",
            *again,
            r"\caption{" + tex(caption) + ".}",
            *named,
            *_tabular(grid, rows),
            *(rf"\par\smallskip\raggedright {_note(note)}" for note in grid.notes if last),
            r"\end{table*}",
        ]
    return "\n".join(lines) + "\n"


def _parts(grid: Grid) -> list[list[Sequence[str]]]:
    """Splits the rows into tables that fit a page, broken names counted line by line."""
    parts: list[list[Sequence[str]]] = [[]]
    used = 0
    for row in grid.cells:
        height = max((_height(row[i]) for i in grid.long), default=1)
        if parts[-1] and used + height > PAGE_LINES:
            parts.append([])
            used = 0
        parts[-1].append(row)
        used += height
    return parts


def _height(text: str) -> int:
    """Returns how many lines a name takes where LaTeX breaks it, rather one too many."""
    lines, filled = 1, 0
    for piece in re.split("\0| ", _breakable(text)):
        if filled and filled + len(piece) > LONG_LETTERS:
            lines, filled = lines + 1, 0
        filled += len(piece) + 1
    return lines


def _tabular(grid: Grid, rows: Sequence[Sequence[str]]) -> list[str]:
    kinds = ["l" if left else "r" for left in grid.left]
    for i in grid.long:
        kinds[i] = rf"p{{{LONG_EM}em}}"
    heads = (_stacked(head, left) for head, left in zip(grid.heads, grid.left, strict=True))
    return [
        r"\begin{tabular}{@{}" + "".join(kinds) + "@{}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *(_row(grid, row) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _row(grid: Grid, row: Sequence[str]) -> str:
    cells = (_broken(text) if i in grid.long else tex(text) for i, text in enumerate(row))
    # A row that begins with [ would be taken for the option of the line's end before it, and a
    # plain \\ behind \raggedright would only break the line of the cell.
    return "{}" + " & ".join(cells) + r" \tabularnewline"


def _note(note: str) -> str:
    return tex(note.replace("`", ""))


def _stacked(head: str, left: bool) -> str:
    """Breaks a head into lines at its spaces, outside of brackets, so that columns stay narrow."""
    words = re.split(r" (?![^\[(]*[\])])", head)
    parts = [tex(word) for word in words]
    if len(parts) == 1:
        return parts[0]
    # Braces: a line that begins with [ would be taken for the option of the \\ before it.
    return rf"\shortstack[{'l' if left else 'r'}]{{" + r"\\{}".join(parts) + "}"


def _broken(text: str) -> str:
    return r"\raggedright " + tex(_breakable(text)).replace("\0", r"\allowbreak{}")


def _breakable(text: str) -> str:
    """Marks with zeros where LaTeX may break a long name: behind signs, as it does at spaces."""
    return re.sub("[_(/]|=(?={)", "\\g<0>\0", text)


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
