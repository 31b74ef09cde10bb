"""The report page: what it begins with, that it holds everything, and that its links exist."""

import json
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from saved_tables import CAPTION, checklist, frame, ledger

from reidnb.figures import style
from reidnb.report import page as report
from reidnb.report import tables


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
    assert len(local) == 3 + 1 + 3 * 3  # tables, and three figures with their PDF; one is the slope chart
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
    overview = text.split('aria-label="What has been run"')[1].split("</section>")[0]
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
    places = [text.index(part) for part in ("At a glance</h2>", "Claims</h2>", "figures/claims-market1501-demo.webp")]
    places += [
        text.index(part) for part in ("figures/wrcanet-slope-market1501.webp", "Claims. What it says", "Table 2. A")
    ]
    assert places == sorted(places)


def card(results) -> str:
    """The text of the first card of the report."""
    html = report.build(results).read_text("utf-8").split('<article class="card">')[1].split("</article>")[0]
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_a_card_has_the_best_number_beside_the_published_ones(results):
    save = {"dataset": "market1501", "profile": "demo", "results": results}
    tables.save(checklist(), "wrcanet", "claims", caption=CAPTION, **save)
    # The street's is not the nearest to the paper, though it is better.
    street = frame().assign(dataset="street", ours_map=99.0)
    tables.save(street, "wrcanet", "table2", "street", "paper", caption="Ours: elsewhere.", results=results)
    runs = {"paper": "wrcanet", "dataset": "market1501", "profile": "demo", "device": "CPU"}
    finished = ["2026-11-02 23:10 UTC", "2026-11-10 08:00 UTC", None]
    tables.to_csv(pd.DataFrame([runs | {"finished": day} for day in finished]), results / "runs.csv")
    (results / "notebooks").mkdir(exist_ok=True)
    (results / "notebooks" / "wrcanet-market1501-demo.html").write_text("page")
    text = card(results)
    assert "mAP rank-1 ours, best: Ours 85.2 97.4 published: Ours 87.8 96.1 On market1501" in text
    assert "(demo profile) 1 claim was tested: 1 has no interval. Farthest from print: “A &lt;b&gt; helps”," in text
    assert "+1.0 points of mAP where +7.5 are published." in text
    assert "Ours: market1501, demo profile, from scratch, 2 seeds. Finished 2026-11-10." in text
    assert text.endswith("Executed notebook: wrcanet-market1501-demo")


def test_notebooks_are_listed_in_the_order_in_which_they_are_read(results):
    (results / "notebooks").mkdir(exist_ok=True)
    names = ["start", "wrcanet-street-demo", "wrcanet-street-quick", "dranet-street-demo", "compare", "use", "mine"]
    for name in reversed(names):
        (results / "notebooks" / f"{name}.html").write_text(f"<title>About {name} &amp; more</title>")
    html = report.build(results).read_text("utf-8")
    section = html.split('<section id="notebooks">')[1].split("</section>")[0]
    assert re.findall(r'href="notebooks/(.*?)\.html">(.*?)</a>', section) == [
        (name, f"About {name} &amp; more") for name in names
    ]
    assert '<a href="#notebooks">' in html


def test_a_card_names_the_best_published_row_where_ours_is_another(results):
    better = frame().assign(published_map=[75.7, 87.8, 90.0])
    tables.save(better, "wrcanet", "table2", "market1501", "demo", caption=CAPTION, results=results)
    assert "ours, best: Ours 85.2 97.4 published: Ours 87.8 96.1 published, best: Ours + x 90.0 –" in card(results)


def test_claims_on_real_data_are_seen_at_once_and_others_unfolded_by_hand(results):
    for dataset, profile in (("street", "demo"), ("market1501", "demo"), ("market1501", "quick"), ("a->b", "demo")):
        tables.save(checklist(), "wrcanet", "claims", dataset, profile, caption=CAPTION, results=results)
    section = report.build(results).read_text("utf-8").split('<section id="claims">')[1].split("</section>")[0]
    drawn = re.findall(r"<details>|figure id=\"figure-claims-([\w-]+)", section)
    assert drawn == ["market1501-quick", "a-to-b-demo", "market1501-demo", "", "street-demo"]


def test_what_all_captions_say_is_said_once(results):
    shared = "mAP: the mean. Ours: street."
    for table, more in (("table1", ""), ("table2", " Not finished: x.")):
        tables.save(frame(), "wrcanet", table, "street", "demo", caption=shared + more, results=results)
    for name in ("wrcanet-x", "wrcanet-y"):
        report.save_figure(plt.figure(figsize=(1, 1)), results, name, title=name, caption="Both at once.")
    text = report.build(results).read_text("utf-8")
    section = text.split('<section id="paper-wrcanet">')[1]
    assert section.count("mAP: the mean.") == section.count("Both at once.") == section.count("Not finished: x.") == 1
    assert section.index(shared) < section.index("Table 1 ") < section.index("Not finished: x.")


def test_borders_are_explained_under_ranking_lists_alone(results):
    assert 'class="legend"' not in report.build(results).read_text("utf-8")
    report.save_figure(plt.figure(figsize=(1, 1)), results, "wrcanet-rankings-street", title="Lists", caption="")
    text = report.build(results).read_text("utf-8")
    assert text.count('class="legend"') == 1 and text.index("Lists</h3>") < text.index("same person")
    colours = [look["edgecolor"].lower() for look in (style.MATCH, style.MISMATCH)]
    assert [text.count(f"border-color: {colours[0]}"), text.count(f"dashed {colours[1]}")] == [1, 1]


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


def test_contradictions_stand_in_their_papers_section(tmp_path):
    tables.save(frame(), "wrcanet", "table2", "market1501", "demo", caption=CAPTION, title="T", results=tmp_path)
    contradictions = pd.DataFrame({"place": ["section 4"], "printed": ["1.8 <lower>"], "but": ["table 2: 2.6"]})
    contradictions.to_csv(tmp_path / "contradictions-wrcanet.csv", index=False)
    text = report.build(tmp_path).read_text("utf-8")
    assert text.count("What the paper says twice and differently") == 1 and "1.8 &lt;lower&gt;" in text
