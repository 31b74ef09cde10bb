"""What people give as parameters: what is taken as meant, and what is refused in one sentence."""

import math
from inspect import signature

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidnb.papers import PAPERS
from reidnb.papers.experiments import checked as checked_experiment
from reidnb.papers.experiments import experiments, key, one_experiment, option_kinds
from reidnb.parameters import (
    COUNT,
    FLAG,
    NUMBER,
    OBJECT,
    POSITIVE,
    POSITIVE_OR_NONE,
    TEXT,
    check_names,
    checked,
    require,
    take,
)
from reidnb.training.experiment import from_json
from reidnb.training.recipe import SIZE

DEFAULTS = {
    "table": "table2",
    "seed": 0,
    "seeds": 1,
    "data_root": "",
    "weights": None,
    "options": {},
    "compiled": False,
}


@pytest.mark.parametrize(
    ("value", "kind", "meant"),
    [
        ("3", NUMBER, 3),
        (3.0, NUMBER, 3),
        ("1e-4", POSITIVE, 0.0001),  # what YAML makes of 1e-4
        (1, POSITIVE, 1.0),
        ("None", POSITIVE_OR_NONE, None),
        ("null", POSITIVE_OR_NONE, None),
        ("False", FLAG, False),
        ("true", FLAG, True),
        (2, TEXT, "2"),
        ('{"epochs": 3}', OBJECT, {"epochs": 3}),
        ([256, 128], SIZE, (256, 128)),
        ("[256, 128]", SIZE, (256, 128)),
    ],
)
def test_what_is_obviously_meant_is_taken(value, kind, meant):
    taken = take("it", value, kind)
    assert taken == meant and type(taken) is type(meant)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("two", NUMBER),
        (1.5, NUMBER),
        (-1, NUMBER),
        (True, NUMBER),
        (None, NUMBER),
        (0, COUNT),
        (math.nan, POSITIVE),
        (0, POSITIVE),
        ("maybe", FLAG),
        (1, FLAG),
        ([3], OBJECT),
        ("strength", OBJECT),
        (64, SIZE),
        ([64, 32, 3], SIZE),
        ([64, 8], SIZE),
    ],
)
def test_what_cannot_be_meant_is_named_with_its_value_and_what_is_allowed(value, kind):
    with pytest.raises(ValueError) as raised:
        take("it", value, kind)
    assert str(raised.value) == f"it={value!r}: allowed is {kind.allowed}"


@given(st.integers(0, 10**20))
def test_a_number_as_text_is_that_number(number):
    assert take("seed", number, NUMBER) == take("seed", str(number), NUMBER) == number


def test_paths_start_where_the_user_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    meant = checked({"data_root": "data/mine", "weights": "w.pth"}, DEFAULTS)
    assert meant == {"data_root": str(tmp_path / "data/mine"), "weights": str(tmp_path / "w.pth")}
    assert checked({"data_root": "~/reid"}, DEFAULTS) == {"data_root": "/home/somebody/reid"}
    for named in ("", "imagenet", "street", None):
        assert checked({"weights": named}, DEFAULTS) == {"weights": named}
    assert checked({"data_root": None, "weights": "None"}, DEFAULTS) == {"data_root": "", "weights": None}


def test_a_parameter_without_a_kind_of_its_own_is_of_its_defaults_type():
    assert checked({"compiled": "true", "table": 2}, DEFAULTS) == {"compiled": True, "table": "2"}
    with pytest.raises(ValueError, match="compiled='perhaps': allowed is true or false"):
        checked({"compiled": "perhaps"}, DEFAULTS)
    with pytest.raises(ValueError, match="run has no parameter 'sed': it has seed, table"):
        check_names("run", {"sed": 1}, ["seed", "table"])


SAME = [({"epochs": "3"}, {"epochs": 3}), ({"lr": "1e-3"}, {"lr": 0.001}), ({"size": "[64, 32]"}, {"size": (64, 32)})]
SAME += [({"sampler": {"images": "2"}}, {"sampler": {"images": 2}}), ({"weight_decay": 0}, {"weight_decay": "0.0"})]


@pytest.mark.parametrize(("text", "number"), SAME)
def test_text_and_number_give_the_same_key(street_small, text, number):
    keys = {
        key(one_experiment(PAPERS["wrcanet"], {}, recipe, "street-small", "smoke"), street_small)
        for recipe in (text, number)
    }
    assert len(keys) == 1


def test_options_as_text_give_the_same_key(street_small):
    wrcanet = PAPERS["wrcanet"]
    given_options = ({"strength": 0.25, "gp": False}, {"strength": "0.25", "gp": "false"})
    given_options += ('{"strength": 0.25, "gp": false}',)
    keys = {
        key(one_experiment(wrcanet, options, {}, "street-small", "smoke"), street_small) for options in given_options
    }
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("options", "recipe", "message"),
    [
        ({}, {"epochs": 0}, "epochs=0: allowed is a whole number, at least 1"),
        ({}, {"epochs": "many"}, "epochs='many': allowed is a whole number"),
        ({}, {"size": 64}, r"size=64: allowed is height and width, at least 16 pixels, as \[256, 128\]"),
        ({}, {"lr": -0.1}, "lr=-0.1: allowed is a number above 0"),
        ({}, {"weight_decay": -1}, "weight_decay=-1: allowed is a number, at least 0"),
        ({}, {"sampler": {"images": 0}}, r"sampler\.images=0: allowed is a whole number, at least 1"),
        ({}, {"sampler": 64}, "sampler=64: allowed is a JSON object"),
        ({}, {"augmentation": {"flip": 2}}, r"augmentation\.flip=2: allowed is a number from 0 to 1"),
        ({}, {"schedule": {"warmup": 2}}, r"schedule\.warmup=2\.0: allowed is a number from 0 to 1"),
        ({}, "quick", "recipe='quick': allowed is a JSON object"),
        ("strength", {}, "options='strength': allowed is a JSON object"),
        ({"gp": "perhaps"}, {}, "gp='perhaps': allowed is true or false"),
        ({"strength": -1}, {}, "strength=-1: allowed is a number from 0 to 1"),
        ({"margin": "wide"}, {}, "margin='wide': allowed is a number, at least 0"),
        ({"fusion_kernel": 1.5}, {}, "fusion_kernel=1.5: allowed is an odd whole number"),
        ({"fusion_kernel": 2}, {}, "fusion_kernel=2: allowed is an odd whole number"),
    ],
)
def test_wrong_recipes_and_options_are_one_clear_sentence(options, recipe, message):
    with pytest.raises(ValueError, match=message):
        one_experiment(PAPERS["wrcanet"], options, recipe, "street-small", "smoke")


@pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)
def test_every_option_of_a_network_has_a_kind_that_its_default_is_of(paper):
    for name, kind in option_kinds(paper.name).items():
        default = signature(paper.network).parameters[name].default
        assert kind is not None, f"{paper.name}'s option {name} is of a type without a kind"
        require(name, default, kind)
    for table in (*paper.tables, paper.table("readings")):
        for _, experiment in experiments(paper, table.name, next(iter(table.datasets), "street"), "smoke"):
            assert checked_experiment(experiment) == experiment


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"seed": 0}, "an experiment names its paper: the parameter 'paper' is missing"),
        ({"paper": "wrcanet", "sed": 1}, "an experiment has no parameter 'sed': it has paper, options"),
        ({"paper": "wrcanet", "seed": "one"}, "seed='one': allowed is a whole number"),
        ({"paper": "wrcanet", "recipe": {"epochs": 3}}, "allowed is a recipe as a run's experiment.json has it"),
        ({"paper": "wrcanet", "recipe": "short"}, "recipe='short': allowed is a JSON object"),
    ],
)
def test_a_wrong_experiment_is_one_clear_sentence(written, message):
    with pytest.raises(ValueError, match=message):
        from_json(written)
