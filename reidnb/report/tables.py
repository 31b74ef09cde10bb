"""Tables: measured numbers beside the published ones, never mixed with them; claims; and the ledger of readings."""

import json
import math
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from ..files import results_dir, write_atomically
from . import latex

METRICS = {"map": "mAP", "rank1": "rank-1", "rank5": "rank-5", "rank10": "rank-10", "rank20": "rank-20"}
NONE = "–"
LEDGER = ("option", "place", "printed", "readings", "default", "why")

# Greys by opacity, so that a notebook's dark theme keeps its own ink.
_CSS = [
    {"selector": "", "props": "border-collapse: collapse; font-size: 0.95em; line-height: 1.35;"},
    {
        "selector": "caption",
        "props": "caption-side: bottom; text-align: left; padding-top: 0.7em; max-width: 44em; opacity: 0.8;",
    },
    {"selector": "th, td", "props": "padding: 0.28em 0.55em; border: 0; background: none;"},
    {"selector": "th", "props": "font-weight: 600; white-space: nowrap; vertical-align: bottom; text-align: right;"},
    {"selector": "thead tr:last-child th", "props": "border-bottom: 1px solid currentColor;"},
    {"selector": "td", "props": "text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums;"},
    {"selector": "td.words", "props": "text-align: left;"},
    {"selector": "td.cited", "props": "opacity: 0.6;"},
    {"selector": "td.ours", "props": "font-weight: 600;"},
    # Blue and vermilion, which colour-blind readers can distinguish; the word is printed, too.
    {"selector": "td.within, td.holds", "props": "background: rgba(0, 114, 178, 0.16);"},
    {"selector": "td.outside, td.against", "props": "background: rgba(213, 94, 0, 0.2);"},
    {"selector": "td.tends", "props": "background: rgba(0, 114, 178, 0.08);"},
    {"selector": "td.tends-against", "props": "background: rgba(213, 94, 0, 0.1);"},
    {"selector": "td.holds, td.against", "props": "font-weight: 600;"},
    {"selector": "td.not", "props": "opacity: 0.6;"},
]
_GROUPED = [{"selector": "thead tr:first-child th", "props": "text-align: center;"}]
_WRAPPED = [
    {
        "selector": "td",
        "props": "text-align: left; white-space: normal; vertical-align: top; min-width: 6em; max-width: 24em;"
        " overflow-wrap: break-word; border-bottom: 1px solid rgba(128, 128, 128, 0.25);",
    },
    {"selector": "th", "props": "text-align: left;"},
    {"selector": "td.code", "props": "font-family: monospace;"},
    {"selector": "td.prose", "props": "min-width: 17em;"},
]
VERDICT_CLASSES = {
    "holds": "holds",
    "tends to hold (1 seed)": "tends",
    "tends against (1 seed)": "tends-against",
    "against": "against",
}
"""How the cell of a verdict is coloured: with one seed, paler."""
_CLAIMS = [
    {"selector": "th, td", "props": "text-align: left; vertical-align: top;"},
    {"selector": "td.claim", "props": "white-space: normal; min-width: 13em; max-width: 22em;"},
    {"selector": "td.rows", "props": "white-space: normal; min-width: 12em;"},
    {"selector": "td.place", "props": "white-space: normal; min-width: 6em;"},
    {"selector": "td.first", "props": "border-top: 1px solid rgba(128, 128, 128, 0.3);"},
]


def beside_published(frame: pd.DataFrame, *, caption: str, comparable: bool | None = None) -> Styler:
    """A paper's table with the published numbers and ours, in percent with one decimal.

    frame       rows with row, kind ('cited' by the paper, or 'run' here), dataset, and for each metric m of map,
                rank1, rank5, rank10, rank20: ``published_m``, ``ours_m`` (mean over seeds), ``std_m`` (standard
                deviation over seeds, or NaN). A metric without any number has no column
    caption     what ours come from: data set, profile, number of seeds, initial weights. Never empty: numbers from
                scratch must not stand unmarked beside published ones
    comparable  whether ours were measured on the published data set. None: they were when no ``published_dataset``
                differs from ``dataset``. If not, the two are in separate blocks, each under its data set's
                name, and there is no difference, which between data sets would mean nothing

    A published number that is ``computed`` from printed gains has a star and no difference.

    Where the frame's ``comparable`` is true (``study.comparison.not_comparable`` gives no reason), a difference
    is 'within' or 'outside': whether the interval from ``low_m`` to ``high_m`` covers the published number. Where it is
    false there is no difference either.

    Raises ValueError when a column is missing or the caption is empty.
    """
    text = _shown(frame, comparable)
    kinds = frame.kind.to_numpy()
    classes = pd.DataFrame("", index=text.index, columns=text.columns)
    for place, column in enumerate(text.columns):
        kind_of_column = "words" if column[1] == "" else "ours" if "ours" in " ".join(column) else ""
        classes.iloc[:, place] = [f"{kind_of_column} cited" if kind == "cited" else kind_of_column for kind in kinds]
        if column[1] == "difference":
            covered = [cell.partition(" ")[2] for cell in text.iloc[:, place]]
            for beside in (place - 1, place):
                classes.iloc[:, beside] = [
                    f"{a} {b}".strip() for a, b in zip(classes.iloc[:, beside], covered, strict=True)
                ]
    groups = text.columns.get_level_values(0)
    starts = {
        column: [{"selector": "", "props": "padding-left: 1.9em;"}]
        for place, column in enumerate(text.columns)
        if place and groups[place] != groups[place - 1]
    }
    starts[text.columns[0]] = [{"selector": "", "props": "text-align: left;"}]
    styler = _styled(text, _needed(caption)).set_td_classes(classes)
    return styler.set_table_styles(_GROUPED, overwrite=False).set_table_styles(starts, axis=0, overwrite=False)


def claims(frame: pd.DataFrame, *, caption: str) -> Styler:
    """The claims of a paper (``study.claims.checklist``), each with its verdict in a word and its interval."""
    text = _claims_text(frame)
    classes = pd.DataFrame("", index=text.index, columns=text.columns)
    classes["claim"], classes["rows compared"], classes["where"] = "claim", "rows", "place"
    classes["verdict"] = [VERDICT_CLASSES.get(verdict, "") for verdict in frame.verdict]
    classes["ours"] = "ours"
    first = text.claim.ne("").to_numpy()
    classes[first] = classes[first].map(lambda kind: f"{kind} first".strip())
    return _styled(text, _needed(caption)).set_td_classes(classes).set_table_styles(_CLAIMS, overwrite=False)


def styled(frame: pd.DataFrame, *, caption: str) -> Styler:
    """Any saved table as what it is: beside published numbers, claims, or plain."""
    if "verdict" in frame:
        return claims(frame, caption=caption)
    return beside_published(frame, caption=caption) if _is_beside(frame) else plain(frame, caption=caption)


def readings(frame: pd.DataFrame) -> Styler:
    """The ledger of readings: option, place, printed, readings, default and why, in wrapped text."""
    missing = [column for column in LEDGER if column not in frame]
    if missing:
        raise ValueError(f"a ledger of readings has the columns {', '.join(LEDGER)}; {missing[0]!r} is missing")
    text = frame[list(LEDGER)].fillna(NONE).astype(str).reset_index(drop=True)
    classes = pd.DataFrame("", index=text.index, columns=text.columns)
    classes[["option", "readings", "default"]] = "code"
    classes[["printed", "why"]] = "prose"
    return _styled(text, "").set_td_classes(classes).set_table_styles(_WRAPPED, overwrite=False)


def prose(frame: pd.DataFrame) -> Styler:
    """A table of sentences, in wrapped text."""
    classes = pd.DataFrame("prose", index=frame.index, columns=frame.columns)
    return _styled(frame, "").set_td_classes(classes).set_table_styles(_WRAPPED, overwrite=False)


def plain(frame: pd.DataFrame, *, caption: str = "") -> Styler:
    """Any other table as it is: words left, numbers right, to three digits as in 26.6, 5.62, 1.001 and 0.562."""
    text, words = _text(frame)
    left = [{"selector": f".col{n}", "props": "text-align: left;"} for n in words]
    heads = [{"selector": "th", "props": "white-space: normal; min-width: 3em;"}]
    return _styled(text, caption).set_table_styles(left, overwrite=False).set_table_styles(heads, overwrite=False)


def to_markdown(frame: pd.DataFrame, *, caption: str) -> str:
    """Any of these tables as GitHub's Markdown, with its caption below; rows that the paper cites are in italics."""
    text, words = _text(frame)
    heads = [" ".join(filter(None, column)) if isinstance(column, tuple) else column for column in text.columns]
    body = [[_cell(cell) for cell in line] for line in text.to_numpy().tolist()]
    if needs_caption(frame):
        _needed(caption)
    if _is_beside(frame):
        for line, kind in zip(body, frame.kind, strict=True):
            line[0] = f"*{line[0]}*" if kind == "cited" else line[0]
    rule = [":--" if n in words else "--:" for n in range(len(heads))]
    lines = [map(_cell, heads), rule, *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{caption}\n"


def to_latex(frame: pd.DataFrame, *, caption: str, label: str) -> str:
    """Any of these tables as a float for a paper: booktabs, its caption, a label."""
    text, words = _text(frame)
    return latex.table(text, words, caption=caption, label=label)


def to_csv(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write the frame as it is, every digit, whole or not at all; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: frame.to_csv(file, index=False))
    return path


def save(
    frame: pd.DataFrame,
    paper: str,
    table: str,
    dataset: str,
    profile: str,
    *,
    caption: str,
    title: str = "",
    results: Path | None = None,
    keep: bool = True,
) -> Path | None:
    """Keep a table for the report as ``tables/<paper>-<table>-<dataset>-<profile>`` .csv, .md, .tex and .json.

    A table without published numbers beside ours is kept as it is. Returns the path of the .csv. Without ``keep``
    nothing is written: a table of some rows, or of a changed recipe, would replace the full one.
    """
    if not keep:
        return None
    if results is None:
        results = results_dir()
    # 'a->b' is no name for a file.
    stem = Path(results) / "tables" / f"{paper}-{table}-{dataset.replace('->', '-to-')}-{profile}"
    about = {"paper": paper, "table": table, "dataset": dataset, "profile": profile, "title": title, "caption": caption}
    texts = {
        ".md": to_markdown(frame, caption=caption),
        ".tex": to_latex(frame, caption=caption, label=f"tab:{stem.name}"),
        ".json": json.dumps(about, indent=1, ensure_ascii=False) + "\n",
    }
    path = to_csv(frame, stem.with_name(stem.name + ".csv"))
    for suffix, text in texts.items():
        write_atomically(stem.with_name(stem.name + suffix), lambda file, text=text: file.write_text(text, "utf-8"))
    return path


def needs_caption(frame: pd.DataFrame) -> bool:
    """Whether a frame has both our numbers and published ones, so that it needs a caption on their origin."""
    return _is_beside(frame) or "verdict" in frame


def _is_beside(frame: pd.DataFrame) -> bool:
    """Whether the frame has our numbers beside published ones."""
    return "kind" in frame


def _text(frame: pd.DataFrame) -> tuple[pd.DataFrame, set[int]]:
    """A table as it is read, and which of its columns hold words."""
    if _is_beside(frame):
        return _shown(frame, None), {0}
    if "verdict" in frame:
        text = _claims_text(frame)
        return text, {n for n, name in enumerate(text) if name not in ("published", "ours", "95 % interval")}
    return _plain_text(frame), {n for n, c in enumerate(frame) if not pd.api.types.is_numeric_dtype(frame[c])}


def _claims_text(frame: pd.DataFrame) -> pd.DataFrame:
    again = frame.claim.eq(frame.claim.shift())

    def signed(value: float) -> str:
        return _percent(value, signed=True)

    return pd.DataFrame(
        {
            "claim": frame.claim.mask(again, ""),
            "metric": frame.metric.map(METRICS),
            "verdict": frame.verdict,
            "published": frame.published.map(signed),
            "ours": frame.ours.map(signed),
            "95 % interval": [
                NONE if pd.isna(line.low) else f"{signed(line.low)} to {signed(line.high)}"
                for line in frame.itertuples()
            ],
            "over": frame.over.fillna("").replace("", NONE),
            "rows compared": [
                NONE if pd.isna(line.better) else f"{line.better} − {line.worse}" for line in frame.itertuples()
            ],
            "where": (frame["where"] + ", " + frame.table.str.replace("table", "table ")).mask(again, ""),
        }
    ).reset_index(drop=True)


def _shown(frame: pd.DataFrame, comparable: bool | None) -> pd.DataFrame:
    """The table as it is read: text in two levels of columns."""
    present = [m for m in METRICS if f"published_{m}" in frame and f"ours_{m}" in frame]
    missing = [c for c in ("row", "kind", "dataset") if c not in frame] or ([] if present else ["ours_map"])
    if missing:
        raise ValueError(f"a table beside published numbers needs the column {missing[0]!r}")
    unknown = set(frame.kind) - {"cited", "run"}
    if unknown:
        raise ValueError(f"kind is 'cited' or 'run', got {sorted(map(str, unknown))[0]!r}")
    printed = frame.published_dataset if "published_dataset" in frame else frame.dataset
    if comparable is None:
        comparable = not (printed.fillna("") != frame.dataset.fillna("")).any()
    present = [m for m in present if frame[[f"published_{m}", f"ours_{m}"]].notna().any(axis=None)]
    columns = {("", ""): [str(row) for row in frame.row]}
    ours = {m: [_ours(line, m) for _, line in frame.iterrows()] for m in present}
    published = {m: [_published(line, m) for _, line in frame.iterrows()] for m in present}
    if comparable:
        # Of another profile or other initial weights a difference would only mislead.
        answered = "comparable" not in frame or bool(frame.comparable.all())
        for m in present:
            if known := frame[f"published_{m}"].notna().any():
                columns[METRICS[m], "published"] = published[m]
            columns[METRICS[m], "ours"] = ours[m]
            if known and answered:
                columns[METRICS[m], "difference"] = _differences(frame, m)
    else:
        # Another data set's numbers are in a separate block, not number beside number.
        theirs, ours_on = _names(printed), _names(frame.dataset)
        block = f"published on {theirs}" if theirs and theirs != ours_on else "published on its own data set"
        columns |= {(block, METRICS[m]): published[m] for m in present if frame[f"published_{m}"].notna().any()}
        columns |= {(f"ours on {ours_on}", METRICS[m]): ours[m] for m in present if frame[f"ours_{m}"].notna().any()}
    text = pd.DataFrame(dict(enumerate(columns.values())))
    text.columns = pd.MultiIndex.from_tuples(columns)
    return text


def _styled(text: pd.DataFrame, caption: str) -> Styler:
    styler = Styler(text, cell_ids=False)  # an id for each cell is a third of the report
    styler.hide(axis="index").set_table_styles(_CSS).format(escape="html").format_index(escape="html", axis=1)
    return styler.set_caption(_escaped(caption)) if caption else styler


def _needed(caption: str) -> str:
    if not caption.strip():
        raise ValueError(
            "a table beside published numbers needs a caption: data set, profile, number of seeds, initial weights"
        )
    return caption


def _names(datasets: pd.Series) -> str:
    return ", ".join(dict.fromkeys(str(name) for name in datasets.dropna() if str(name)))


def _differences(frame: pd.DataFrame, metric: str) -> list[str]:
    # Of the numbers as they are shown, so that each row adds up for its reader.
    differences = frame[f"ours_{metric}"].astype(float).round(1) - frame[f"published_{metric}"].astype(float).round(1)
    return [
        ""
        if line.kind == "cited" or line.get("computed", False)
        else " ".join(filter(None, (_percent(value, signed=True), _covered(line, metric))))
        for value, (_, line) in zip(differences, frame.iterrows(), strict=True)
    ]


def _covered(line: pd.Series, metric: str) -> str:
    """Whether our interval covers the published number, in a word; '' where the two do not compare."""
    low, printed, high = (line.get(f"{kind}_{metric}", math.nan) for kind in ("low", "published", "high"))
    if not line.get("comparable", False) or pd.isna([low, printed, high]).any():
        return ""
    return "within" if low <= printed <= high else "outside"


def _published(line: pd.Series, metric: str) -> str:
    value = line[f"published_{metric}"]
    return _percent(value) + "*" * (bool(line.get("computed", False)) and pd.notna(value))


def _ours(line: pd.Series, metric: str) -> str:
    if line.kind == "cited":
        return ""  # never run here, so nothing is missing
    std = line.get(f"std_{metric}", math.nan)
    return _percent(line[f"ours_{metric}"]) + (f" ± {std:.1f}" if pd.notna(std) else "")


def _percent(value: float, signed: bool = False) -> str:
    if pd.isna(value):
        return NONE
    rounded = round(float(value), 1) + 0.0  # no -0.0
    return (f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}").replace("-", "−")


def _plain_text(frame: pd.DataFrame) -> pd.DataFrame:
    def text(name: object) -> list[str]:
        if name in ("p", "p_value"):
            return _p_values(frame[name])
        # Both ends of an interval have as many decimals.
        upper = str(name).removesuffix("low") + "high"
        return _plain(frame[name], frame[upper] if str(name).endswith("low") and upper in frame else frame[name])

    return pd.DataFrame({_spoken(name): text(name) for name in frame})


def _spoken(name: object) -> str:
    """The name of a column as it is read: ``map_difference`` is 'mAP difference'."""
    first, *rest = str(name).replace("_", " ").split(" ")
    return " ".join([METRICS.get(first, first), *rest])


def _p_values(column: pd.Series) -> list[str]:
    """p-values as text: none of them is 0."""
    return [NONE if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" for p in column]


def _plain(column: pd.Series, scale: pd.Series) -> list[str]:
    """A column as text; its numbers have as many decimals as the one that needs most, up to three; to one or two where
    ``scale`` reaches 10 or 2."""
    known = column.dropna()
    if not pd.api.types.is_float_dtype(column):
        return [NONE if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]
    if (known.abs() >= 1e6).any():
        return [NONE if pd.isna(value) else f"{value:.3g}" for value in column]
    largest = scale.abs().max()
    most = 1 if largest >= 10 else 2 if largest >= 2 else 3  # a ratio near 1 may differ from it in the third
    decimals = next((d for d in range(most) if (known.round(d) == known).all()), most)
    rounded = column.round(decimals) + 0.0  # no -0.0
    return [NONE if pd.isna(value) else f"{value:.{decimals}f}".replace("-", "−") for value in rounded]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
