"""Video Dataset's report in a workflow."""

from __future__ import annotations

import pytest
from frameloom.headless.core_nodes import core_node_classes
from frameloom.headless.workflow.executor import Executor
from frameloom.headless.workflow.graph import InvalidWorkflowError, check_workflow
from frameloom.tests.contract.test_video_dataset import DEFAULTS, fill_folder


def graph_of(**changed):
    return {
        "1": {"class_type": "Frameloom_VideoDataset", "inputs": DEFAULTS | changed},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
    }


def test_a_workflow_shows_the_report_and_may_name_listed_folders_only(host, nodes):
    fill_folder(host.input_dir / "mine", 1)
    classes = [*nodes.values(), *core_node_classes()]
    report = Executor(check_workflow(graph_of(), classes)).run()
    assert report.shown["2"]["text"][0].startswith("1 clip of 4 frames, 32x32, from 1 file of mine\n")
    with pytest.raises(
        InvalidWorkflowError,
        match=r"input source, folder, .*got '../mine', which is no folder",
    ):
        check_workflow(graph_of(folder="../mine"), classes)
