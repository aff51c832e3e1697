"""``frameloom convert`` as a command: exit codes, what is written, and what it says of bad files."""

from __future__ import annotations

import json
import os

import pytest
from frameloom.headless.__main__ import main

GRAPH = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
    "2": {
        "class_type": "ADE_AnimateDiffLoaderGen1",
        "inputs": {"model": ["1", 0], "model_name": "v3_sd15_mm.ckpt", "beta_schedule": "autoselect"},
    },
    "3": {"class_type": "KSampler", "inputs": {"model": ["2", 0], "seed": 1}},
}


def with_settings(**inputs):
    settings = {"class_type": "ADE_AnimateDiffSamplingSettings", "inputs": inputs}
    loader = GRAPH["2"] | {"inputs": GRAPH["2"]["inputs"] | {"sample_settings": ["4", 0]}}
    return GRAPH | {"2": loader, "4": settings, "5": {"class_type": "ADE_NoisedImageInjection", "inputs": {}}}


@pytest.fixture
def run(tmp_path, capsys):
    def convert(content, name="graph.json", out="out.json"):
        source, target = tmp_path / name, tmp_path / out
        source.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        before = source.read_bytes()
        code = main(["convert", str(source), "-o", str(target)])
        assert source.read_bytes() == before
        said = capsys.readouterr()
        return code, said.out, said.err, target

    return convert


def test_an_exact_graph_is_written_and_exits_with_0(run):
    code, said, _, target = run(GRAPH)
    assert code == 0
    assert "exact: node 2 (ADE_AnimateDiffLoaderGen1): Apply Motion Module" in said
    assert said.splitlines()[-1].startswith("the graph: exact (")
    kinds = [node["class_type"] for node in json.loads(target.read_text()).values()]
    assert "Frameloom_ApplyMotionModule" in kinds
    assert not [kind for kind in kinds if kind.startswith("ADE")]


def test_what_is_not_possible_exits_with_1_and_the_rest_is_written(run):
    code, said, _, target = run(with_settings(image_inject=["5", 0]))
    assert code == 1
    assert "not possible: node 5 (ADE_NoisedImageInjection): " in said
    assert "Instead: " in said
    assert "Frameloom_ApplyMotionModule" in target.read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "got text that is not JSON"),
        ("[1, 2]", "got list in place of an object"),
        ("{}", "got an object without nodes"),
        ('{"1": 5}', "got an entry '1' without class_type and inputs"),
        ('{"nodes": [3], "links": []}', "got a node without a type"),
        (GRAPH | {"3": {"class_type": "KSampler", "inputs": {"model": ["99", 0]}}},
         "got node 3 (KSampler) whose model comes from node 99, which is missing"),
        (GRAPH | {"1": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["2", 0]}}},
         "got links that lead round in a circle: "),
        ("[" * 5000, "got JSON with"),
    ],
)  # fmt: skip
def test_a_bad_graph_is_refused_in_words_and_nothing_is_written(run, content, said):
    code, out, err, target = run(content)
    assert code == 2
    assert said in err
    assert "expected a workflow that ComfyUI saved" in err
    assert "Traceback" not in err
    assert out == ""
    assert not target.exists()


def test_the_workflow_is_never_its_own_output(run, tmp_path):
    code, _, err, _ = run(GRAPH, out="graph.json")
    assert code == 2
    assert "got the workflow itself for -o" in err
    os.link(tmp_path / "graph.json", tmp_path / "link.json")
    assert main(["convert", str(tmp_path / "graph.json"), "-o", str(tmp_path / "link.json")]) == 2


def test_a_target_that_cannot_be_written_leaves_no_part(run, tmp_path):
    (tmp_path / "folder").mkdir()
    code, out, err, _ = run(GRAPH, out="folder")
    assert code == 2
    assert "could not be written" in err
    assert out == ""
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "graph.json"]


def test_a_missing_file_is_named(capsys, tmp_path):
    assert main(["convert", str(tmp_path / "none.json"), "-o", str(tmp_path / "out.json")]) == 2
    assert "none.json: No such file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_ten_thousand_nodes_are_converted(run):
    many = {}
    for number in range(0, 10_000, 4):
        many |= {
            str(number): {"class_type": "EmptyLatentImage", "inputs": {"batch_size": 8}},
            str(number + 1): {
                "class_type": "ADE_AnimateDiffLoaderGen1",
                "inputs": {"model": ["0", 0], "model_name": "v3_sd15_mm.ckpt"},
            },
            str(number + 2): {"class_type": "KSampler",
                              "inputs": {"model": [str(number + 1), 0], "latent_image": [str(number), 0]}},
            str(number + 3): {"class_type": "VAEDecode", "inputs": {"samples": [str(number + 2), 0]}},
        }  # fmt: skip
    code, said, _, target = run(many)
    assert code == 0
    assert said.count("Load Motion Module") == 2500
    assert len(json.loads(target.read_text())) == 12_500
