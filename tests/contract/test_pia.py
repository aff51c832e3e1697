"""What every host promises of PIA: a picture acts as 5 further channels of the first convolution, beside all else."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.files.keys import hash_settings, plain
from frameloom.models.motion.edit import AtOnce, motion_edit
from frameloom.models.motion.lora import PiaLoRA
from frameloom.models.motion.pia import AS_WRITTEN, PICTURE_KEY
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.contract.test_chunks import first_convolution
from frameloom.tests.contract.test_mask_adapter import adapted
from frameloom.tests.contract.test_training import training_case
from frameloom.tests.support.scene import FRAMES, SIDE
from frameloom.tests.support.tensors import apart, draw
from frameloom.training.motion.lessons import learn_module

LIST = [1.0, 0.75, 0.5, 0.25]
PLAIN = {"frames": "0", "affinity": AS_WRITTEN, "affinities": "1, 0.75, 0.5, 0.25"}


@pytest.fixture(scope="module")
def pia(port, motion):
    """The demo's module as PIA: a picture encoder of random weights, and norms over the clip."""
    weights, size = motion.weights, replace(motion.weights.size, picture_encoder=True)
    state = {**weights.state, PICTURE_KEY: 0.3 * draw(32, 5, 3, 3, seed=3)}
    told = {"name": "pia.ckpt", "family": "pia", "size": size, "state": state, "clip_norm": True}
    return port.load_motion(replace(weights, **told))


def images(count=1, height=8 * SIDE, width=8 * SIDE):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def told(demo, pia):
    """Return a PIA module with a picture."""

    def go(module=None, given=None, vae=None, latent=None, **settings):
        from frameloom.nodes.motion.pia import PIAPicture

        latent = {"samples": torch.zeros(FRAMES, 4, SIDE, SIDE)} if latent is None else latent
        given = images() if given is None else given
        return PIAPicture.execute(module or pia, vae or demo[2], latent, given, **PLAIN | settings).args[0]

    return go


@contextmanager
def widened(port, demo, weight, given=0, strength=1.0):
    """Let the host's first convolution have 5 channels more: affinity, then the latents of the nearest picture."""
    first = first_convolution(demo[0])
    latents = port.encode(demo[2], images())["samples"] / port.noise_unit(demo[0])
    mask = torch.tensor([LIST[abs(frame - given)] for frame in range(FRAMES)]).view(-1, 1, 1, 1)
    word = torch.cat([mask.expand(-1, 1, SIDE, SIDE), latents.expand(FRAMES, -1, -1, -1)], 1)

    def convolve(_module, inputs, output):
        noisy = inputs[0].float()
        wide = torch.cat([noisy, (strength * word).to(noisy).repeat(len(noisy) // FRAMES, 1, 1, 1)], 1)
        weights = torch.cat([first.weight.float(), weight.to(noisy)], 1)
        bias = None if first.bias is None else first.bias.float()
        return torch.nn.functional.conv2d(wide, weights, bias, padding=1).to(output)

    hook = first.register_forward_hook(convolve)
    try:
        yield
    finally:
        hook.remove()


def near(one, other, share=1e-3):
    assert one.shape == other.shape
    assert apart(one, other) <= share


@pytest.mark.parametrize("given", [0, -2])
def test_the_picture_acts_as_further_channels_of_the_first_convolution(port, demo, pia, scene, told, given):
    """Of several prompts, asked at once or not, on both sides of guidance."""
    both = [*scene.positive, *port.encode_text(demo[1], "a blue cross")[0]]
    model, bare = scene.moving(demo[0], told(frames=str(given))), scene.moving(demo[0], pia)
    with widened(port, demo, pia.weights.state[PICTURE_KEY], given % FRAMES):
        wanted = scene.run(bare, positive=both)
    got = scene.run(model, positive=both)
    near(got, wanted)
    assert apart(got, scene.run(bare, positive=both)) > 0.01
    assert torch.equal(scene.run(model, positive=both), got)


def test_the_modules_strength_and_range_are_the_pictures(port, demo, pia, scene, told):
    model, bare = (scene.moving(demo[0], module, 0.6) for module in (told(), pia))
    with widened(port, demo, pia.weights.state[PICTURE_KEY], strength=0.6):
        wanted = scene.run(bare)
    near(scene.run(model), wanted)
    idle = scene.moving(demo[0], told(), strength=0.0)
    assert torch.equal(scene.run(idle), scene.drawn(demo[0]))


def test_the_clip_is_the_same_in_chunks(port, demo, scene, told):
    model = scene.moving(demo[0], told(frames="1"))
    near(scene.run(port.install(model, Edit("chunks", chunks=AtOnce(2)))), scene.run(model), 1e-4)


def test_windows_keep_frames_distances(demo, pia, scene, told):
    """Windows without overlap are clips by themselves, given the affinities of their own frames."""
    noise = scene.noise(8)
    latent = {"samples": torch.zeros(8, 4, SIDE, SIDE)}
    model = scene.moving(demo[0], told(latent=latent, affinities="1, .9, .8, .7, .6, .5, .4, .3"))
    got = scene.run(scene.windowed(model, WindowPlan(4, 0)), noise=noise)
    lists = ("1, .9, .8, .7", "0.6, .5, .4, .3")
    parts = [
        scene.run(scene.moving(demo[0], told(affinities=text)), noise=start)
        for text, start in zip(lists, noise.split(4), strict=True)
    ]
    near(got, torch.cat(parts))


def test_it_acts_beside_a_mask_adapter_a_lora_and_a_strength_that_changes(port, demo, pia, scene, told):
    from frameloom.nodes.motion.strength import MotionStrength

    schedule = {
        "frames": FRAMES,
        "strength": "0: 1, -1: 0.5",
        "between": "linear",
        "by_step": "1",
        "scale": 1.0,
    }
    latents = draw(FRAMES, 4, SIDE, SIDE, seed=9)
    mask = torch.ones(FRAMES, 1, SIDE, SIDE)
    mask[0] = 0

    def drawn(module):
        return scene.run(scene.moving(demo[0], module), latent=latents, mask=mask)

    bare = MotionStrength.execute(adapted(pia), **schedule).args[0]
    falling = torch.linspace(1, 0.5, FRAMES).view(-1, 1, 1, 1)
    with widened(port, demo, pia.weights.state[PICTURE_KEY], strength=falling):
        wanted = drawn(bare)
    orders = (
        MotionStrength.execute(told(adapted(pia)), **schedule).args[0],
        told(MotionStrength.execute(adapted(pia), **schedule).args[0]),
        adapted(told(MotionStrength.execute(pia, **schedule).args[0])),
    )
    for module in orders:
        near(drawn(module), wanted)
    assert apart(wanted, drawn(bare)) > 0.01
    assert apart(wanted, drawn(told(adapted(pia)))) > 0.001


def test_a_module_of_two_pictures_has_the_last_and_the_first_module_none(demo, pia, scene, told):
    first = told()
    second = told(first, given=images().flip(1))
    near(
        scene.run(scene.moving(demo[0], second)),
        scene.run(scene.moving(demo[0], told(given=images().flip(1)))),
        0,
    )
    assert pia.picture is None
    assert first.picture is not second.picture


def test_a_module_without_its_picture_says_so(core, demo, pia, scene, told, caplog):
    latent = {"samples": torch.zeros_like(scene.noise())}
    for module, count in ((pia, 1), (told(), 0)):
        caplog.clear()
        model = scene.moving(demo[0], module)
        core.ksampler(model, 3, 2, 2.0, "euler", "normal", scene.positive, scene.negative, latent, 1.0)
        said = [
            each
            for each in caplog.messages
            if each.startswith("pia.ckpt is made to animate a picture; got none")
        ]
        assert len(said) == count


def test_keys_of_finished_work_tell_pictures_apart(port, demo, told):
    modules = [told(), told(), told(frames="1"), told(affinities="1"), told(given=images().flip(1))]
    keys = [hash_settings(edits=plain([motion_edit("test", module)])) for module in modules]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


def test_a_picture_of_another_size_is_scaled_and_a_clip_of_another_refused(demo, scene, told):
    large = images().repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert apart(told(given=large).picture.latents, told().picture.latents) < 0.1
    model = scene.moving(demo[0], told(latent={"samples": torch.zeros(FRAMES, 4, SIDE, 2 * SIDE)}))
    with pytest.raises(ValueError, match="got pictures for latents of 8 x 16 cells and a clip of 8 x 8"):
        scene.run(model)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"frames": "4"}, "frames: got frame 4 of a clip of 4; expected -4 to 3"),
        ({"frames": "-5"}, "frames: got frame -5"),
        ({"frames": ""}, "frames: got 0 numbers for 1 pictures"),
        ({"affinities": ""}, "affinities: got no number"),
        ({"affinities": "1, nan"}, "affinities: got 'nan'"),
        ({"affinities": "1, 2"}, "affinities: got 2; expected 0 to 1"),
        ({"given": torch.full((1, 64, 64, 3), torch.nan)}, "images: got NaN or infinity in 1 of 1 frames"),
        ({"latent": {"samples": torch.zeros(FRAMES, 16, SIDE, SIDE)}}, "latent: got 16 channels; expected 4"),
    ],
)
def test_what_is_no_picture_of_a_clip_is_refused(told, settings, said):
    with pytest.raises(Exception, match=said):
        told(**settings)


def test_an_adapter_makes_a_pia_module_of_the_demos(demo, motion, pia, scene, told):
    """But for the norms, which are over the clip in PIA's own files."""
    encoder = pia.weights.state[PICTURE_KEY]
    adapter = motion.with_lora(PiaLoRA("adapter", {}, picture_encoder=0.5 * encoder), 2.0)
    made = scene.port.load_motion(replace(pia.weights, clip_norm=False))
    drawn = [scene.run(scene.moving(demo[0], told(module))) for module in (made, adapter)]
    near(*drawn)
    assert apart(drawn[0], scene.run(scene.moving(demo[0], motion))) > 0.01


def test_a_module_in_training_is_given_its_picture_as_in_sampling(port, demo, pia, told):
    module, (noisy, *rest) = told(), training_case(port)
    latents, affinity = module.picture.latents, module.picture.mask(range(FRAMES))
    lesson = learn_module(pia.weights, "taught", port.compute_device())
    with torch.inference_mode(False):
        given = latents.clone().expand(FRAMES, -1, -1, -1), affinity.clone().expand(-1, 1, SIDE, SIDE)
        taught, bare = (
            port.train_forward(demo[0], FRAMES, lesson.learner)(noisy, *rest, each) for each in (given, None)
        )
        model = port.install(demo[0], motion_edit("told", module))
        loaded = port.train_forward(model, FRAMES)(noisy, *rest)
    near(taught.detach(), loaded.detach())
    assert apart(bare.detach(), loaded.detach()) > 0.01


def test_a_module_that_is_no_pia_is_refused(motion, told):
    with pytest.raises(
        ValueError, match=r"motion: got .*safetensors, which has no picture encoder; expected a PIA"
    ):
        told(motion)
