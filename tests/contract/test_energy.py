"""What every host promises of guidance by an energy."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import PredictionError
from frameloom.models.layout.energy import BoxEnergy
from frameloom.tests.support.layout import CIRCLE, CROSS, guide, lay_out, obey
from frameloom.tests.support.parts import Every


def network_of(model):
    """The UNet that a host's MODEL holds."""
    return model.unet if hasattr(model, "unet") else model.model.diffusion_model


class BrokenEnergy(BoxEnergy):
    """An energy that stops in the middle of a model call, as an interrupt does."""

    def energy(self, query, key, call, level):
        raise KeyboardInterrupt


def test_energy_that_does_not_act_is_bit_identical_to_plain(port, demo, scene):
    laid_out = lay_out(port, demo[1])
    plain = scene.predict(demo[0], laid_out, sigma=3.0)
    for still in (guide(port, demo[0], strength=0.0), guide(port, demo[0], end_percent=0.0)):
        assert torch.equal(scene.predict(still, laid_out, sigma=3.0), plain)
    bare = port.encode_text(demo[1], "a cross")[0]
    model = guide(port, demo[0])
    assert torch.equal(scene.predict(model, bare, sigma=3.0), scene.predict(demo[0], bare, sigma=3.0))
    assert not torch.allclose(scene.predict(model, laid_out, sigma=3.0), plain, atol=1e-2)


def test_clean_latents_move_against_the_gradient_of_the_energy(port, demo):
    slope, expected = slope_of_the_move(port, demo[0], demo[1])
    assert slope == pytest.approx(expected, rel=0.02)


def slope_of_the_move(port, model, clip, step=0.02):
    """A small step along the move lowers the energy by the move's square, over strength and sigma squared.

    Returns the slope of the energy along the move that the model is guided by, and what it should be.
    """
    sigma, strength, unit = 3.0, 100.0, port.noise_unit(model)
    noise = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    laid_out, noisy = lay_out(port, clip), noise * sigma * unit

    def energy(latent):
        read = Energies()
        port.predict(port.install(model, Edit("test", observe=read)), laid_out, {"samples": latent}, sigma)
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
        port.predict(each, laid_out, {"samples": noisy}, sigma)
        for each in (guide(port, model, strength), model)
    )
    move = moved - plain
    step /= float((move / unit).norm())
    slope = (energy(noisy + step * move) - energy(noisy - step * move)) / (2 * step)
    return slope, -float((move / unit).square().sum()) / (strength * sigma**2)


def test_guidance_does_not_scale_the_move(port, demo, scene):
    """It is that of a prediction at cfg 1, whatever the cfg."""
    laid_out, sigmas = lay_out(port, demo[1]), torch.tensor([3.0, 0.0])

    def run(model, cfg):
        return scene.run(model, positive=laid_out, sigmas=sigmas, cfg=cfg)

    model = guide(port, demo[0])
    moves = [run(model, cfg) - run(demo[0], cfg) for cfg in (1.0, 4.0)]
    assert moves[0].abs().max() > 1e-2
    torch.testing.assert_close(moves[1], moves[0], rtol=1e-3, atol=1e-4)


def test_observers_see_the_prediction_and_not_the_gradients_pass(port, demo, scene):
    count = Every()
    model = port.install(guide(port, demo[0]), Edit("test", observe=count))
    scene.predict(model, lay_out(port, demo[1]), sigma=3.0)
    assert len(count.seen) == 16


@pytest.mark.parametrize("inference", [True, False])
def test_weights_are_as_they_were_and_have_no_gradient(port, demo, moving, scene, inference):
    laid_out = lay_out(port, demo[1])
    weights = dict(network_of(demo[0]).named_parameters())
    values = {name: weight.clone() for name, weight in weights.items()}
    broken = port.install(demo[0], Edit("layout", guide=BrokenEnergy(100.0, 1.0)))
    with torch.inference_mode(inference), torch.no_grad():
        with pytest.raises(KeyboardInterrupt):
            scene.predict(broken, laid_out, sigma=3.0)
        got = scene.predict(guide(port, moving), laid_out, sigma=3.0)
        after = dict(network_of(demo[0]).named_parameters())
        assert weights.keys() == after.keys()
        assert all(after[name] is weight for name, weight in weights.items())
        assert all(torch.equal(weight, values[name]) for name, weight in weights.items())
        assert all(weight.grad is None for weight in weights.values())
        assert not got.requires_grad
        plain = scene.predict(demo[0], laid_out, sigma=3.0)
        assert torch.equal(plain, scene.predict(guide(port, demo[0], strength=0.0), laid_out, sigma=3.0))


def test_a_gradient_that_is_not_finite_stops_the_run(port, demo, scene):
    laid_out = lay_out(port, demo[1])
    with pytest.raises(PredictionError, match="NaN or infinite at step 0"):
        scene.predict(guide(port, demo[0], strength=float("inf")), laid_out, sigma=3.0)


def test_what_energy_does_not_go_with_is_refused(port, demo, scene):
    laid_out = lay_out(port, demo[1], boxes=(CIRCLE, CROSS))
    both = guide(port, obey(port, demo[0], gather_percent=1.0))
    with pytest.raises(
        ValueError, match=r"got a model with Layout Conditioning's methods bias \+ energy and bias"
    ):
        scene.predict(both, laid_out, sigma=3.0)
    boxed = [[laid_out[0][0], {**laid_out[0][1], "gligen": ("position", None, [])}]]
    with pytest.raises(ValueError, match="got boxes of GLIGENTextBoxApply with Layout Conditioning's method"):
        scene.predict(guide(port, demo[0]), boxed, sigma=3.0)
    with pytest.raises(ValueError, match="guides sampling; expected a model to train through"):
        port.train_forward(guide(port, demo[0]), 4)(
            torch.zeros(4, 4, 8, 8), torch.zeros(4), torch.zeros(4, 77, 64)
        )
