"""What every host promises of a mask encoder."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.motion.checkpoint import MotionWeights
from frameloom.models.motion.edit import motion_edit
from frameloom.models.motion.lora import MotionLoRA
from frameloom.models.motion.mask_adapter import MASK_KEY
from frameloom.models.motion.module import MotionModel
from frameloom.models.training import Learner
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.contract.test_free_init import again, by_hand
from frameloom.tests.support.layout import guide, lay_out
from frameloom.tests.support.motion import tiny_module

FRAMES = 5
WIDTH = 32  # of the demo's first convolution


def encoder(seed=0):
    """An encoder's weight, which changes a lot."""
    return 0.3 * torch.randn(WIDTH, 5, 3, 3, generator=torch.Generator().manual_seed(seed))


def as_lora(weight=None):
    """A mask adapter whose motion LoRA changes nothing else."""
    return MotionLoRA("adapter", {}, encoder() if weight is None else weight)


def adapted(motion, strength=1.0, weight=None):
    return motion.with_lora(as_lora(weight), strength)


def whole(port, motion, weight, **changes):
    """A motion module whose own file has an encoder."""
    weights = motion.weights.with_mask_encoder()
    return port.load_motion(replace(weights, state={**weights.state, MASK_KEY: weight, **changes}))


@contextmanager
def encoded_by_hand(model, latents, mask, weight=None, strength=1.0):
    """Let the host's own UNet add the convolution of given frames behind its first, for every chunk of a batch."""
    unet = model.unet if hasattr(model, "unet") else model.model.diffusion_model
    first = unet.conv_in if hasattr(unet, "conv_in") else unet.input_blocks[0][0]
    word = torch.cat([latents * mask, mask], 1)
    word = torch.nn.functional.conv2d(word, encoder() if weight is None else weight, padding=1)

    def add(_module, _inputs, output):
        return output + strength * word.repeat(len(output) // len(word), 1, 1, 1).to(output)

    hook = first.register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


def held(frames=(0,)):
    """Latents, and a mask that holds some of their frames."""
    latents = torch.randn(FRAMES, 4, 16, 16, generator=torch.Generator().manual_seed(9))
    mask = torch.ones(FRAMES, 1, 16, 16)
    mask[list(frames)] = 0
    return latents, mask


def draw(port, scene, model, latents, mask=None, noise=None, sigmas=None, **more):
    noise = scene.noise(len(latents)) if noise is None else noise
    return port.sample(
        model, more.pop("positive", scene.positive), scene.negative, {"samples": latents}, noise=noise,
        sigmas=port.sigmas(model, 3, "normal") if sigmas is None else sigmas, sampler="euler", cfg=3.0,
        mask=mask, **more,
    )["samples"]  # fmt: skip


def apart(one, other):
    return float((one - other).norm() / other.norm())


def test_a_new_encoder_is_bit_identical_to_the_module_without(port, demo, motion, scene):
    latents, mask = held()
    plain = draw(port, scene, scene.moving(demo[0], motion), latents, mask)
    new = whole(port, motion, torch.zeros(WIDTH, 5, 3, 3))
    assert torch.equal(draw(port, scene, scene.moving(demo[0], new), latents, mask), plain)


@pytest.mark.parametrize("mask", [None, "everywhere"])
def test_where_nothing_is_given_it_is_bit_identical_to_the_module_without(port, demo, motion, scene, mask):
    latents, _ = held()
    mask = None if mask is None else torch.ones(FRAMES, 1, 16, 16)
    plain = draw(port, scene, scene.moving(demo[0], motion), latents, mask)
    assert torch.equal(draw(port, scene, scene.moving(demo[0], adapted(motion)), latents, mask), plain)


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_it_is_the_convolution_of_what_is_given_added_behind_the_first(port, demo, motion, scene, strength):
    """Also part of a frame, of several prompts at once, and at the module's strength."""
    latents, mask = held((0, 3))
    mask[2, :, :, :7] = 0.25
    both = [*scene.positive, *port.encode_text(demo[1], "a blue cross")[0]]
    model = scene.moving(demo[0], adapted(motion), strength)
    got = draw(port, scene, model, latents, mask, positive=both)
    plain = scene.moving(demo[0], motion, strength)
    with encoded_by_hand(demo[0], latents / port.noise_unit(demo[0]), 1 - mask, strength=strength):
        wanted = draw(port, scene, plain, latents, mask, positive=both)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    assert apart(got, draw(port, scene, plain, latents, mask, positive=both)) > 0.01
    assert torch.equal(draw(port, scene, model, latents, mask, positive=both), got), "the hook stayed"


def test_given_frames_have_a_say_in_others_through_the_module_alone(port, demo, motion, scene):
    """A module whose outputs are zero passes nothing on; the bundled one passes the encoder's word on, too."""
    still = {
        key: torch.zeros_like(value) for key, value in motion.weights.state.items() if ".proj_out." in key
    }
    latents, mask = held()
    other = torch.cat([latents[:1].flip(-1), latents[1:]])

    def moved(module):
        model = scene.moving(demo[0], module)
        one, two = (draw(port, scene, model, each, mask)[1:] for each in (latents, other))
        return apart(two, one), one

    assert moved(whole(port, motion, encoder(), **still))[0] < 1e-5
    told, clip = moved(adapted(motion))
    assert told > 0.01
    assert apart(clip, moved(motion)[1]) > 0.01


@pytest.mark.parametrize(
    "idle", [{"strength": 0.0}, {"start_percent": 0.9999, "end_percent": 0.99991}], ids=["strength", "part"]
)
def test_a_module_that_does_not_act_tells_nothing(port, demo, motion, scene, idle):
    latents, mask = held()
    plain = draw(port, scene, demo[0], latents, mask)
    assert torch.equal(
        draw(port, scene, scene.moving(demo[0], adapted(motion), **idle), latents, mask), plain
    )


def test_a_single_frame_is_told_nothing(port, demo, motion, scene):
    latents, mask = held()
    mask[0, :, :8] = 1
    plain = draw(port, scene, demo[0], latents[:1], mask[:1])
    assert torch.equal(
        draw(port, scene, scene.moving(demo[0], adapted(motion)), latents[:1], mask[:1]), plain
    )


def test_a_windows_frames_are_told_their_own(port, demo, motion, scene):
    """Windows without overlap are clips by themselves."""
    latents, noise, mask = scene.noise(8).flip(-1), scene.noise(8), torch.ones(8, 1, 16, 16)
    mask[[0, 5, 6]] = 0
    model = scene.moving(demo[0], adapted(motion))
    got = draw(
        port, scene, port.install(model, Edit("windows", windows=WindowPlan(4, 0))), latents, mask, noise
    )
    parts = zip(latents.split(4), mask.split(4), noise.split(4), strict=True)
    wanted = torch.cat([draw(port, scene, model, *part) for part in parts])
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)


def test_a_lora_scales_adds_and_takes_away(port, demo, motion, scene):
    latents, mask = held()

    def drawn(module):
        return draw(port, scene, scene.moving(demo[0], module), latents, mask)

    plain = drawn(motion)
    told = drawn(whole(port, motion, 0.5 * encoder()))
    torch.testing.assert_close(drawn(adapted(motion, 0.5)), told, rtol=1e-4, atol=1e-4)
    added = whole(port, motion, 0.25 * encoder()).with_lora(as_lora(), 0.25)
    torch.testing.assert_close(drawn(added), told, rtol=1e-4, atol=1e-4)
    assert apart(drawn(adapted(motion, -0.5)), told) > 0.01
    assert torch.equal(drawn(adapted(motion, 0.0)), plain)
    torch.testing.assert_close(drawn(adapted(adapted(motion, 0.7), -0.7)), plain, rtol=1e-3, atol=1e-3)
    assert torch.equal(drawn(motion), plain), "the adapter stayed in the module"


def test_loras_before_and_behind_an_adapter_both_act(port, demo, motion, scene):
    name = next(key for key in motion.weights.state if key.endswith("attention_blocks.0.to_q.weight"))
    generator = torch.Generator().manual_seed(3)
    pair = tuple(torch.randn(*shape, generator=generator) for shape in ((2, WIDTH), (WIDTH, 2)))
    lora, (latents, mask) = MotionLoRA("pan", {name: pair}), held()
    orders = (motion.with_lora(lora, 0.8).with_lora(as_lora(), 1.0), adapted(motion).with_lora(lora, 0.8))
    clips = [draw(port, scene, scene.moving(demo[0], module), latents, mask) for module in orders]
    torch.testing.assert_close(*clips, rtol=1e-4, atol=1e-4)
    assert apart(clips[0], draw(port, scene, scene.moving(demo[0], adapted(motion)), latents, mask)) > 1e-3


def test_modules_with_an_encoder_and_without_act_beside_each_other(port, demo, motion, scene):
    latents, mask = held()
    model = scene.moving(scene.moving(demo[0], motion, 0.5), adapted(motion), 0.4)
    plain = scene.moving(scene.moving(demo[0], motion, 0.5), motion, 0.4)
    with encoded_by_hand(demo[0], latents / port.noise_unit(demo[0]), 1 - mask, strength=0.4):
        wanted = draw(port, scene, plain, latents, mask)
    torch.testing.assert_close(draw(port, scene, model, latents, mask), wanted, rtol=1e-4, atol=1e-4)


def test_guidance_by_an_energy_asks_with_what_is_given(port, demo, motion, scene):
    """Its gradient is of the UNet as it is then asked."""
    latents, mask = held()
    laid_out = lay_out(port, demo[1], frames=FRAMES)
    got = draw(
        port, scene, guide(port, scene.moving(demo[0], adapted(motion))), latents, mask, positive=laid_out
    )
    plain = guide(port, scene.moving(demo[0], motion))
    with encoded_by_hand(demo[0], latents / port.noise_unit(demo[0]), 1 - mask):
        wanted = draw(port, scene, plain, latents, mask, positive=laid_out)
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
    assert apart(got, draw(port, scene, plain, latents, mask, positive=laid_out)) > 0.01


def test_runs_that_are_repeated_are_told_each_time(port, demo, motion, scene):
    latents, mask = held()
    model, noise, reinit = scene.moving(demo[0], adapted(motion)), scene.noise(FRAMES), NoiseReinit(1)
    sigmas = port.sigmas(model, 3, "normal")
    got = draw(port, scene, again(port, model, reinit), latents, mask, noise, sigmas)
    wanted = by_hand(port, scene, model, reinit, noise, latents, sigmas, mask=mask)
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)


def test_the_model_is_as_before_after_a_run_and_after_an_exception(port, demo, motion, scene):
    latents, mask = held()
    plain = draw(port, scene, demo[0], latents, mask)
    model = scene.moving(demo[0], adapted(motion))
    told = draw(port, scene, model, latents, mask)
    assert torch.equal(draw(port, scene, demo[0], latents, mask), plain)

    class Stop(Exception):
        pass

    class Bar:
        def update(self, done, preview=None):
            raise Stop

    with pytest.raises(Stop):
        draw(port, scene, model, latents, mask, progress=Bar())
    assert torch.equal(draw(port, scene, demo[0], latents, mask), plain)
    assert torch.equal(draw(port, scene, model, latents, mask), told)


def test_training_is_told_what_is_given_of_each_video(port, demo, motion, scene):
    """And its gradient goes back to that, through the module: from a frame that is not given to the one that is."""
    forward = port.train_forward(port.install(demo[0], motion_edit("test", adapted(motion))), 3)
    with torch.inference_mode(False):
        generator = torch.Generator().manual_seed(2)
        noisy, tokens, latents = (
            torch.randn(6, *size, generator=generator).to(port.compute_device())
            for size in ((4, 16, 16), (77, 64), (4, 16, 16))
        )
        latents.requires_grad_(True)
        mask = torch.tensor([1.0, 0, 0, 0, 0, 1]).to(latents)[:, None, None, None].expand(6, 1, 16, 16)

        def predict(rows, given):
            return forward(
                noisy[rows], torch.full_like(noisy[rows, 0, 0, 0], 300).long(), tokens[rows], given=given
            )

        out = predict(slice(None), (latents, mask))
        (gradient,) = torch.autograd.grad(out[1].sum(), latents)
        for rows in (slice(3), slice(3, 6)):
            alone = predict(rows, (latents[rows], mask[rows]))
            torch.testing.assert_close(out[rows], alone, rtol=1e-4, atol=1e-4)
        nothing = predict(slice(None), None)
        assert torch.equal(predict(slice(None), (latents, torch.zeros_like(mask))), nothing)
        assert apart(out.detach(), nothing.detach()) > 0.01
    assert (gradient.abs().amax((1, 2, 3)) > 0).tolist() == [True, False, False, False, False, False]


def test_an_encoder_that_learns_has_the_gradient_of_what_it_changes(port, demo):
    """From zero on, against a difference quotient along the gradient."""
    with torch.inference_mode(False):
        plain = tiny_module(middle=False)
        weights = MotionWeights("tiny", "frameloom", plain.size, plain.state_dict(), None).with_mask_encoder()
        network = MotionModel(weights.size)
        network.load_state_dict(weights.state)
        encoder = network.requires_grad_(False).get_parameter(MASK_KEY).requires_grad_()
        forward = port.train_forward(demo[0], 3, Learner(network, weights))
        generator = torch.Generator().manual_seed(2)
        noisy, latents, target = torch.randn(3, 3, 4, 8, 8, generator=generator)
        tokens = torch.randn(3, 77, 64, generator=generator)
        mask = torch.tensor([1.0, 0, 0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)

        def loss():
            out = forward(noisy, torch.full((3,), 300), tokens, given=(latents, mask))
            return (out - target)[1:].square().mean()

        (gradient,) = torch.autograd.grad(loss(), encoder)
        step = 1e-3 * gradient / gradient.norm()
        sides = []
        with torch.no_grad():
            for way in (step, -2 * step):
                encoder += way
                sides.append(float(loss()))
    assert gradient.norm() > 1e-4
    torch.testing.assert_close((sides[0] - sides[1]) / 2e-3, float(gradient.norm()), rtol=2e-2, atol=0)
