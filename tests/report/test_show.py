"""What the notebooks show of a paper's networks."""

from reidnb.papers import PAPERS
from reidnb.report import show


def test_weak_reverse_attention_costs_a_second_pass_and_no_parameter():
    cost = show.cost(PAPERS["wrcanet"], "table2")
    alone, attended = cost.loc["ResNet-50"], cost.loc["ResNet-50+WRA"]
    assert alone["10⁶ parameters"] == attended["10⁶ parameters"] == round((23_508_032 + 2049 * 751 + 2 * 2048) / 1e6, 1)
    assert alone["10⁹ multiply-adds"] == 9.1 and attended["10⁹ multiply-adds"] == 18.2


def test_dranets_reverse_masks_cost_nothing_at_test_time_but_f_3x3_does():
    cost = show.cost(PAPERS["dranet"], "table4")
    # ResNet-50, and for each part f_3x3 with its batch normalisation, f_1x1, and with RCAM W0 and W1
    per_part = 2048 * 1024 * 9 + 2 * 1024 + 1025 * 751
    expected = [23_508_032 + 3 * (per_part + rcam * 2 * 2048 * 128) for rcam in (0, 1, 0, 1)]
    assert list(cost["10⁶ parameters"]) == [round(n / 1e6, 1) for n in expected]
    assert cost["10⁶ parameters"]["Baseline"] == 82.4  # of which f_3x3 has 3 * 2048 * 1024 * 9, 56.6 million
    assert set(cost["10⁹ multiply-adds"]) == {9.7}
