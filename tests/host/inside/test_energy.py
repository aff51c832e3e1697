"""Guidance by an energy in ComfyUI: weights of inference mode, other packs' patches, windows."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import HostError
from frameloom.models.layout.energy import BoxEnergy
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.contract.test_energy import network_of
from frameloom.tests.support.layout import guide, lay_out
from frameloom.tests.support.tensors import apart


def test_weights_of_inference_mode_stay_where_they_are(port, demo, scene):
    weights = list(network_of(demo[0]).parameters())
    assert all(weight.is_inference() for weight in weights)
    places = [weight.data_ptr() for weight in weights]
    scene.predict(guide(port, demo[0]), lay_out(port, demo[1]), sigma=3.0)
    assert [weight.data_ptr() for weight in network_of(demo[0]).parameters()] == places
    assert all(weight.is_inference() for weight in network_of(demo[0]).parameters())


def test_weights_that_are_elsewhere_are_refused():
    from frameloom.host.comfyui.seams.guide import _readable

    with pytest.raises(
        HostError, match=r"needs the whole model as plain tensors on cpu, got out\.weight on meta"
    ):
        _readable("out.weight", torch.zeros(2, device="meta"), torch.device("cpu"))


def test_frames_go_in_pieces_unless_another_pack_may_let_them_read_each_other(port, demo, scene):
    lengths = []

    class Noted(BoxEnergy):
        def energy(self, query, key, call, level):
            lengths.append(len(query))
            return super().energy(query, key, call, level)

    def note(query, key, value, extra):
        return query, key, value

    model = port.install(demo[0], Edit("layout", guide=Noted(100.0, 1.0)))
    other = model.clone()
    other.set_model_attn1_patch(note)
    laid_out, noisy = lay_out(port, demo[1], frames=6), {"samples": scene.noise(6) * 10}
    one = port.predict(model, laid_out, noisy, 3.0)
    assert set(lengths) == {4, 2}
    lengths.clear()
    assert apart(port.predict(other, laid_out, noisy, 3.0), one) <= 5e-4
    assert set(lengths) == {6}


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_windows_with_an_anchor_are_guided(port, demo, scene, strength):
    """What a window left of the anchor, in inference mode, is read while gradients are taken of the next."""
    model = guide(port, scene.crossing(demo[0], strength=strength))
    laid_out = lay_out(port, demo[1], frames=6)
    drawn = scene.run(scene.windowed(model, WindowPlan(3, 1)), frames=6, positive=laid_out)
    assert torch.isfinite(drawn).all()
