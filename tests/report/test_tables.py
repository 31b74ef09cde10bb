"""Tables beside published numbers, the ledger, and the report page made of them."""

import re
import shutil
import string
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_tables import CAPTION, NAN, checklist, frame, ledger

from reidnb.report import latex, tables


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


def test_the_ledger_is_shown_whole_and_escaped():
    html = tables.readings(ledger().assign(extra="not shown")).to_html()
    assert all(f"{name} &lt;b&gt;" in html for name in tables.LEDGER)
    assert "not shown" not in html
    with pytest.raises(ValueError, match="'why' is missing"):
        tables.readings(ledger().drop(columns="why"))


def test_a_table_without_published_numbers_is_kept_as_it_is(tmp_path):
    frame = pd.DataFrame({"measure": ["share", "share"], "mean": [61.25, 7.0], "p": [np.nan, 0.012]})
    path = tables.save(frame, "dranet", "activation", "street", "demo", caption="Ours | alone.", results=tmp_path)
    assert pd.read_csv(path).equals(frame)
    assert path.with_suffix(".md").read_text().splitlines() == [
        "| measure | mean | p |",
        "| :-- | --: | --: |",
        "| share | 61.2 | – |",
        "| share | 7.0 | 0.012 |",
        "",
        "Ours | alone.",
    ]


def test_numbers_are_shown_to_three_digits_and_columns_as_they_are_read():
    frame = pd.DataFrame(
        {
            "network": ["a", "b"],
            "map": [39.3267, -0.04],
            "map_difference": [-5.619, 0.1],
            "even map": [26.0, 27.0],
            "std": [0.03449, 0.5],
            "low": [-5.449, 6.91],
            "high": [1.0, 13.98],
            "p_value": [0.0002, 0.04],
            "ratio": [1.0009, 0.9],
            "queries": [195, 1000],
        }
    )
    lines = tables.to_markdown(frame, caption="").splitlines()
    assert lines[0] == "| network | mAP | mAP difference | even map | std | low | high | p value | ratio | queries |"
    assert lines[2] == "| a | 39.3 | −5.62 | 26 | 0.034 | −5.4 | 1.0 | < 0.001 | 1.001 | 195 |"
    assert lines[3] == "| b | 0.0 | 0.10 | 27 | 0.500 | 6.9 | 14.0 | 0.040 | 0.900 | 1000 |"
