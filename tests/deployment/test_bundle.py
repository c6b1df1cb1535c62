"""The model folder: all that prediction needs, and nothing that does not fit gets in."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import foveal
from foveal.data.decode import encode_png
from foveal.deployment import bundle
from foveal.errors import ModelError
from foveal.files.atomic import write_json_with_digest
from foveal.files.typed_json import to_json


@pytest.fixture
def model(finished: Path, tmp_path: Path) -> Path:
    """A copy of a model folder, far from its run."""
    return Path(shutil.copytree(finished / "model", tmp_path / "model"))


def test_the_model_folder_alone_predicts_as_it_was_measured(
    model: Path, finished: Path, few_digits: Path
) -> None:
    with (finished / "predictions" / "test.csv").open() as file:
        kept = {row["path"]: row for row in csv.DictReader(file)}
    found = bundle.load_bundle(model).predict([few_digits / "test"])
    assert len(found) == len(kept) == 30
    for each in found:
        row = kept[Path(each.path).relative_to(few_digits).as_posix()]
        assert each.label == row["predicted"]
        assert each.probability == pytest.approx(float(row["confidence"]), abs=1e-6)
        assert sum(each.probabilities.values()) == pytest.approx(1)
        assert each.probabilities[each.label] == each.probability


def test_a_run_stands_for_its_model(finished: Path, few_digits: Path) -> None:
    file = next((few_digits / "test" / "8").iterdir())
    assert (
        bundle.load_bundle(finished).predict([file])[0]
        == bundle.load_bundle(finished / "model").predict([file])[0]
    )
    assert foveal.Run(finished).predict(file)[0].path == str(file)


def test_what_cannot_be_read_is_listed_and_the_rest_is_done(
    finished: Path, few_digits: Path, tmp_path: Path
) -> None:
    good = next((few_digits / "test" / "0").iterdir())
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "deep.tiff").write_bytes(_deep_tiff())
    names = [
        tmp_path / "text.png",
        good,
        tmp_path / "missing.png",
        tmp_path / "empty.png",
        tmp_path / "deep.tiff",
    ]
    found = bundle.load_bundle(finished).predict(names)
    assert [each.label is None for each in found] == [True, False, True, True, True]
    assert len(found.unreadable) == 4
    reasons = [str(each.error) for each in found]
    for reason, expected in zip(
        reasons, ["no image", "None", "No such file", "empty", "no range"], strict=True
    ):
        assert expected in reason
    assert "unreadable: the file is empty" in found.table()
    assert json.dumps([to_json(each) for each in found])


def _deep_tiff(step: int = 60) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * step).save(file, format="TIFF")
    return file.getvalue()


def test_an_ordinary_picture_of_16_bits_is_taken_as_one_of_8_bits(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "16.tiff").write_bytes(_deep_tiff(1000))
    eight = np.round(np.arange(64).reshape(8, 8) * 1000 * 255 / 65535).astype(np.uint8)
    (tmp_path / "8.png").write_bytes(encode_png(eight))
    deep, plain = bundle.load_bundle(finished).predict([tmp_path / "16.tiff", tmp_path / "8.png"])
    assert deep.error is None
    assert deep.probabilities == plain.probabilities


def test_nothing_to_predict_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no file matches"):
        bundle.load_bundle(finished).predict([tmp_path])


def test_many_files_are_done_in_pieces(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    for index in range(7):
        (tmp_path / f"{index}.png").write_bytes(encode_png(random.integers(0, 256, (8, 8), dtype=np.uint8)))
    whole = list(bundle.load_bundle(finished).predict([tmp_path]))
    monkeypatch.setattr(bundle, "MAX_CHUNK_BYTES", 3 * 8 * 8 * 3)
    assert [each.label for each in bundle.load_bundle(finished).predict([tmp_path])] == [
        each.label for each in whole
    ]


@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_what_is_no_model_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / what
    if what == "empty":
        path.mkdir()
    if what == "file":
        path.write_text("")
    with pytest.raises(ModelError, match="neither a model folder nor a run"):
        bundle.load_bundle(path)


def test_a_run_that_is_not_finished_has_no_model(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    shutil.rmtree(run / "model")
    with pytest.raises(ModelError, match="without a finished model"):
        bundle.load_bundle(run)


@pytest.mark.parametrize(
    "damage",
    [
        lambda config: config.pop("classes"),
        lambda config: config["recipe"].update(epochs="x"),
        lambda config: config["recipe"]["model"].update(name="os.system"),
        lambda config: config["decoding"].update(size="8"),
        lambda config: config["decoding"].pop("fit"),
        lambda config: config["classes"].append("one more"),
        lambda config: config["recipe"]["model"].update(widths=[9]),
        lambda config: config.update(threshold=1.5),
        lambda config: config.pop("threshold"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(model: Path, damage) -> None:
    config = json.loads((model / "config.json").read_text())
    damage(config)
    write_json_with_digest(model / "config.json", config)
    with pytest.raises(ModelError, match=str(model)):
        bundle.load_bundle(model)


def test_weights_that_do_not_fit_are_refused(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    name, first = next((key, each) for key, each in weights.items() if each.ndim == 4)
    for wrong in (
        {**weights, name: first.double()},
        {**weights, name: first[:1]},
        {**weights, "extra": first.clone()},
        {key: each for key, each in weights.items() if key != name},
    ):
        save_file({key: each.contiguous() for key, each in wrong.items()}, model / "model.safetensors")
        with pytest.raises(ModelError, match="cannot be used"):
            bundle.load_bundle(model)
    (model / "model.safetensors").write_bytes(b"\x80\x04}.")  # a pickle
    with pytest.raises(ModelError, match="cannot be used"):
        bundle.load_bundle(model)
