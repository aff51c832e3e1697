"""What every host promises of guidance by an energy."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import PredictionError
from frameloom.models.layout.energy import BoxEnergy
from frameloom.tests.support.layout import CIRCLE, CROSS, guide, lay_out, obey


def predict(port, model, positive, scene, sigma=3.0):
    return port.predict(model, positive, {"samples": scene.noise(4) * 10}, sigma)


def network_of(model):
    """The UNet that a host's MODEL holds."""
    return model.unet if hasattr(model, "unet") else model.model.diffusion_model


class BrokenEnergy(BoxEnergy):
    """An energy that stops in the middle of a model call, as an interrupt does."""

    def energy(self, query, key, call, level):
        raise KeyboardInterrupt


class Count:
    """An observer that counts."""

    def __init__(self):
        self.levels, self.seen = frozenset({0, 1, 2, 3}), 0

    def see(self, query, key, call, layer):
        self.seen += 1


def test_energy_that_does_not_act_is_bit_identical_to_plain(port, demo, scene):
    laid_out = lay_out(port, demo[1])
    plain = predict(port, demo[0], laid_out, scene)
    for still in (guide(port, demo[0], strength=0.0), guide(port, demo[0], end_percent=0.0)):
        assert torch.equal(predict(port, still, laid_out, scene), plain)
    bare = port.encode_text(demo[1], "a cross")[0]
    model = guide(port, demo[0])
    assert torch.equal(predict(port, model, bare, scene), predict(port, demo[0], bare, scene))
    assert not torch.allclose(predict(port, model, laid_out, scene), plain, atol=1e-2)


def test_clean_latents_move_against_the_gradient_of_the_energy(port, demo, scene):
    """A small step along the move lowers the energy by the move's square, over strength and sigma squared."""
    sigma, strength, unit = 3.0, 100.0, port.noise_unit(demo[0])
    laid_out, noisy = lay_out(port, demo[1]), scene.noise(4) * sigma * port.noise_unit(demo[0])

    def energy(latent):
        read = Energies()
        port.predict(port.install(demo[0], Edit("test", observe=read)), laid_out, {"samples": latent}, sigma)
        return read.mean()

    class Energies:
        levels = BoxEnergy().levels

        def __init__(self):
            self.found = []

        def see(self, query, key, call, layer):
            self.found.append(BoxEnergy().energy(query, key, call, layer))

        def mean(self):
            return float(torch.stack(self.found).double().mean())

    moved, plain = (
        port.predict(model, laid_out, {"samples": noisy}, sigma)
        for model in (guide(port, demo[0], strength), demo[0])
    )
    move = moved - plain
    step = 0.02 / float((move / unit).norm())
    slope = (energy(noisy + step * move) - energy(noisy - step * move)) / (2 * step)
    assert slope == pytest.approx(-float((move / unit).square().sum()) / (strength * sigma**2), rel=0.02)


def test_guidance_does_not_scale_the_move(port, demo, scene):
    """It is that of a prediction at cfg 1, whatever the cfg."""
    laid_out, sigmas = lay_out(port, demo[1]), torch.tensor([3.0, 0.0])

    def run(model, cfg):
        settings = {"noise": scene.noise(4), "sigmas": sigmas, "sampler": "euler", "cfg": cfg}
        return port.sample(
            model, laid_out, scene.negative, {"samples": torch.zeros(4, 4, 16, 16)}, **settings
        )["samples"]

    model = guide(port, demo[0])
    moves = [run(model, cfg) - run(demo[0], cfg) for cfg in (1.0, 4.0)]
    assert moves[0].abs().max() > 1e-2
    torch.testing.assert_close(moves[1], moves[0], rtol=1e-3, atol=1e-4)


def test_a_frames_box_moves_that_frame_alone(port, demo, motion, scene):
    """Unless a motion module lets frames read each other."""
    before, after = lay_out(port, demo[1]), lay_out(port, demo[1])
    after[0][1]["frameloom"]["reading"].regions[0].tracks[0][0][2] = torch.tensor([0.3, 0.3, 0.6, 0.6])
    model = guide(port, demo[0])
    one, other = (predict(port, model, each, scene) for each in (before, after))
    assert torch.equal(one[[0, 1, 3]], other[[0, 1, 3]])
    assert not torch.allclose(one[2], other[2], atol=1e-2)
    moving = scene.moving(model, motion)
    one, other = (predict(port, moving, each, scene) for each in (before, after))
    assert (one - other).abs().amax((1, 2, 3)).min() > 1e-4


def test_energy_and_other_edits_act_together_in_any_order(port, demo, motion, scene):
    laid_out = lay_out(port, demo[1])
    one = guide(port, scene.crossing(scene.moving(demo[0], motion)))
    other = scene.moving(scene.crossing(guide(port, demo[0])), motion)
    both = predict(port, one, laid_out, scene)
    assert torch.equal(both, predict(port, other, laid_out, scene))
    plain = predict(port, scene.crossing(scene.moving(demo[0], motion)), laid_out, scene)
    assert not torch.allclose(both, plain, atol=1e-2)
    biased = predict(port, obey(port, demo[0]), laid_out, scene, sigma=12.0)
    assert not torch.allclose(predict(port, guide(port, obey(port, demo[0])), laid_out, scene, 12.0), biased)


def test_observers_see_the_prediction_and_not_the_gradients_pass(port, demo, scene):
    count = Count()
    model = port.install(guide(port, demo[0]), Edit("test", observe=count))
    predict(port, model, lay_out(port, demo[1]), scene)
    assert count.seen == 16


@pytest.mark.parametrize("inference", [True, False])
def test_weights_are_as_they_were_and_have_no_gradient(port, demo, motion, scene, inference):
    laid_out = lay_out(port, demo[1])
    weights = dict(network_of(demo[0]).named_parameters())
    values = {name: weight.clone() for name, weight in weights.items()}
    broken = port.install(demo[0], Edit("layout", guide=BrokenEnergy(100.0, 1.0)))
    with torch.inference_mode(inference), torch.no_grad():
        with pytest.raises(KeyboardInterrupt):
            predict(port, broken, laid_out, scene)
        got = predict(port, scene.moving(guide(port, demo[0]), motion), laid_out, scene)
        after = dict(network_of(demo[0]).named_parameters())
        assert weights.keys() == after.keys()
        assert all(after[name] is weight for name, weight in weights.items())
        assert all(torch.equal(weight, values[name]) for name, weight in weights.items())
        assert all(weight.grad is None for weight in weights.values())
        assert not got.requires_grad
        plain = predict(port, demo[0], laid_out, scene)
        assert torch.equal(plain, predict(port, guide(port, demo[0], strength=0.0), laid_out, scene))


def test_a_gradient_that_is_not_finite_stops_the_run(port, demo, scene):
    laid_out = lay_out(port, demo[1])
    with pytest.raises(PredictionError, match="NaN or infinite at step 0"):
        predict(port, guide(port, demo[0], strength=float("inf")), laid_out, scene)


def test_what_energy_does_not_go_with_is_refused(port, demo, scene):
    laid_out = lay_out(port, demo[1], boxes=(CIRCLE, CROSS))
    both = guide(port, obey(port, demo[0], gather_percent=1.0))
    with pytest.raises(
        ValueError, match=r"got a model with Layout Conditioning's methods bias \+ energy and bias"
    ):
        predict(port, both, laid_out, scene)
    boxed = [[laid_out[0][0], {**laid_out[0][1], "gligen": ("position", None, [])}]]
    with pytest.raises(ValueError, match="got boxes of GLIGENTextBoxApply with Layout Conditioning's method"):
        predict(port, guide(port, demo[0]), boxed, scene)
    with pytest.raises(ValueError, match="guides sampling; expected a model to train through"):
        port.train_forward(guide(port, demo[0]), 4)(
            torch.zeros(4, 4, 16, 16), torch.zeros(4), torch.zeros(4, 77, 64)
        )
