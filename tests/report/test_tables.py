"""Tables beside published numbers, the ledger, and the report page made of them."""

import json
import re
import shutil
import string
import subprocess
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidnb.report import latex, tables
from reidnb.report import page as report

NAN = np.nan
CAPTION = "Ours: market1501, demo profile, from scratch, 2 seeds."


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
        for kind in ("published", "ours", "spread"):
            made[f"{kind}_{metric}"] = NAN
    made["published_map"], made["published_rank1"] = [75.7, 87.8, NAN], [91.2, 96.1, NAN]
    made["ours_map"], made["spread_map"] = [NAN, 85.249, 70.0], [NAN, 0.44, NAN]
    made["ours_rank1"] = [NAN, 97.4, 0.04]
    made["ours_rank5"] = [NAN, 99.0, 98.0]
    return made


class Read(HTMLParser):
    """A Styler's table as its reader sees it: ``heads``, a row a level, spans repeated; ``rows`` of cells."""

    def __init__(self, styler):
        super().__init__()
        self.heads, self.rows, self.inside, self.repeat = [], [], "", 1
        self.feed(styler.to_html())
        self.rows = [row for row in self.rows if row]
        self.heads = [row for row in self.heads if row]

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.heads.append([])
            self.rows.append([])
        if tag in ("th", "td"):
            self.inside, self.repeat = tag, int(dict(attributes).get("colspan", 1))
            (self.heads if tag == "th" else self.rows)[-1] += [""] * self.repeat

    def handle_endtag(self, tag):
        self.inside = "" if tag in ("th", "td") else self.inside

    def handle_data(self, data):
        if self.inside:
            row = (self.heads if self.inside == "th" else self.rows)[-1]
            row[-self.repeat :] = [data.strip()] * self.repeat


def test_published_and_ours_stand_side_by_side_with_their_difference():
    found = tables.beside_published(frame(), caption=CAPTION)
    html = found.to_html()
    shown = Read(found)
    assert list(zip(*shown.heads, strict=True))[1:] == [
        *(("mAP", kind) for kind in ("published", "ours", "difference")),
        *(("rank-1", kind) for kind in ("published", "ours", "difference")),
        ("rank-5", "ours"),
    ]
    assert shown.rows == [
        ["HA|CNN <1>", "75.7", "", "", "91.2", "", "", ""],
        ["Ours", "87.8", "85.2 ± 0.4", "−2.6", "96.1", "97.4", "+1.3", "99.0"],
        ["Ours + x", "–", "70.0", "–", "–", "0.0", "–", "98.0"],
    ]
    assert CAPTION in html
    assert html.count("cited") > html.split("</style>")[1].count("cited") > 0


@pytest.mark.parametrize("how", [{"published_dataset": "dukemtmc"}, {"comparable": False}])
def test_another_data_sets_numbers_have_a_block_of_their_own_and_no_difference(how):
    given = frame(how.get("published_dataset", "market1501"))
    html = tables.beside_published(given, caption=CAPTION, comparable=how.get("comparable")).to_html()
    assert "difference" not in html and "+1.3" not in html
    assert "ours on market1501" in html
    assert ("published on dukemtmc" if "published_dataset" in how else "published on its own data set") in html
    shown = Read(tables.beside_published(given, caption=CAPTION, comparable=how.get("comparable")))
    assert shown.rows[1] == ["Ours", "87.8", "96.1", "85.2 ± 0.4", "97.4", "99.0"]


def test_numbers_beside_published_ones_need_a_caption():
    for call in (tables.beside_published, tables.to_markdown):
        with pytest.raises(ValueError, match=r"needs a caption: .* initial weights"):
            call(frame(), caption=" ")


@pytest.mark.parametrize("column", ["row", "kind", "dataset"])
def test_a_missing_column_is_named(column):
    with pytest.raises(ValueError, match=f"needs the column '{column}'"):
        tables.beside_published(frame().drop(columns=column), caption=CAPTION)


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kind is 'cited' or 'run', got 'ours'"):
        tables.beside_published(frame().assign(kind="ours"), caption=CAPTION)


def test_markdown_says_the_same():
    text = tables.to_markdown(frame(), caption=CAPTION)
    lines = text.splitlines()
    assert lines[0].startswith("|  | mAP published | mAP ours | mAP difference | rank-1 published")
    assert lines[2] == r"| *HA\|CNN <1>* | 75.7 |  |  | 91.2 |  |  |  |"
    assert lines[3] == "| Ours | 87.8 | 85.2 ± 0.4 | −2.6 | 96.1 | 97.4 | +1.3 | 99.0 |"
    assert text.endswith(f"\n\n{CAPTION}\n")
    assert len({line.replace(r"\|", "").count("|") for line in lines[:5]}) == 1


def comparable() -> pd.DataFrame:
    """Ours in the paper's own profile: mAP 85.2 in [84.9, 87.9], published 87.8; rank-1 97.4 in [96.5, 98], 96.1."""
    made = frame().assign(comparable=True)
    for metric, low, high in (("map", 84.9, 87.9), ("rank1", 96.5, 98.0)):
        made[f"low_{metric}"], made[f"high_{metric}"] = [NAN, low, NAN], [NAN, high, NAN]
    return made


def test_what_compares_is_within_or_outside_in_a_word_and_a_colour():
    found = tables.beside_published(comparable(), caption=CAPTION)
    assert Read(found).rows[1] == ["Ours", "87.8", "85.2 ± 0.4", "−2.6 within", "96.1", "97.4", "+1.3 outside", "99.0"]
    cells = found.to_html().split("</style>")[1]
    assert cells.count("ours within") == cells.count("ours outside") == 1
    assert "−2.6 within | 96.1 | 97.4 | +1.3 outside |" in tables.to_markdown(comparable(), caption=CAPTION)
    # What was measured otherwise says nothing about the published value; of what is not known, the reader is told all.
    for other, difference in ((comparable().assign(comparable=False), False), (frame(), True)):
        html = tables.beside_published(other, caption=CAPTION).to_html().split("</style>")[1]
        assert "within" not in html and "outside" not in html
        assert ("−2.6" in html) == ("difference" in html) == difference and "85.2" in html


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


def test_claims_are_shown_with_their_verdict_in_a_word():
    found = tables.styled(checklist(), caption=CAPTION)
    rows, tends = "A & B − B", "tends to hold (1 seed)"
    assert Read(found).rows == [
        ["A <b> helps", "mAP", tends, "+7.5", "+1.0", "+0.4 to +1.7", "queries", rows, "section 4, table 2"],
        ["", "rank-1", "no interval", "+2.7", "−0.3", "–", "–", rows, ""],
        ["C_1 is best", "mAP", "not run", "–", "–", "–", "–", "–", "section 4, table 2"],
    ]
    assert "A &lt;b&gt; helps" in found.to_html()
    with pytest.raises(ValueError, match="needs a caption"):
        tables.styled(checklist(), caption="")


LATEX_COMMANDS = r"\\[&%$#_{}]|\\text[a-z]+\{\}|\$[^$]*\$|''|--"


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from(string.printable + "–−±×→λβαμ"), max_size=30))
def test_escaped_text_holds_nothing_that_latex_would_read(text):
    plain = re.sub(LATEX_COMMANDS, "", latex.escape(text))
    assert not set(plain) & set('\\&%$#_{}~^<>|"–−±×→λβαμ')
    letters = [c for c in text if c.isalnum() and c.isascii()]
    assert [c for c in plain if c.isalnum()] == letters


def test_latex_says_the_same():
    text = tables.to_latex(comparable(), caption="50 % of A_1 & B", label="tab:a_b")
    assert r"\caption{50 \% of A\_1 \& B}" in text and r"\label{tab:a_b}" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"\multicolumn{3}{c}{mAP} & \multicolumn{3}{c}{rank-1}" in text
    assert r"HA\textbar{}CNN \textless{}1\textgreater{} & 75.7 &" in text
    assert r"Ours & 87.8 & 85.2 $\pm$ 0.4 & $-$2.6 within & 96.1 & 97.4 & +1.3 outside & 99.0 \\" in text
    # As many cells in each row as columns are declared.
    declared = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text).group(1)
    assert len(declared) == 8
    assert all(len(re.findall(r"(?<!\\)&", line)) == 7 for line in text.splitlines() if line.startswith(("HA", "Ours")))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_latex_compiles(tmp_path):
    made = [tables.to_latex(f, caption="Of <λ> & 5 %", label="tab:x") for f in (frame(), comparable(), checklist())]
    made.append(tables.to_latex(ledger(), caption="", label="tab:y"))
    body = "\n".join(made)
    whole = f"\\documentclass{{article}}\\usepackage{{booktabs,graphicx}}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "x.tex").write_text(whole, "utf-8")
    call = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "x.tex"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_csv_keeps_every_digit(tmp_path):
    given = frame().assign(ours_map=[NAN, 1 / 3, 85.1234567890123])
    path = tables.to_csv(given, tmp_path / "deep" / "table.csv")
    pd.testing.assert_frame_equal(pd.read_csv(path), given, check_exact=True, check_dtype=False)


def test_a_plain_table_is_shown_as_it_is():
    given = pd.DataFrame({"row": ["a", None], "flops": [1.07e9, NAN], "parameters_million": [58.3, 6.0], "n": [5, 6]})
    shown = Read(tables.plain(given))
    assert shown.heads == [["row", "flops", "parameters million", "n"]]
    assert shown.rows == [["a", "1.07e+09", "58.3", "5"], ["–", "–", "6.0", "6"]]


def ledger() -> pd.DataFrame:
    return pd.DataFrame([{name: f"{name} <b>" for name in tables.LEDGER}])


def test_the_ledger_is_shown_whole_and_escaped():
    html = tables.readings(ledger().assign(extra="not shown")).to_html()
    assert all(f"{name} &lt;b&gt;" in html for name in tables.LEDGER)
    assert "not shown" not in html
    with pytest.raises(ValueError, match="'why' is missing"):
        tables.readings(ledger().drop(columns="why"))


# The report


class Links(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.targets, self.ids = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.targets += [named[name] for name in ("href", "src") if name in named]
        self.ids += [named["id"]] if "id" in named else []


@pytest.fixture
def results(tmp_path):
    tables.save(frame(), "wrcanet", "table2", "market1501", "demo", caption=CAPTION, title="Abl <i>", results=tmp_path)
    tables.to_csv(pd.DataFrame({"row": ["AlexNet"], "flops": [1.07e9]}), tmp_path / "tables" / "dranet-table12.csv")
    for name in ("wrcanet-a b", "street-people"):
        figure = plt.figure(figsize=(2, 1))
        figure.add_subplot()
        report.save_figure(figure, tmp_path, name, title=f"Title of {name}", caption="seen & <drawn>")
    tables.to_csv(ledger(), tmp_path / "readings-wrcanet.csv")
    runs = pd.DataFrame({"run": ["a", "b"], "device": "CPU", "seed": [1, 0], "train_seconds": [3600.0, 120.0]})
    tables.to_csv(runs, tmp_path / "runs.csv")
    return tmp_path


def test_a_saved_table_lies_in_four_files(results):
    stem = results / "tables" / "wrcanet-table2-market1501-demo"
    assert json.loads(stem.with_suffix(".json").read_text("utf-8"))["caption"] == CAPTION
    assert CAPTION in stem.with_suffix(".md").read_text("utf-8")
    assert r"\label{tab:wrcanet-table2-market1501-demo}" in stem.with_suffix(".tex").read_text("utf-8")
    assert len(pd.read_csv(stem.with_suffix(".csv"))) == 3


def test_the_report_holds_everything_and_its_links_exist(results):
    path = report.build(results)
    text = path.read_text("utf-8")
    assert path == results / "index.html"
    for part in (
        "Table 2. Abl &lt;i&gt; (market1501, demo profile)",
        CAPTION,
        "85.2 ± 0.4",
        "Table 12",
        "AlexNet",
        "Title of wrcanet-a b",
        "seen &amp; &lt;drawn&gt;",
        "printed &lt;b&gt;",
        "1 h 2 min",
        "0, 1",
    ):
        assert part in text
    links = Links(text)
    local = [t for t in links.targets if not t.startswith("#")]
    assert len(local) == 3 + 1 + 2 * 2
    assert all((results / t.replace("%20", " ")).is_file() for t in local)
    assert {t[1:] for t in links.targets if t.startswith("#")} <= set(links.ids)
    assert "http" not in text.replace("http-equiv", "")
    # A paper's figure stands in its section.
    assert text.index("Title of wrcanet") < text.index("DRANet</h2>") < text.index("Title of street")


def test_the_report_begins_with_an_overview_and_a_papers_claims(results):
    save = {"dataset": "market1501", "profile": "demo", "caption": CAPTION, "results": results}
    tables.save(checklist(), "wrcanet", "claims", title="What it says", **save)
    runs = {"paper": "wrcanet", "dataset": "market1501", "profile": "demo", "device": "CPU", "seed": [0, 1]}
    spent = {"train_seconds": 3600.0, "evaluate_seconds": 60.0}
    tables.to_csv(pd.DataFrame(runs | spent), results / "runs.csv")
    text = report.build(results).read_text("utf-8")
    overview = text.split('id="overview"')[1].split("</section>")[0]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", overview)
    # Of the fixture's table 2 two rows have runs, none of them the paper's.
    assert cells == [
        "WRCANet",
        "market1501",
        "demo",
        "0 of 2",
        "2 of 7",
        "no interval 1, not run 1",
        "2 h 2 min",
        "CPU",
    ]
    assert text.index("Overview</h2>") < text.index("Claims. What it says") < text.index("Table 2. Abl")
    assert text.index("<details>") > text.index("Title of street")


def test_the_same_results_give_the_same_page(results):
    assert report.build(results).read_bytes() == report.build(results).read_bytes()


def test_what_is_missing_does_not_appear(tmp_path):
    tables.to_csv(pd.DataFrame({"run": ["a"]}), tmp_path / "runs.csv")
    text = report.build(tmp_path).read_text("utf-8")
    assert "Provenance" in text
    assert "figures" not in text.split("</style>")[1].lower() and "How the papers are read" not in text


def test_a_table_without_its_caption_says_so(results):
    (results / "tables" / "wrcanet-table2-market1501-demo.json").unlink()
    assert "not recorded" in report.build(results).read_text("utf-8")


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing to report in"):
        report.build(tmp_path)
    with pytest.raises(FileNotFoundError, match="no results folder"):
        report.build(tmp_path / "none")
    assert not (tmp_path / "index.html").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tables/wrcanet-t.csv", "", r"wrcanet-t\.csv is not a readable table"),
        ("tables/wrcanet-t.csv", "row,kind,ours_map\n", r"wrcanet-t\.csv: .* column 'dataset'"),
        ("tables/wrcanet-table2-market1501-demo.json", "{", r"demo\.json is not readable JSON"),
        ("figures/street-people.json", "[]", r"people\.json holds no JSON object"),
        ("figures/broken.png", "no picture", r"broken\.png is not a readable picture"),
        ("readings-x.csv", "option\na\n", r"readings-x\.csv: .*'place' is missing"),
    ],
)
def test_a_bad_file_is_named(results, name, content, message):
    (results / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        report.build(results)


def test_a_figure_needs_a_title(tmp_path):
    with pytest.raises(ValueError, match="'x' needs a title"):
        report.save_figure(plt.figure(), tmp_path, "x", title=" ", caption="")


def test_a_table_without_published_numbers_is_kept_as_it_is(tmp_path):
    frame = pd.DataFrame({"measure": ["share", "share"], "mean": [61.25, 7.0], "p": [np.nan, 0.012]})
    path = tables.save(frame, "dranet", "activation", "street", "demo", caption="Ours | alone.", results=tmp_path)
    assert pd.read_csv(path).equals(frame)
    assert path.with_suffix(".md").read_text().splitlines() == [
        "| measure | mean | p |",
        "| :-- | --: | --: |",
        "| share | 61.25 | – |",
        "| share | 7.00 | 0.012 |",
        "",
        "Ours | alone.",
    ]


def test_contradictions_stand_in_their_papers_section(tmp_path):
    tables.save(frame(), "wrcanet", "table2", "market1501", "demo", caption=CAPTION, title="T", results=tmp_path)
    contradictions = pd.DataFrame({"place": ["section 4"], "printed": ["1.8 <lower>"], "but": ["table 2: 2.6"]})
    contradictions.to_csv(tmp_path / "contradictions-wrcanet.csv", index=False)
    text = report.build(tmp_path).read_text("utf-8")
    assert text.count("What the paper says twice and differently") == 1 and "1.8 &lt;lower&gt;" in text
