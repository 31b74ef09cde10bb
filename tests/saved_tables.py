"""Tables as the study saves them: beside published numbers, claims, a ledger."""

import numpy as np
import pandas as pd

from reidnb.report import tables

CAPTION = "Ours: market1501, demo profile, from scratch, 2 seeds."
NAN = np.nan


def frame(published_dataset: str = "market1501") -> pd.DataFrame:
    """A cited row, a row with everything, a row without a published number; rank-20 nowhere."""
    made = pd.DataFrame(
        {
            "row": ["HA|CNN <1>", "Ours", "Ours + x"],
            "kind": ["cited", "run", "run"],
            "dataset": "market1501",
            "published_dataset": published_dataset,
            "seeds": [0, 2, 2],
        }
    )
    for metric in tables.METRICS:
        for kind in ("published", "ours", "std"):
            made[f"{kind}_{metric}"] = NAN
    made["published_map"], made["published_rank1"] = [75.7, 87.8, NAN], [91.2, 96.1, NAN]
    made["ours_map"], made["std_map"] = [NAN, 85.249, 70.0], [NAN, 0.44, NAN]
    made["ours_rank1"] = [NAN, 97.4, 0.04]
    made["ours_rank5"] = [NAN, 99.0, 98.0]
    return made


def checklist() -> pd.DataFrame:
    """Two claims: one about two metrics, one that was not run."""
    made = pd.DataFrame(
        {
            "claim": ["A <b> helps", "A <b> helps", "C_1 is best"],
            "where": "section 4",
            "table": "table2",
            "metric": ["map", "rank1", "map"],
            "published_dataset": "market1501",
            "published": [7.5, 2.7, NAN],
            "ours": [1.04, -0.3, NAN],
            "low": [0.4, NAN, NAN],
            "high": [1.7, NAN, NAN],
            "over": ["queries", "", ""],
            "verdict": ["tends to hold (1 seed)", "no interval", "not run"],
            "better": ["A & B", "A & B", None],
            "worse": ["B", "B", None],
        }
    )
    return made


def ledger() -> pd.DataFrame:
    return pd.DataFrame([{name: f"{name} <b>" for name in tables.LEDGER}])
