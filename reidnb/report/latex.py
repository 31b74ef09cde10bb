"""Tables as LaTeX with booktabs, ready for a paper."""

import pandas as pd

_SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': "''",
        "–": "--",
        "−": "$-$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "→": r"$\rightarrow$",
        "α": r"$\alpha$",
        "β": r"$\beta$",
        "λ": r"$\lambda$",
        "μ": r"$\mu$",
    }
)
_LONG = 30
"""A column with longer texts, in characters, is set as a paragraph of ``_PARAGRAPH`` characters, about 3.4 cm."""
_PARAGRAPH = 24
_PAGE = 66
"""The number of characters of the small size that fit on a line of a page of one column."""


def escape(text: object) -> str:
    """Text that LaTeX prints as it is."""
    return str(text).translate(_SPECIAL)


def table(text: pd.DataFrame, left: set[int], *, caption: str, label: str) -> str:
    """A table of texts as a float with rules, caption and label; ``left`` are the columns that hold words.

    Needs the packages booktabs and, for one that is wider than a column, graphicx: it runs over both columns of a
    page, shrunk to their width.
    """
    heads = [len(column[-1] if isinstance(column, tuple) else column) for column in text]
    longest = [max([n, *map(len, text.iloc[:, place])]) for place, n in enumerate(heads)]
    kinds = ["p{3.4cm}" if n > _LONG else "l" if place in left else "r" for place, n in enumerate(longest)]
    is_wide = sum(_PARAGRAPH if n > _LONG else n for n in longest) + 2 * len(longest) > _PAGE
    text = (
        text.style.hide(axis="index")
        .format(escape)
        .format_index(escape, axis=1)
        .to_latex(
            hrules=True,
            column_format="".join(kinds),
            position="tb",
            position_float="centering",
            multicol_align="c",
            environment="table*" if is_wide else "table",
            caption=escape(caption) or None,
            label=label,
        )
    )
    text = text.replace("\\centering\n", "\\centering\n\\footnotesize\n", 1)
    if is_wide:
        text = text.replace("\\begin{tabular}", "\\resizebox{\\linewidth}{!}{%\n\\begin{tabular}", 1)
        text = text.replace("\\end{tabular}\n", "\\end{tabular}}\n", 1)
    return f"% \\usepackage{{booktabs{',graphicx' if is_wide else ''}}}\n{text}"
