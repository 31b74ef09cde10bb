"""The tables of a study, written from the runs that are finished."""

from collections import Counter
from collections.abc import Callable

import pandas as pd

from ..papers import find_paper
from ..study import claims
from ..study.comparison import FAILURES, beside_published, caption
from ..study.plan import Runs, Settings, finished_rows, pairs, planned
from .tables import save


def finished_tables(settings: Settings, log: Callable[[str], None] = print) -> int:
    """Write every table of the study from the runs that are finished, and the claims about them.

    Returns how many experiments are not finished. A row without a run, or whose run has not kept what the row needs,
    has no numbers of ours. A table that cannot be made is reported, and the others are written.
    """
    missing: dict[str, str] = {}
    for paper, dataset in pairs(settings):
        claimed: dict[str, dict[str, Runs]] = {}
        for table, where in planned(paper, dataset, settings):
            runs, lacking = finished_rows(paper, table, where, settings)
            missing |= lacking
            if not runs:
                continue
            try:
                frame = beside_published(find_paper(paper), table, where, runs, settings.root, log)
                _write_table(frame, paper, table, where, runs, settings)
            except FAILURES as error:
                log(f"no {table} of {paper}: {error}")
                continue
            claimed.setdefault(where, {})[table] = runs
        for where, by_table in claimed.items():
            try:
                _write_claims(paper, where, by_table, settings)
            except FAILURES as error:
                log(f"no claims of {paper}: {error}")
    for name, row in missing.items():
        log(f"not finished: {name} ({row})")
    return len(missing)


def _write_table(frame: pd.DataFrame, paper: str, table: str, where: str, runs: Runs, settings: Settings) -> None:
    printed_table = find_paper(paper).table(table)
    note = caption(find_paper(paper), table, runs, where)
    done = Counter(row.name for row, _ in runs)
    lacking = [row.name for row in printed_table.rows if done[row.name] < settings.seeds]
    if lacking:
        note += f" Not finished: {', '.join(lacking)}."
    save(frame, paper, table, where, settings.profile, caption=note, title=printed_table.title)


def _write_claims(paper: str, where: str, by_table: dict[str, Runs], settings: Settings) -> None:
    frame = claims.checklist(find_paper(paper), where, by_table, settings.root)
    if len(frame):
        note, title = claims.note(find_paper(paper), frame, by_table, where), "What the paper says of its tables"
        save(frame, paper, "claims", where, settings.profile, caption=note, title=title)
