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


ORDER = NODE["input_order"]["required"]


def changed(order=ORDER, /, output=NODE["output"], **inputs):
    """The golden entry with another order of inputs, other inputs, or other outputs."""
    entry = copy.deepcopy(NODE)
    entry["input_order"]["required"], entry["output"] = [*order], output
    entry["input"]["required"] |= inputs
    return entry


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            changed([*ORDER[:5], "steepness", *ORDER[6:]], steepness=["INT", {}]),
            "input order is gone or renamed",
        ),
        (changed(ORDER[:6]), "input coarse_to_fine is gone or renamed"),
        (changed([ORDER[0], ORDER[2], ORDER[1], *ORDER[3:]]), "input extra_iterations has place 3, it had 2"),
        (
            changed([*ORDER[:3], "new", *ORDER[3:]], new=["INT", {}]),
            "input spatial_stop has place 5, it had 4",
        ),
        (changed(order=["FLOAT", {}]), "input order takes FLOAT, it took INT"),
        (changed(filter=["COMBO", {"options": ["butterworth"]}]), "input filter lost the choice 'gaussian'"),
        (changed(output=[]), "output 0 is no MODEL any more"),
    ],
)
def test_a_change_that_saved_graphs_do_not_survive_is_named(entry, said):
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
    """Some it may pass on without naming them."""
    for node in nodes.values():
        ids = [each.id for each in node.define_schema().inputs]
        taken = inspect.signature(node.execute).parameters.values()
        named = [each.name for each in taken if each.kind is not each.VAR_KEYWORD]
        passes_on = len(named) < len(taken)
        assert named == [name for name in ids if name in named or not passes_on]
