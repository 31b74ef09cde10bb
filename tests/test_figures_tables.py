"""Tables beside published numbers, the ledger, and the report page made of them."""

import json
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from reidnb.figures import report, tables

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


def test_a_saved_table_lies_in_three_files(results):
    stem = results / "tables" / "wrcanet-table2-market1501-demo"
    assert json.loads(stem.with_suffix(".json").read_text("utf-8"))["caption"] == CAPTION
    assert CAPTION in stem.with_suffix(".md").read_text("utf-8")
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
    assert len(local) == 2 + 1 + 2 * 2
    assert all((results / t.replace("%20", " ")).is_file() for t in local)
    assert {t[1:] for t in links.targets if t.startswith("#")} <= set(links.ids)
    assert "http" not in text.replace("http-equiv", "")
    # A paper's figure stands in its section.
    assert text.index("Title of wrcanet") < text.index("DRANet</h2>") < text.index("Title of street")


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
