"""The exercises: the check tells solutions from mistakes, and notebooks and answers have what it needs."""

import json
import re
from pathlib import Path

import pytest
import torch

from reidnb import teaching
from reidnb.papers import PAPERS

ROOT = Path(__file__).resolve().parents[1]
NAMED = dict(zip(("wrcanet", "dranet", "hybrid_attention", "attention_driven"), teaching.TASKS, strict=True))


def cells(paper: str) -> list[dict]:
    """The cells of a paper's notebook that belong to its exercises: questions, task, code, check."""
    every = json.loads((ROOT / "notebooks" / f"{paper}.ipynb").read_text())["cells"]
    return [cell for cell in every if cell["id"].startswith("exercise")]


def written_in_answers() -> dict[str, object]:
    """The functions of the Python blocks of docs/answers.md, by name."""
    names = {"torch": torch}
    for block in re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "answers.md").read_text(), re.M | re.S):
        exec(block, names)
    return names


@pytest.mark.parametrize("task", teaching.TASKS)
def test_the_answers_solve_the_tasks(task):
    assert teaching.check(task, written_in_answers()[task]).startswith(f"Solved: {task} is right on all")


@pytest.mark.parametrize("task", teaching.TASKS)
def test_each_mistake_gets_its_own_sentence(task):
    for sentence, wrong in teaching.TASKS[task].mistakes.items():
        assert teaching.check(task, wrong).startswith("Not yet: ")
        assert teaching.check(task, wrong).endswith(sentence)


def test_erase_by_hand():
    image, f = torch.ones(1, 3, 2, 2), torch.tensor([[[1.0, 4.0], [3.0, 2.0]]])
    assert teaching.TASKS["erase"].solution(image, f, 0.5)[0, 2].tolist() == [[1, 0], [0, 1]]


def test_hard_fraction_by_hand():
    labels = torch.tensor([0, 0, 1, 1])
    b = torch.tensor([[1.0, 0], [1, 0], [0, 1], [1, 0]])  # right, right, right, wrong
    d = torch.tensor([[1.0, 0], [0, 1], [1, 0], [1, 0]])  # right, wrong, wrong, wrong
    assert teaching.TASKS["hard_fraction"].solution(b, d, labels) == pytest.approx(2 / 3)


def test_window_means_by_hand():
    means = teaching.TASKS["window_means"].solution(torch.tensor([[[1.0, 2.0, 6.0]]]))
    assert means[0, 0].tolist() == [1, 2, 6, 1.5, 4, 3]


def test_visible_weights_by_hand():
    mu, visible = torch.tensor([[0.2, 0.4, 0.2, 0.2]]), torch.tensor([[True, False, True, True]])
    torch.testing.assert_close(
        teaching.TASKS["visible_weights"].solution(mu, visible), torch.tensor([[1, 0, 1, 1]]) / 3
    )


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda *_: None, "Not solved yet: erase returns nothing."),
        (lambda *_: ..., "Not solved yet: erase returns nothing."),
        (
            lambda image, f, fraction: 1 / 0,
            "Not yet: erase(2×3×4×4 tensor, 2×4×4 tensor, 0.25) raises ZeroDivisionError",
        ),
        (lambda image, f, fraction: f, r"has shape (2, 4, 4) instead of (2, 3, 4, 4)."),
        (lambda image, f, fraction: image, "differs from the solution in 24 of 96 values."),
        (lambda image, f, fraction: "image", "returns a str, not a tensor."),
        (lambda image: image, "raises TypeError"),
    ],
)
def test_whatever_a_student_writes_gets_a_sentence(function, sentence):
    answer = teaching.check("erase", function)
    assert sentence in answer and "\n" not in answer


def test_the_inputs_cannot_be_changed():
    def in_place(image, f, fraction):
        result = teaching.TASKS["erase"].solution(image, f, fraction)
        image.zero_()
        f.zero_()
        return result

    assert teaching.check("erase", in_place).startswith("Solved")
    assert teaching.check("erase", in_place).startswith("Solved")


def test_unknown_tasks_are_named():
    with pytest.raises(ValueError, match="unknown task 'dim': known are erase, hard_fraction"):
        teaching.check("dim", lambda: None)


@pytest.mark.parametrize("paper", PAPERS)
def test_each_notebook_ends_with_three_questions_and_an_unsolved_task(paper, capsys):
    questions, task, code = cells(paper)
    text = "".join(questions["source"])
    assert len(re.findall(r"^\d\. ", text, re.M)) == 3 and "docs/answers.md" in text
    assert NAMED[paper] in "".join(task["source"])
    exec("".join(code["source"]), {"torch": torch})
    assert capsys.readouterr().out == f"Not solved yet: {NAMED[paper]} returns nothing.\n"


@pytest.mark.parametrize("paper", PAPERS)
def test_the_questions_of_the_notebooks_are_answered(paper):
    asked = re.findall(r"^\d\. (.*)", "".join(cells(paper)[0]["source"]), re.M)
    answers = (ROOT / "docs" / "answers.md").read_text()
    for number, question in enumerate(asked, 1):
        assert f"<summary>{number}. {re.sub(r'[*$]', '', question)}</summary>" in answers
