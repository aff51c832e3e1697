"""The comparison of two revisions: what it calls equal, and what its graphs are. It renders nothing here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from frameloom.tools import same
from frameloom.tools.same_cases import scene_graphs, shortened, workflow_graphs
from PIL import Image
from safetensors.torch import save_file

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"
ONE = {"headless": {"slots/motion": {"same.latent": "aa float32[6, 4, 8, 8]"}}}


def changed(**cases):
    return {"headless": ONE["headless"] | {name.replace("_", "/"): files for name, files in cases.items()}}


OTHER = changed(slots_motion={"same.latent": "bb float32[6, 4, 8, 8]"})


@pytest.mark.parametrize(
    ("old", "new", "expected", "code", "words"),
    [
        (ONE, ONE, [], 0, "1 the same"),
        (ONE, OTHER, [], 1, "DIFFERS: headless slots/motion: same.latent: aa float32[6, 4, 8, 8] before, bb"),
        (ONE, OTHER, ["headless slots/*"], 0, "expected: headless slots/motion"),
        (ONE, OTHER, ["comfyui *"], 1, "expected a difference, and there is none: comfyui *"),
        (ONE, changed(slots_new={"same.latent": "cc"}), [], 0, "1 new"),
        (changed(slots_gone={"same.latent": "cc"}), ONE, [], 1, "headless slots/gone: did not run"),
        (ONE, changed(slots_motion={}), [], 1, "now"),
        (ONE, changed(slots_motion={"failed": "KSampler: no"}), [], 1, "failed: KSampler: no"),
        (changed(slots_motion={"failed": "no"}), changed(slots_motion={"failed": "no"}), [], 1, "failed: no"),
    ],
    ids=["equal", "other", "meant", "other-meant", "new", "gone", "file-gone", "failed", "both-failed"],
)  # fmt: skip
def test_differences_are_named_and_those_that_are_not_meant_fail(old, new, expected, code, words, capsys):
    assert same.report(old, new, expected) == code
    assert words in capsys.readouterr().out


def test_the_command_compares_files(tmp_path, monkeypatch, capsys):
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for path, found in zip(paths, (ONE, OTHER), strict=True):
        path.write_text(json.dumps(found))
    monkeypatch.setattr("sys.argv", ["same.py", "compare", *map(str, paths)])
    assert same.main() == 1
    assert "DIFFERS: headless slots/motion" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["same.py", "compare", *map(str, paths), "--only", "noise/*"])
    assert same.main() == 0


def test_a_hash_is_of_tensors_and_not_of_their_file(tmp_path):
    def written(value, **metadata):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.latent"
        save_file({"latent_tensor": value}, path, metadata=metadata or None)
        return same.file_hash(path)

    value = torch.arange(8.0).reshape(2, 4)
    first = written(value)
    assert written(value.clone(), prompt="another") == first
    assert first.endswith("float32[2, 4]")
    others = [value.reshape(4, 2), torch.nextafter(value, value + 1), value.bfloat16(), -value * 0]
    assert len({first, *(written(each) for each in others)}) == 5


def test_a_hash_is_of_pictures_and_not_of_their_file(tmp_path):
    red, blue = (Image.new("RGB", (8, 8), color) for color in ("red", "blue"))
    for name, level in (("one", 0), ("two", 9)):
        red.save(tmp_path / f"{name}.png", compress_level=level)
    blue.save(tmp_path / "blue.png")
    for name, rest in (("clip", [blue]), ("still", [red])):
        red.save(tmp_path / f"{name}.webp", save_all=True, append_images=rest, lossless=True)
    one, two, other, clip, still = (
        same.file_hash(tmp_path / name)
        for name in ("one.png", "two.png", "blue.png", "clip.webp", "still.webp")
    )
    assert one == two == still
    assert len({one, other, clip}) == 3


def test_a_case_that_wrote_nothing_has_failed(tmp_path):
    (tmp_path / "output").mkdir()
    assert same.hashes(tmp_path, "slots/motion") == {"failed": "it wrote nothing"}


@pytest.mark.parametrize(
    "seam",
    "schedule noise run windows conditions guide input slots time self-attention between cross-attention observe "
    "training workflows".split(),
)
def test_every_seam_has_a_graph(seam):
    assert any(name.startswith(f"{seam}/") for name in same.all_graphs(WORKFLOWS))


def test_graphs_save_something_and_their_links_lead_to_nodes():
    for name, graph in same.all_graphs(WORKFLOWS).items():
        assert any("Save" in node["class_type"] for node in graph.values()), name
        links = [
            value
            for node in graph.values()
            for value in node["inputs"].values()
            if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
        ]
        assert {link[0] for link in links} <= graph.keys(), name


def test_workflows_are_left_out_where_they_need_files_of_the_users():
    names = {name.removeprefix("workflows/") for name in workflow_graphs(WORKFLOWS)}
    left_out = {path.stem for path in WORKFLOWS.glob("*.json")} - names
    assert {"animatediff_demo", "nuwa_demo", "script_to_layout"} <= names
    assert {"animatediff_sd15", "layout_llm", "layout_gligen_sd15"} <= left_out


def test_a_workflow_is_shortened_and_writes_latents_in_place_of_videos():
    short = shortened(json.loads((WORKFLOWS / "animatediff_demo.json").read_text()))
    kinds = [node["class_type"] for node in short.values()]
    assert "SaveLatent" in kinds
    assert "SaveVideo" not in kinds
    steps = [node["inputs"]["steps"] for node in short.values() if "steps" in node["inputs"]]
    assert steps == [4]


def test_cases_have_names_of_their_own_in_a_folder():
    names = [same.case_folder(name) for name in scene_graphs()]
    assert len(set(names)) == len(names)
