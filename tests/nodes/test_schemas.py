"""What every node must say of itself, and the golden schemas: a promise to people's saved graphs."""

from __future__ import annotations

import copy
import inspect
import json

import pytest
from frameloom.host import api
from frameloom.tools import schemas
from frameloom.tools.schemas import broken_promises, golden, own_schemas


@pytest.fixture
def made(monkeypatch):
    """Node id -> entry of /object_info, from the stand-in without a user's files."""
    monkeypatch.setattr(api, "_selected", {})
    return own_schemas()


def test_the_golden_schemas_are_those_of_the_nodes(made):
    assert golden() == made, "run `python tools/schemas.py --write`"


NODE = golden()["Frameloom_FreeInit"]


def rename(entry):
    order = entry["input_order"]["required"]
    order[order.index("order")] = "steepness"
    entry["input"]["required"]["steepness"] = entry["input"]["required"].pop("order")


def reorder(entry):
    order = entry["input_order"]["required"]
    order[1], order[2] = order[2], order[1]


def remove(entry):
    entry["input_order"]["required"].remove("coarse_to_fine")


def before_an_optional_one(entry):
    entry["input_order"]["required"].insert(3, "new")
    entry["input"]["required"]["new"] = ["INT", {}]


def retype(entry):
    entry["input"]["required"]["order"][0] = "FLOAT"


def fewer_choices(entry):
    entry["input"]["required"]["filter"][1]["options"].remove("gaussian")


def no_output(entry):
    entry["output"] = []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename, "input order is gone or renamed"),
        (remove, "input coarse_to_fine is gone or renamed"),
        (reorder, "input extra_iterations has place 3, it had 2"),
        (before_an_optional_one, "input spatial_stop has place 5, it had 4"),
        (retype, "input order takes FLOAT, it took INT"),
        (fewer_choices, "input filter lost the choice 'gaussian'"),
        (no_output, "output 0 is no MODEL any more"),
    ],
)
def test_a_change_that_saved_graphs_do_not_survive_is_named(change, said):
    entry = copy.deepcopy(NODE)
    change(entry)
    assert [line for line in broken_promises(NODE, entry) if said in line]


def test_a_node_that_is_gone_is_named_and_a_new_last_input_is_welcome():
    entry = copy.deepcopy(NODE)
    entry["input_order"]["optional"] = ["new"]
    entry["input"]["optional"] = {"new": ["INT", {"default": 0}]}
    assert list(broken_promises(NODE, entry)) == []
    assert ["the node is gone" in line for line in broken_promises(NODE, None)] == [True]


def test_the_tool_writes_new_entries_and_nothing_where_a_promise_is_broken(
    made, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(schemas, "GOLDEN", tmp_path)
    monkeypatch.setattr("sys.argv", ["schemas.py", "--write"])
    assert schemas.main() == 0
    assert golden(tmp_path) == made
    old = copy.deepcopy(NODE)
    old["input_order"]["required"].append("dropped")
    old["input"]["required"]["dropped"] = ["INT", {}]
    (tmp_path / "Frameloom_FreeInit.json").write_text(json.dumps(old), "utf-8")
    (tmp_path / "Frameloom_VideoNoise.json").unlink()
    capsys.readouterr()
    assert schemas.main() == 1
    assert "Frameloom_FreeInit: input dropped is gone" in capsys.readouterr().out
    assert not (tmp_path / "Frameloom_VideoNoise.json").exists()


def test_execute_takes_exactly_the_inputs_of_the_schema(nodes):
    for node in nodes.values():
        ids = [each.id for each in node.define_schema().inputs]
        assert list(inspect.signature(node.execute).parameters) == ids


def test_lists_of_files_are_read_anew_each_time(nodes, host):
    files = nodes["MotionModuleLoader"].define_schema().inputs[0].options
    assert "mine.safetensors" in files
    (host.models_dir / "animatediff_models" / "later.safetensors").write_bytes(b"")
    assert "later.safetensors" in nodes["MotionModuleLoader"].define_schema().inputs[0].options
