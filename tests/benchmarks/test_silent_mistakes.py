"""Silent mistakes: every folder can be made, and a reading is judged by what a person would expect."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy.silent_mistakes import Case, draw, hide_folder, judge, list_cases

CASES = {case.name: case for case in list_cases()}


def reading(**values: Any) -> dict[str, Any]:
    return {"refused": None, "said": "", "classes": ["a", "b"], "files": [], "pixels": {}} | values


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_every_case_can_be_made(case: Case, tmp_path: Path) -> None:
    case.build(tmp_path)
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) >= 24


def test_splits_that_become_classes_are_wrong() -> None:
    case = CASES["split folders Training and Testing"]
    assert judge(case, reading(classes=["Testing", "Training"])) == "silently wrong"
    assert judge(case, reading(files=[["a/i100.png", "a"]])) == "silently wrong"
    assert judge(case, reading(files=[["a/i000.png", "a"]])) == "right"
    assert judge(case, reading(refused="no train folder")) == "refused"


def test_what_is_said_is_no_silent_mistake() -> None:
    case = CASES["a JPEG whose second half is zeros"]
    used = reading(files=[["a/half.jpg", "a"]])
    assert judge(case, used) == "silently wrong"
    assert judge(case, used | {"said": "a/HALF.jpg is damaged"}) == "said"


def test_pixels_must_follow_the_original_values() -> None:
    case = CASES["12-bit values in 16-bit PNG"]
    right = {
        f"{'ab'[k]}/i{i:03d}.png": draw(k, i)[..., :1].repeat(3, 2).tolist()
        for k in (0, 1)
        for i in range(12)
    }
    assert judge(case, reading(pixels=right)) == "right"
    dark = {path: (draw(0, 0) // 16).tolist() for path in right}
    assert judge(case, reading(pixels=dark)) == "silently wrong"
    assert judge(case, reading(pixels={})) == "silently wrong"


def test_temporary_folders_are_left_out_of_results() -> None:
    assert hide_folder("no file in /tmp/x/data", "/tmp/x") == "no file in data"
    assert hide_folder(None, "/tmp/x") is None
