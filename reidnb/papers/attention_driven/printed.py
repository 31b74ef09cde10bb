"""What the text claims that no difference of two rows of a table shows: sizes, and differences of differences.

None of it needs a training. The claims about single tables are ``tables.CLAIMS``.
"""

from importlib.resources import files

import pandas as pd
import torch

from . import cost
from .network import AttentionDriven

HOLDS, FAILS, NO_THRESHOLD, NOT_PRINTED = "holds", "does not hold", "no threshold printed", "not printed"
COLUMNS = ("claim", "where", "in print", "verdict in print", "measured", "verdict measured")


def claims() -> pd.DataFrame:
    """A row for each claim: what the paper's numbers say of it, and what the networks of this study measure."""
    rows = [*_sizes(), *_light(), *_decomposition(), _fall_of_duke(), _consistency()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def lambda_fall(scores: pd.DataFrame) -> pd.DataFrame:
    """Table 10: how far each data set falls from its best lambda to lambda = 1, in points of each metric.

    ``scores`` has the columns dataset, row ('lambda=0' .. 'lambda=1.0'), rank1 and map in percent; a row for each data
    set. Section 4.4.4 claims that DukeMTMC-reID falls farther than Market-1501 and CUHK03.
    """
    falls = {}
    for dataset, rows in scores.set_index("row").groupby("dataset", sort=False):
        falls[dataset] = {metric: rows[metric].max() - rows[metric]["lambda=1.0"] for metric in ("rank1", "map")}
    return pd.DataFrame(falls).T.round(2)


def annotation_gap() -> pd.Series:
    """Table 5: rank-1 on labelled minus rank-1 on detected boxes of CUHK03, of each method with both, in points.

    Section 4.2 claims that 'most state-of-the-art methods have much larger performance drops' than 'Ours'.
    """
    rank1 = _published("table5").pivot_table(index="row", columns="dataset", values="rank1", sort=False)
    gap = rank1["cuhk03-labeled"] - rank1["cuhk03-detected"]
    return gap.dropna().round(2).sort_values().rename("gap")


def _published(table: str) -> pd.DataFrame:
    frame = pd.read_csv(files(__package__) / "published.csv")
    return frame[frame.table == table]


def _sizes() -> list[tuple[str, ...]]:
    """The base network among the four well-known ones, by parameters and by multiply-adds."""
    frame, rows = cost.table12().drop(index="Full model"), []
    for column, name, unit in (("parameters_million", "parameters", 1), ("flops", "multiply-adds", 1e9)):
        texts = []
        for values in (frame[f"published_{column}"], frame[column]):
            smallest = values.sort_values()[:3] / unit
            second = smallest.index[1] == "Basemodel"
            texts += [" < ".join(f"{row} {value:.2f}" for row, value in smallest.items()), HOLDS if second else FAILS]
        rows.append((f"The base network has the second-fewest {name} of five networks", "section 4.4.5", *texts))
    return rows


def _light() -> list[tuple[str, ...]]:
    """What the two attentions add to the base network."""
    parts, rows = cost.table12_parts(), []
    for column, name in (("flops", "multiply-adds"), ("parameters_million", "parameters")):
        texts = []
        for values in (parts[f"published_{column}"], parts[column]):
            texts += [f"{100 * values[cost.ATTENTION] / values['Basemodel']:+.0f} %", NO_THRESHOLD]
        rows.append((f"Both attentions are computationally light: {name} added", "section 4.4.5", *texts))
    return rows


def _decomposition() -> list[tuple[str, ...]]:
    """Parameters of the full model with decomposed attention, and with each form of attention without it."""
    rows = []
    with torch.device("meta"):
        decomposed = cost.parameters_and_operations(AttentionDriven(1).eval())[0]
        for form in ("3x3", "1x1"):
            network = AttentionDriven(1, decomposed=False, undecomposed=form).eval()
            other = cost.parameters_and_operations(network)[0]
            rows.append(
                (
                    f"The decomposition reduces the number of parameters (against a {form} convolution)",
                    *("section 3.3.2", "no number", NOT_PRINTED),
                    f"{decomposed:.2f} against {other:.2f} million",
                    HOLDS if decomposed < other else FAILS,
                )
            )
    return rows


def _fall_of_duke() -> tuple[str, ...]:
    falls = lambda_fall(_published("table10"))
    others = falls.drop(index="dukemtmc")
    farther = (falls.loc["dukemtmc"] > others.max()).all()
    text = ", ".join(f"{dataset} {fall:.2f}" for dataset, fall in falls.rank1.items())
    return (
        "DukeMTMC-reID falls farther than the other data sets as lambda grows (rank-1, best lambda to 1)",
        *("section 4.4.4", text, HOLDS if farther else FAILS, "needs table 10 on both data sets", ""),
    )


def _consistency() -> tuple[str, ...]:
    gap = annotation_gap()
    others = gap.drop("Ours")
    larger = int((others > gap["Ours"]).sum())
    exceptions = ", ".join(f"{row} {value:.2f}" for row, value in others[others <= gap["Ours"]].items())
    return (
        "Detected boxes of CUHK03 cost most methods more rank-1 than this network",
        "section 4.2",
        f"Ours {gap['Ours']:.2f}; {larger} of {len(others)} lose more; less: {exceptions}",
        HOLDS if larger > len(others) / 2 else FAILS,
        *("needs table 5 on both", ""),
    )
