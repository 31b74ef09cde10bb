"""Which rows of a table are chosen by their names, and what a user changes in their recipe."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidnb.papers import KNOWN, PAPERS, bag_of_tricks
from reidnb.papers.experiments import chosen_rows, experiments, full_networks, one_experiment, recipe_changes
from reidnb.papers.paper import Row, Table
from reidnb.study.comparison import run_table
from reidnb.training.profiles import PROFILES
from reidnb.training.recipe import with_changes

TABLES = [table for paper in KNOWN.values() for table in (*paper.tables, *paper.beyond, paper.table("readings"))]
DRANET, HYBRID = PAPERS["dranet"], PAPERS["hybrid_attention"]


def names(rows: list[Row]) -> list[str]:
    return [row.name for row in rows]


@given(st.data())
def test_rows_by_commas_are_those_of_a_list_in_the_tables_order_and_each_once(data):
    """In every table, though names have commas themselves: 'RCAM, g of A, biases'."""
    table = data.draw(st.sampled_from(TABLES))
    chosen = data.draw(st.lists(st.sampled_from(names(table.rows)), min_size=1, max_size=6))
    expected = [name for name in names(table.rows) if name in chosen]
    assert names(chosen_rows(table, chosen)) == names(chosen_rows(table, tuple(chosen))) == expected
    separator = data.draw(st.sampled_from((",", ", ", " , ")))
    assert names(chosen_rows(table, separator.join(chosen))) == expected


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_rows_of_a_table_have_different_names_and_nothing_chooses_all(table):
    assert len(set(names(table.rows))) == len(table.rows)
    assert chosen_rows(table, "") == chosen_rows(table, []) == list(table.rows)


def test_the_longest_name_that_fits_is_taken():
    table = Table("table1", "", (Row("A"), Row("A, B"), Row("B"), Row("C")), ())
    assert names(chosen_rows(table, "C, A, B")) == ["A, B", "C"]
    assert names(chosen_rows(table, ["A", "B"])) == names(chosen_rows(table, '["A", "B"]')) == ["A", "B"]


KNOWN_ROWS = "its rows are Baseline; Baseline+RCAM; Baseline+RSAM; Baseline+RCAM+RSAM"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("DRANet", f"table4 has no row 'DRANet': {KNOWN_ROWS}"),
        ("Baseline, RCAM", f"table4 has no row 'RCAM': {KNOWN_ROWS}"),
        ("baseline", f"table4 has no row 'baseline': {KNOWN_ROWS}"),
        (["Baseline, Baseline+RCAM"], f"table4 has no row 'Baseline, Baseline+RCAM': {KNOWN_ROWS}"),
        ('["Baseline"', """rows='["Baseline"': allowed is names of rows by commas, or a list of them"""),
        (4, "rows=4: allowed is names of rows by commas, or a list of them"),
    ],
)
def test_a_row_that_the_table_has_not_is_refused_before_any_data_are_read(rows, message):
    with pytest.raises(ValueError) as raised:
        run_table(DRANET, "table4", "market1501", "quick", rows=rows, data_root="/nowhere")
    assert str(raised.value) == message


@pytest.mark.parametrize("profile", PROFILES)
def test_a_users_recipe_comes_last_in_every_row(profile):
    """After the row's changes and the profile's: the baseline is without erasing, and so is everybody under `erase`."""
    recipe = {"epochs": "2", "augmentation": {"erase": 0.25}}
    for reading in ("", "as_released"):
        stated = experiments(HYBRID, "table6", "market1501", profile, reading=reading)
        changed = experiments(HYBRID, "table6", "market1501", profile, reading=reading, recipe=recipe)
        for (row, before), (same, after) in zip(stated, changed, strict=True):
            augmentation = replace(before.recipe.augmentation, erase=0.25)
            assert row == same
            assert after == replace(before, recipe=replace(before.recipe, epochs=2, augmentation=augmentation))
    full = experiments(HYBRID, "table6", "market1501", profile, recipe=recipe)[-1][1]
    assert full == one_experiment(HYBRID, {}, recipe, "market1501", profile)


@pytest.mark.parametrize("paper", KNOWN.values(), ids=KNOWN)
def test_nothing_is_changed_in_a_table_as_it_stands(paper):
    for table, profile in ((table, profile) for table in TABLES for profile in PROFILES if table in paper.tables):
        dataset = table.datasets[0] if table.datasets else "street"
        for reading in ("", *names(paper.complete_readings)):
            for row, one in experiments(paper, table.name, dataset, profile, (1,), reading=reading):
                assert recipe_changes(one, row) == {}
            # By which the rate of `quick` is chosen.
            row, one = experiments(paper, table.name, dataset, profile, (1,), "", reading)[0]
            assert recipe_changes(one, row) == {}


@pytest.mark.parametrize(
    ("profile", "recipe", "changes"),
    [
        ("quick", {"epochs": 2}, {"epochs": 2}),
        ("quick", {"epochs": 16}, {}),
        ("paper", {"schedule": {"warmup": 3}}, {"schedule.warmup": 3.0}),
        ("paper", {"sampler": {"kind": "PK", "images": 8}}, {"sampler.kind": "PK", "sampler.images": 8}),
        ("demo", {"size": [64, 32], "lr": "1e-3"}, {"size": (64, 32), "lr": 0.001}),
    ],
)
def test_changes_are_named_by_their_fields(profile, recipe, changes):
    for row, one in experiments(DRANET, "table4", "market1501", profile, recipe=recipe):
        listed = recipe_changes(one, row)
        assert listed | changes == listed and set(listed) - set(changes) <= {"sampler.identities"}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"epoch": 2}, "a recipe has no field 'epoch'"),
        ({"epochs": 0}, "epochs=0: allowed is a whole number, at least 1"),
        ("short", "recipe='short': allowed is a JSON object"),
    ],
)
def test_a_wrong_recipe_is_refused_before_any_data_are_read(recipe, message):
    with pytest.raises(ValueError, match=message):
        run_table(DRANET, "table4", "market1501", "quick", recipe=recipe, data_root="/nowhere")


def test_of_another_table_only_the_chosen_experiments_are_run(street_small):
    of_table4 = [one for _, one in experiments(DRANET, "table4", "street-small", "smoke", rows="Baseline")]
    recipe = {"epochs": 1}
    quiet = {"log": lambda line: None, "cpu": True}
    assert run_table(DRANET, "table1", "street-small", "smoke", among=of_table4, **quiet) == []
    assert run_table(DRANET, "rcam", "street-small", "smoke", among=of_table4, recipe=recipe, **quiet) == []
    ((row, done),) = run_table(DRANET, "rcam", "street-small", "smoke", among=of_table4, **quiet)
    assert row.name == "Baseline" and done.experiment == of_table4[0]


def test_one_recipe_for_all_changes_the_recipe_only():
    stated = full_networks(KNOWN.values(), "street", "demo")
    recipe = with_changes(bag_of_tricks.tables.RECIPE, {"size": (384, 128)})
    shared = full_networks(KNOWN.values(), "street", "demo", recipe=recipe)
    assert list(stated) == [paper.short for paper in KNOWN.values()]
    assert len({str(experiment.recipe) for experiment in stated.values()}) > 3
    assert len({str(experiment.recipe) for experiment in shared.values()}) == 1
    assert shared["PCB"].recipe.size == (96, 32) and shared["PCB"].profile == "demo"
    for name, experiment in stated.items():
        assert replace(shared[name], recipe=experiment.recipe) == experiment
