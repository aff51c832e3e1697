"""Layout Prior and its training as ComfyUI runs them: in inference mode, from and to ComfyUI's model folder."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.layout_prior.prior import LayoutGPT, PriorSize, save_prior
from frameloom.models.layout_prior.sequence import NAME, VOCABULARY
from frameloom.models.storyboard.scenes import parse_storyboard

BUNDLED = ["frameloom_demo_layout_prior.safetensors"]


def test_it_places_what_is_named(port, kind_folder):
    from frameloom.nodes.layout.prior import LayoutPrior

    torch.manual_seed(0)
    network = LayoutGPT(PriorSize(VOCABULARY, 256, 32, 2, 4))
    save_prior(kind_folder("layout_priors") / "tiny.safetensors", network, NAME)
    node = LayoutPrior
    assert node.define_schema().inputs[0].options == [*BUNDLED, "tiny.safetensors", "none"]
    settings = {
        "frames": 12,
        "keyframes": 3,
        "width": 640,
        "height": 360,
        "fps": 12.0,
        "temperature": 1.0,
        "top_k": 70,
    }
    board, text = node.execute(
        file="tiny.safetensors", entities="a red ball, a dog", caption="a park", seed=5, **settings
    ).args
    assert [len(entity.track) for entity in board.only_scene().entities] == [3, 3]
    assert parse_storyboard(text) == board


def test_it_trains_where_gradients_are_off_and_writes_what_layout_prior_reads(port, kind_folder, monkeypatch):
    from frameloom.nodes.layout.prior import LayoutPrior
    from frameloom.nodes.training.train_layout_prior import TrainLayoutPrior
    from frameloom.training.layout import scenes as layout_scenes

    folder = kind_folder("layout_priors")
    monkeypatch.setattr(layout_scenes, "SCENES", 60)
    sizes = {"width": 16, "layers": 1, "context": 320}
    name, report, plot = TrainLayoutPrior.execute(
        source="shapes",
        text="",
        name="mine",
        steps=4,
        batch_size=4,
        learning_rate=0.01,
        keyframes=3,
        seed=0,
        **sizes,
    ).args
    assert [path.name for path in folder.iterdir()] == [name] == ["mine_00001_.safetensors"]
    assert name in LayoutPrior.define_schema().inputs[0].options
    assert "100.0 % within the grammar" in report
    assert plot.shape == (1, 200, 640, 3)


def test_a_cancel_of_comfyuis_leaves_no_file(port, kind_folder):
    import comfy.model_management
    from frameloom.nodes.training.train_layout_prior import TrainLayoutPrior

    folder = kind_folder("layout_priors")
    sizes = {"width": 16, "layers": 1, "context": 320}
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        TrainLayoutPrior.execute(
            source="shapes", text="", name="mine", steps=4, batch_size=4, learning_rate=0.01, keyframes=3, seed=0,
            **sizes,
        )  # fmt: skip
    assert list(folder.iterdir()) == []
