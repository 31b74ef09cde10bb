"""The report's beginning: each paper's best number beside the published one, what came out, and the claims as pictures.

All of it is read from the saved tables and ``runs.csv``, so that a folder of results is enough.
"""

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from ..figures import style
from ..figures.published import forest, slope
from ..papers import PAPERS
from ..papers.experiments import train_set
from ..papers.paper import Paper
from ..study import claims
from .saved import Saved, nearest_first, save_figure
from .tables import METRICS

OUTCOME = {
    claims.HOLDS: "for",
    claims.TENDS_TO_HOLD: "for",
    claims.AGAINST: "against",
    claims.TENDS_AGAINST: "against",
}
"""How a verdict is drawn; any other is undecided."""
VERDICTS = {
    claims.HOLDS: ("holds", "hold"),
    claims.TENDS_TO_HOLD: ("tends to hold", "tend to hold"),
    claims.TENDS_AGAINST: ("tends to fail", "tend to fail"),
    claims.AGAINST: ("fails", "fail"),
    claims.UNDECIDED: ("is undecided", "are undecided"),
    claims.NO_INTERVAL: ("has no interval", "have no interval"),
}
"""A verdict in a sentence, of one claim and of several."""
SHOWN = ("map", "rank1")
CONTENTS = ("start", "data", *PAPERS, "compare", "attention", "use", "search", "explore", "performance", "run")
"""The notebooks in the order in which they are read."""


def cards(saved: Sequence[Saved], runs: pd.DataFrame, results: Path) -> list[dict]:
    """For each paper whose main table has a number of ours: numbers, what came out, when, on what, and links."""
    result = []
    for paper in PAPERS.values():
        mains = [each for each in _of(saved, paper, paper.main) if _measured(each.frame)]
        if not mains:
            continue
        nearest = min(mains, key=lambda each: nearest_first(each.setting))
        dataset, profile = nearest.setting
        result.append(
            {
                "id": f"paper-{paper.name}",
                "title": paper.short,
                "citation": paper.citation,
                "link": paper.link,
                "numbers": _numbers(nearest.frame),
                "outcome": outcome(paper, saved),
                "origin": origin(str(nearest.about.get("caption", ""))),
                "finished": _finished(runs, paper.name, train_set(dataset), profile),
                "pages": [page for page in pages(results) if page["paper"] == paper.name],
            }
        )
    return result


def outcome(paper: Paper, saved: Sequence[Saved]) -> str:
    """What came out of a paper's claims, in two sentences, where ours came nearest to the paper; '' if nowhere."""
    for each in sorted(_of(saved, paper, "claims"), key=lambda each: nearest_first(each.setting)):
        tested = each.frame[each.frame.verdict != claims.NOT_RUN]
        if tested.empty:
            continue
        dataset, profile = each.setting
        counts = [f"{n} {VERDICTS[verdict][n > 1]}" for verdict, n in claims.counts(tested).items() if n]
        number = tested.claim.nunique()
        tests = f"{number} claim{'s were' if number > 1 else ' was'} tested"
        first = f"On {dataset} ({profile} profile) {tests}: {', '.join(counts)}."
        distance = (tested.published - tested.ours).abs().dropna()
        return f"{first} {_farthest(tested.loc[distance.idxmax()])}" if len(distance) else first
    return ""


def origin(caption: str) -> str:
    """What a table's numbers come from, by its caption: data set, profile, weights, seeds, device, precision."""
    sentence = re.search(r"Ours: (.+?)\.(?= |$)", caption)
    return sentence[1] if sentence else ""


def pages(results: Path) -> list[dict[str, str]]:
    """The pages of executed notebooks in the order of ``CONTENTS``, then others: name, title, url, and paper or ''."""
    made = []
    for path in sorted((results / "notebooks").glob("*.html"), key=_place):
        title = re.search("<title>(.*?)</title>", path.read_text("utf-8"))
        paper = path.stem.split("-")[0]
        page = {"name": path.stem, "title": unescape(title[1]) if title else path.stem}
        made.append(page | {"url": f"notebooks/{quote(path.name)}", "paper": paper if paper in PAPERS else ""})
    return made


def _place(path: Path) -> tuple[int, str]:
    """The order of pages: by notebook, then by data set and profile."""
    notebook = path.stem.split("-")[0]
    return CONTENTS.index(notebook) if notebook in CONTENTS else len(CONTENTS), path.stem


def draw(saved: Sequence[Saved], results: Path) -> None:
    """Draw the claims of each data set and profile, and each main table, into ``results/figures``."""
    style.use()
    decided = [each for paper in PAPERS.values() for each in _of(saved, paper, "claims")]
    for setting in {each.setting for each in decided}:
        _draw_claims([each for each in decided if each.setting == setting], results)
    for paper in PAPERS.values():
        _draw_slopes(paper, [each for each in _of(saved, paper, paper.main) if _measured(each.frame)], results)


def _draw_claims(saved: Sequence[Saved], results: Path) -> None:
    every = pd.concat([each.frame.assign(group=PAPERS[each.paper].short) for each in saved])
    drawn = every[every.verdict != claims.NOT_RUN]
    if drawn.empty:
        return
    drawn = drawn.assign(outcome=drawn.verdict.map(OUTCOME).fillna(""))
    panels = {metric: f"{METRICS[metric]} (points)" for metric in SHOWN}
    dataset, profile = saved[0].setting
    left_out = every.groupby("group").claim.nunique().sum() - drawn.groupby("group").claim.nunique().sum()
    kinds = {over.split()[-1] for over in drawn.over.dropna() if over}
    caption = "By how many points the better row of each claim is better, and the 95 % interval of ours."
    if "queries" in kinds:
        caption += " It covers the choice of queries, not the variation between trainings: another seed can move it."
    if left_out:
        caption += f" Not drawn: {left_out} claims whose rows have not been trained."
    save_figure(
        forest(drawn, panels),
        results,
        f"claims-{dataset.replace('->', '-to-')}-{profile}",
        title=f"What the papers claim, and what came out on {dataset} ({profile} profile)",
        caption=caption,
    )


def _draw_slopes(paper: Paper, saved: Sequence[Saved], results: Path) -> None:
    """The main table's published values beside ours, in a figure for each data set that the paper prints."""
    columns: dict[str, dict[str, pd.Series]] = {}
    for each in sorted(saved, key=lambda each: nearest_first(each.setting)):
        rows = _rows(each.frame)
        metric = "map" if rows.published_map.notna().any() else "rank1"
        printed = str(rows.get("published_dataset", rows.dataset).iloc[0])
        published, ours = rows[f"published_{metric}"], rows[f"ours_{metric}"]
        if pd.isna([published.iloc[0], ours.iloc[0]]).any():
            continue
        dataset, profile = each.setting
        shown = columns.setdefault(f"{printed} {metric}", {f"published:\n{printed}": published})
        shown[f"ours:\n{profile},\n{dataset}"] = ours
    for key, by_place in columns.items():
        printed, _, metric = key.rpartition(" ")
        number = paper.main.removeprefix("table")
        save_figure(
            slope(pd.DataFrame(by_place)),
            results,
            f"{paper.name}-slope-{printed}",
            title=f"Table {number}: published and ours, {METRICS[metric]} in percent",
            caption="Heights show the gain over the first row, since levels differ with data set and profile.",
        )


def _of(saved: Sequence[Saved], paper: Paper, table: str) -> list[Saved]:
    """A paper's tables of this name, of all data sets and profiles; of claims those with verdicts."""
    named = [each for each in saved if each.paper == paper.name and each.table == table]
    return [each for each in named if table != "claims" or "verdict" in each.frame]


def _rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that are trained here, by name, with a column for each number, NaN where the table has none."""
    rows = frame[frame.kind == "run"].drop_duplicates("row").set_index("row")
    numbers = [f"{kind}_{metric}" for kind in ("published", "ours") for metric in SHOWN]
    return rows.reindex(columns=list(dict.fromkeys([*rows, *numbers])))


def _measured(frame: pd.DataFrame) -> bool:
    return "kind" in frame and frame.get("ours_rank1", pd.Series(dtype=float)).notna().any()


def _numbers(frame: pd.DataFrame) -> list[dict]:
    """The best row in print, our best row, and what is printed for that one; by mAP where the table has it."""
    rows = _rows(frame)
    metrics = [metric for metric in SHOWN if rows[f"ours_{metric}"].notna().any()]

    def line(who: str, kind: str, row: str) -> dict:
        values = [f"{rows[f'{kind}_{m}'][row]:.1f}" if pd.notna(rows[f"{kind}_{m}"][row]) else "–" for m in metrics]
        return {"who": who, "row": row, "values": dict(zip([METRICS[m] for m in metrics], values, strict=True))}

    best = rows[f"ours_{metrics[0]}"].idxmax()
    lines = [line("ours, best", "ours", best), line("published", "published", best)]
    printed = rows[f"published_{metrics[0]}"]
    if printed.notna().any() and printed.idxmax() != best:
        lines.append(line("published, best", "published", printed.idxmax()))
    return lines


def _finished(runs: pd.DataFrame, paper: str, dataset: str, profile: str) -> str:
    """The day on which the last of the runs finished; '' where that is not recorded."""
    if not {"paper", "dataset", "profile", "finished"} <= set(runs):
        return ""
    chosen = runs[(runs.paper == paper) & (runs.dataset == dataset) & (runs.profile == profile)]
    days = chosen.finished.dropna().astype(str)
    return days.max()[:10] if len(days) else ""


def _farthest(line: pd.Series) -> str:
    metric, ours, published = METRICS[line.metric], _signed(line.ours), _signed(line.published)
    return f"Farthest from print: “{line.claim}”, {ours} points of {metric} where {published} are published."


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
