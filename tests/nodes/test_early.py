"""The headless runner's check of what can be known of a workflow before anything runs."""

from __future__ import annotations

import re

import pytest
from frameloom.headless.core_nodes import image, latent, video
from frameloom.headless.workflow.graph import InvalidWorkflowError, check_workflow
from frameloom.models.files.whole_file import try_folder
from frameloom.tests.nodes.test_values import Sink, Source
from frameloom.tests.support.disk import room_for
from frameloom.tests.support.early_cases import ACCEPTED, REFUSED
from frameloom.tests.support.input_table import workflow_of
from frameloom.tests.support.motion import save, tiny_lora, tiny_state


def check(node, values):
    prompt = workflow_of(node, f"Frameloom_{node.__name__}", **values)
    prompt["2"] = {"class_type": "Sink", "inputs": {"value": ["1", 0]}}
    return check_workflow(prompt, [Source, Sink, node])


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_can_be_known_is_refused_before_a_run(host, nodes, case):
    save(host.models_dir / "animatediff_models/pan.safetensors", tiny_lora())
    save(host.models_dir / "animatediff_motion_lora/mine.safetensors", tiny_state())
    with pytest.raises(InvalidWorkflowError) as caught:
        check(nodes[case.node], case.values)
    assert [error.kind for error in caught.value.errors] == ["custom_validation_failed"]
    assert case.marked in str(caught.value.errors[0].input_name).split(", ")
    assert re.search(case.said, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("case", ACCEPTED, ids=str)
def test_what_can_not_be_known_waits_for_the_run(nodes, case):
    check(nodes[case.node], case.values)


SAVERS = [image.SaveImage, image.SaveAnimatedWEBP, latent.SaveLatent, video.SaveVideo]


@pytest.mark.parametrize("saver", SAVERS, ids=lambda saver: saver.__name__)
def test_a_saver_tries_its_folder_before_a_run_and_leaves_nothing(host, saver):
    assert saver.validate_inputs("%width%/x") is True
    assert saver.validate_inputs("new/x") is True
    assert list(host.output_dir.iterdir()) == []
    (host.output_dir / "file").touch()
    assert "file: nothing can be written there (Not a directory); expected" in saver.validate_inputs("file/x")
    assert "points outside" in saver.validate_inputs("../x")
    assert saver.validate_inputs(None) is True


def test_a_full_disk_is_seen_before_a_run(tmp_path):
    with (
        room_for(1024),
        pytest.raises(OSError, match=r"nothing can be written there \(File too large\); expected"),
    ):
        try_folder(tmp_path / "not" / "there")
    assert list(tmp_path.iterdir()) == []
