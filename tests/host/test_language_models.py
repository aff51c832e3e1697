"""A language model behind a server, asked from a running ComfyUI: its key goes to it, and is found nowhere else."""

from __future__ import annotations

import asyncio
import json

import pytest
from frameloom.tests.host.server import KEY, KEY_VARIABLE, ROOT, documented_client
from frameloom.tests.support.language import RIGHT
from frameloom.tests.support.llm_stub import free_address, says, sends, serving
from PIL import Image

pytestmark = pytest.mark.host

PICTURES = {"Frameloom_LayoutPreview": 0, "Frameloom_NuwaPlan": 1}  # output of each that is saved


@pytest.fixture
def run(server, tmp_path):
    """Run a workflow of ours with some inputs replaced, by a profile of an address; returns the saved files."""
    client = documented_client(tmp_path)
    folder = server.base / "user" / "frameloom"
    folder.mkdir(parents=True, exist_ok=True)

    def go(name, address, **changes):
        profile = {"base_url": address, "model": "m", "api_key_env": KEY_VARIABLE}
        (folder / "llm_profiles.json").write_text(json.dumps({"mine": profile}))
        graph = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text("utf-8"))
        changes["LLMEndpoint"] = {"profile": "mine", "timeout": 20.0, "attempts": 2}
        for node_id, node in list(graph.items()):
            node["inputs"] |= changes.get(node["class_type"].removeprefix("Frameloom_"), {})
            if node["class_type"] in PICTURES:
                save = {"images": [node_id, PICTURES[node["class_type"]]], "filename_prefix": "picture"}
                graph["save"] = {"class_type": "SaveImage", "inputs": save}
        return asyncio.run(client.run(server.url, graph, tmp_path / "fetched", []))

    yield go
    (folder / "llm_profiles.json").unlink(missing_ok=True)  # other tests see the built-in ones alone


@pytest.fixture
def ask(run):
    """Plan a storyboard of a script with the model of an address."""
    return lambda address, script: run("layout_llm", address, LayoutFromLLM={"script": script, "frames": 4})


def find_key(server):
    """Return the files of the server's folder that hold the key."""
    files = [path for path in server.base.rglob("*") if path.is_file() and "custom_nodes" not in path.parts]
    assert server.log in files
    return [path for path in files if KEY.encode() in path.read_bytes()]


def test_a_key_goes_to_its_own_server_and_is_in_no_file_log_or_history(server, ask):
    with serving(*map(says, RIGHT)) as stub:
        assert len(ask(stub.url, "A red ball rolls to the right in a park.")) >= 4
        assert [each.headers["authorization"] for each in stub.asked] == [f"Bearer {KEY}"] * 2
        assert not [question for question in stub.questions if KEY in json.dumps(question)]
    assert KEY not in json.dumps(server.get("/history"))
    assert find_key(server) == []


@pytest.mark.parametrize("status", [401, 400, 500])
def test_a_server_that_repeats_the_key_does_not_bring_it_into_an_error(server, ask, status):
    with (
        serving(sends(f"the key {KEY} is bad".encode(), status=status)) as stub,
        pytest.raises(RuntimeError, match=str(status)) as error,
    ):
        ask(stub.url, f"A ball falls. {status}")
    assert KEY not in str(error.value)
    assert KEY not in json.dumps(server.get("/history"))
    assert find_key(server) == []


def test_a_redirect_to_another_host_is_told_and_not_followed(server, ask):
    with serving(says("no")) as other, serving(sends(status=307, Location=f"{other.url}/steal")) as stub:
        with pytest.raises(RuntimeError, match="sends us on to"):
            ask(stub.url, "A ball rises.")
        assert other.asked == []
        assert len(stub.asked) == 1
    assert find_key(server) == []


def test_a_server_that_is_down_fails_the_node_and_no_other_planner_steps_in(ask):
    with pytest.raises(
        RuntimeError, match=r"mine: no answer from .*, 2 times; expected a server that answers"
    ):
        ask(free_address(), "A ball flies away.")


def test_nuwa_plan_asks_for_prompts_once_and_goes_on_after_an_error(server, run):
    tree = {"prompts": "a fox\na wolf\na bear", "length": 3, "depth": 2}
    right = [says(json.dumps({"prompts": [f"{KEY} {name}"]})) for name in ("a jackal", "a dog")]
    with serving(right[0], says("no")) as stub:
        with pytest.raises(RuntimeError, match=r"job 2 \(frames 2 to 4\): answer 3, \$: got 'no'"):
            run("nuwa_llm", stub.url, NuwaPlan=tree)
        assert len(stub.questions) == 4
        stub.acts = [right[1]]
        pictures = run("nuwa_llm", stub.url, NuwaPlan=tree)
        assert len(stub.questions) == 5
        last = list(server.get("/history").values())[-1]["outputs"]
        assert "  1: *** a jackal\\n2: a wolf\\n  3: *** a dog" in json.dumps(last)
        stub.acts = [says("no")]
        run("nuwa_llm", stub.url, NuwaPlan=tree | {"seconds_per_job": 1.0})
        assert len(stub.questions) == 5
    with Image.open(pictures[0]) as drawn:
        assert (0, 158, 115) in {color for _, color in drawn.convert("RGB").getcolors(100_000)}
    assert find_key(server) == []
