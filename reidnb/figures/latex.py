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
# A column with longer texts than this is set as a paragraph.
_LONG = 30


def escape(text: object) -> str:
    """Text that LaTeX prints as it is."""
    return str(text).translate(_SPECIAL)


def table(shown: pd.DataFrame, left: set[int], *, caption: str, label: str) -> str:
    """A table of texts as a float with rules, caption and label; ``left`` are the columns that hold words.

    Needs the package booktabs. A wide one runs over both columns of a page.
    """
    longest = [max(map(len, shown.iloc[:, place]), default=0) for place in range(shown.shape[1])]
    kinds = ["p{3.4cm}" if n > _LONG else "l" if place in left else "r" for place, n in enumerate(longest)]
    is_wide = sum(min(n, _LONG) for n in longest) > 80
    text = (
        shown.style.hide(axis="index")
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
    small = "\\centering\n\\footnotesize\n" + ("\\setlength{\\tabcolsep}{3pt}\n" if is_wide else "")
    return "% \\usepackage{booktabs}\n" + text.replace("\\centering\n", small, 1)
