"""`llamafactory-cli export`: a model card that says what is known and no more, and a push that takes it along."""

import json
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.export.card import CardError, model_card, read_sources


RESULTS = {
    "schema_version": 1,
    "reference": "tuned",
    "main": "gaze",
    "metrics": {
        "rougeL": {
            "base": 0.25, "new": 0.3, "pct": 20.0, "pct_ci95": [5.0, 35.0], "p_two_way": 0.004,
            "clustering": "image x participant", "signature": "impl:r|refs:own",
        },
        "meteor": {"base": None, "new": None},
    },
    "controls": {"off": {"metrics": {"rougeL": {"mean": 0.24}}}},
    "data": {"n_rows": 60, "n_images": 12, "n_participants": 5, "simulated": None},
    "versions": {},
    "commit": "abc123",
}  # fmt: skip
DATA_CARD = """# Looking at *art*

## Maps

- Gaussian of 24 pixels.
- Scaled to a maximum of 1.

## Ethics

Not for the model card.
"""


@pytest.fixture
def results(tmp_path):
    def write(**changes):
        path = tmp_path / "results.json"
        path.write_text(json.dumps({**RESULTS, **changes}))
        return str(path)

    return write


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/README.md").write_text(DATA_CARD)
    return str(tmp_path / "data")


@pytest.fixture
def folder(tmp_path):
    """What a card reads of an exported model."""
    config = json.loads((BASE_MODEL / "config.json").read_text())
    config["vision_config"] |= {"gaze_fusion": "cross_attention", "gaze_layers": [3, 6], "gaze_query": "patch"}
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    (tmp_path / "model/processor_config.json").write_text(json.dumps({"image_max_pixels": 262144}))
    return tmp_path / "model"


def test_what_is_known_stands_in_the_card(folder, results, data):
    sources = read_sources("Qwen/Qwen2.5-VL-3B-Instruct", ["me/stage1", "me/stage2"], results(), data)
    card = model_card(folder, sources, "me/gaze")
    assert card == model_card(folder, sources, "me/gaze")
    header = yaml.safe_load(card.split("---")[1])
    assert header["base_model"] == "Qwen/Qwen2.5-VL-3B-Instruct" and header["pipeline_tag"] == "image-text-to-text"
    assert header["library_name"] == "transformers" and "datasets" not in header
    (metric,) = header["model-index"][0]["results"][0]["metrics"]
    assert metric == {"type": "rougeL", "value": 0.3, "name": "ROUGE-L"}
    assert "in blocks 3, 6 of the 8 of its visual tower" in card
    assert "| ROUGE-L | 0.250 | 0.300 | +20.0% | +5.0 to +35.0 | 0.004 | 0.240 |" in card
    assert "METEOR" not in card and "impl:r|refs:own" in card and "commit abc123" in card
    assert "60 captions of 12 images by 5 people" in card and "Simulated" not in card
    assert "- Gaussian of 24 pixels.\n- Scaled to a maximum of 1.\n" in card and "Not for the model card" not in card
    assert (
        "| training data | `Looking at *art*` |" in card and "of more than 262144 pixels is scaled down first" in card
    )
    assert "captions that share an image or a participant (clustered by image and participant)" in card
    assert ModelCard(card).data.eval_results[0].metric_value == 0.3  # as the Hub's own client reads it


def test_what_is_not_known_is_said_to_be_not_known(folder):
    card = model_card(folder, read_sources("somebody/base"))
    assert "| training data | **not stated** |" in card and "**Not stated**: no data card was at hand" in card
    assert "nothing is known of this model's captions" in card
    assert "model-index" not in card.split("---")[1]


def test_p_values_claim_no_more_clusters_than_there_were(folder, results):
    entry = {**RESULTS["metrics"]["rougeL"], "clustering": "image"}
    card = model_card(folder, read_sources("a/b", results=results(metrics={"rougeL": entry})))
    assert "captions that share an image (clustered by image)" in card and "person (two-way" not in card


def test_places_on_this_disk_stay_out_of_it(folder, tmp_path):
    (tmp_path / "saves/stage1").mkdir(parents=True)
    card = model_card(folder, read_sources(str(BASE_MODEL), [str(tmp_path / "saves/stage1")]))
    assert "`saves/stage1`" in card and "`demo/base_model`" in card and "base_model:" not in card
    assert str(tmp_path) not in card and str(BASE_MODEL) not in card


def test_simulated_data_are_called_simulated(folder, results, data, tmp_path):
    said = "The data set calls itself simulated."
    simulated = results(data={**RESULTS["data"], "simulated": said})
    assert f"> **Simulated data.** {said}" in model_card(folder, read_sources("a/b", (), simulated))
    (tmp_path / "data/README.md").write_text("SIMULATED data: drawn by a program.\n\n" + DATA_CARD)
    assert "> **Simulated data.** SIMULATED data: drawn by a program." in model_card(
        folder, read_sources("a/b", (), None, data)
    )


def test_data_on_the_hub_are_linked(folder):
    card = model_card(folder, read_sources("a/b", data="me/osie-gaze"))
    assert "[me/osie-gaze](https://huggingface.co/datasets/me/osie-gaze)" in card
    assert yaml.safe_load(card.split("---")[1])["datasets"] == ["me/osie-gaze"]


def test_sources_that_cannot_be_used_are_refused(tmp_path, results, folder):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "empty").mkdir()
    incomplete = tmp_path / "incomplete.json"
    incomplete.write_text(json.dumps({key: value for key, value in RESULTS.items() if key != "main"}))
    for sources, message in (
        ({"results": str(tmp_path / "nothing.json")}, "cannot be read"),
        ({"results": str(tmp_path / "broken.json")}, "is not valid JSON"),
        ({"results": str(incomplete)}, "lacks main"),
        ({"data": str(tmp_path / "empty")}, "holds no data card"),
        ({"data": "neither folder nor name"}, "holds no data card"),
    ):
        with pytest.raises(CardError, match=message) as error:
            read_sources("a/b", **sources)
        assert "\n" not in str(error.value)
    shutil.copy(BASE_MODEL / "config.json", folder)
    with pytest.raises(CardError, match="holds no exported gaze model"):
        model_card(folder, read_sources("a/b"))


def export(tmp_path, **keys):
    from llamafactory.train.tuner import export_model

    recipe = {
        "model_name_or_path": str(BASE_MODEL),
        "template": "qwen2_5_vl_gaze",
        "gaze_layers": [5],
        "infer_dtype": "float32",
        "export_dir": str(tmp_path / "exported"),
        **keys,
    }
    export_model({key: value for key, value in recipe.items() if value is not None})
    return tmp_path / "exported"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Stands in for the Hub, which cannot be reached here: a folder for each repository.

    Replaced are the three calls by which LLaMA-Factory and this package upload; what they would upload is written.
    """

    def push(self, repo_id, token=None, **kwargs):
        assert token == "secret"
        self.save_pretrained(tmp_path / "hub" / repo_id, **kwargs)

    def upload_file(self, *, path_or_fileobj, path_in_repo, repo_id, commit_message):
        assert self.token == "secret"
        (tmp_path / "hub" / repo_id / path_in_repo).write_bytes(path_or_fileobj)

    monkeypatch.setattr(PreTrainedModel, "push_to_hub", push)
    monkeypatch.setattr("transformers.PreTrainedTokenizerBase.push_to_hub", push)
    monkeypatch.setattr("transformers.ProcessorMixin.push_to_hub", push)
    monkeypatch.setattr("huggingface_hub.HfApi.upload_file", upload_file)
    return tmp_path / "hub"


def test_an_export_is_pushed_whole_with_its_card(hub, tmp_path, results, data):
    keys = {"gaze_card_results": results(), "gaze_card_data": data}
    folder = export(tmp_path, export_hub_model_id="me/gaze", hf_hub_token="secret", **keys)
    pushed = hub / "me/gaze"
    assert (pushed / "README.md").read_bytes() == (folder / "README.md").read_bytes()
    assert 'load_model("me/gaze")' in (pushed / "README.md").read_text()
    model = AutoModelForImageTextToText.from_pretrained(pushed)
    processor = AutoProcessor.from_pretrained(pushed)
    assert type(model).__name__ == "Qwen2_5_VLGazeForConditionalGeneration"
    assert model.config.vision_config.gaze_layers == [5] and processor.gaze_fusion == "cross_attention"


def test_a_card_that_cannot_be_written_stops_before_the_export(tmp_path, monkeypatch):
    monkeypatch.setattr("llamafactory.train.tuner.load_model", lambda *_: pytest.fail("the model was loaded"))
    with pytest.raises(CardError, match=r"nothing\.json cannot be read"):
        export(tmp_path, gaze_card_results=str(tmp_path / "nothing.json"))


def test_a_model_without_gaze_has_no_card_of_ours(tmp_path):
    folder = export(tmp_path, template="qwen2_vl", gaze_layers=None)
    assert (folder / "config.json").is_file() and not (folder / "README.md").exists()
