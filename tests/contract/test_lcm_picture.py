"""What every host promises of AnimateLCM-I2V: its encoder's maps come before the second slots of the way down."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.motion.edit import AtOnce
from frameloom.models.motion.image_encoder import PREFIX, ImageEncoder
from frameloom.models.motion.lcm_picture import PLACES
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.scene import FRAMES, SIDE
from frameloom.tests.support.tensors import apart, draw


@pytest.fixture(scope="module")
def encoder(motion):
    torch.manual_seed(0)
    return ImageEncoder(motion.weights.size.way_down).requires_grad_(False)


@pytest.fixture(scope="module")
def i2v(port, motion, encoder):
    """The demo's module as AnimateLCM-I2V, with an encoder of random weights."""
    weights = motion.weights
    state = {**weights.state, **{PREFIX + key: 2 * value for key, value in encoder.state_dict().items()}}
    size = replace(weights.size, image_encoder=True)
    return port.load_motion(
        replace(weights, name="i2v.ckpt", family="animatelcm_i2v", size=size, state=state)
    )


def images(count=1):
    return torch.rand(count, 8 * SIDE, 8 * SIDE, 3, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def told(demo, i2v):
    def go(module=None, given=None, drift=0.8, frames=FRAMES):
        from frameloom.nodes.motion.lcm_picture import AnimateLCMPicture

        latent = {"samples": torch.zeros(frames, 4, SIDE, SIDE)}
        return AnimateLCMPicture.execute(
            module or i2v, demo[2], latent, images() if given is None else given, drift
        ).args[0]

    return go


@dataclass(frozen=True, eq=False)
class Added:
    """Adds the encoder's maps by itself, where the model has no picture."""

    maps: list
    slots: tuple[str, ...] = tuple(PLACES)
    over_clip = False

    def run(self, slot, hidden, call, time, merges):
        maps = self.maps[PLACES[slot]].to(hidden)
        return hidden + maps.repeat(len(hidden) // call.frames, 1, 1, 1)


@pytest.fixture
def by_hand(port, demo, i2v, encoder):
    """Return a model with the maps of pictures before the module."""

    def go(given, drift=0.8):
        latents = port.encode(demo[2], given)["samples"] / port.noise_unit(demo[0])
        doubled = ImageEncoder(i2v.weights.size.way_down).requires_grad_(False)
        doubled.load_state_dict({key: 2 * value for key, value in encoder.state_dict().items()})
        maps = doubled(latents.float().cpu().expand(FRAMES, -1, -1, -1), drift)
        return port.install(demo[0], Edit("maps", slots=Added(maps)))

    return go


def near(one, other, share=1e-3):
    assert one.shape == other.shape
    assert apart(one, other) <= share


@pytest.mark.parametrize(("count", "drift"), [(1, 0.8), (1, 0.0), (FRAMES, 0.8)])
def test_maps_are_added_before_the_module_on_both_sides(port, demo, i2v, scene, told, by_hand, count, drift):
    both = [*scene.positive, *port.encode_text(demo[1], "a blue cross")[0]]
    got = scene.run(scene.moving(demo[0], told(given=images(count), drift=drift)), positive=both)
    near(got, scene.run(scene.moving(by_hand(images(count), drift), i2v), positive=both))
    assert apart(got, scene.run(scene.moving(demo[0], i2v), positive=both)) > 0.01


def test_the_modules_strength_is_the_maps(demo, scene, told):
    whole, half, none = (scene.run(scene.moving(demo[0], told(), strength)) for strength in (1.0, 0.5, 0.0))
    assert torch.equal(none, scene.drawn(demo[0]))
    assert 0 < apart(half, none) < apart(whole, none)


def test_the_clip_is_the_same_in_chunks(port, demo, scene, told):
    model = scene.moving(demo[0], told())
    near(scene.run(port.install(model, Edit("chunks", chunks=AtOnce(2)))), scene.run(model), 1e-4)


@pytest.mark.parametrize("count", [1, 8])
def test_a_window_is_a_clip_with_its_own_frames_pictures(demo, scene, told, count):
    noise, given = scene.noise(8), images(count)
    model = scene.moving(demo[0], told(given=given, frames=8))
    got = scene.run(scene.windowed(model, WindowPlan(4, 0)), noise=noise)
    pictures = given.split(4) if count > 1 else (given, given)
    parts = [
        scene.run(scene.moving(demo[0], told(given=each)), noise=start)
        for each, start in zip(pictures, noise.split(4), strict=True)
    ]
    near(got, torch.cat(parts))


def test_a_frame_of_strength_0_is_the_models_alone(demo, scene, told):
    from frameloom.nodes.motion.strength import MotionStrength

    schedule = {"frames": FRAMES, "strength": "1: 1", "between": "these alone", "by_step": "1", "scale": 1.0}
    drawn = scene.run(scene.moving(demo[0], MotionStrength.execute(told(), **schedule).args[0]))
    alone = scene.drawn(demo[0])
    near(drawn[[0, 2, 3]], alone[[0, 2, 3]])
    assert apart(drawn[1], alone[1]) > 0.01


def test_a_module_without_its_picture_says_so(core, demo, i2v, scene, told, caplog):
    latent = {"samples": torch.zeros_like(scene.noise())}
    for module, count in ((i2v, 1), (told(), 0)):
        caplog.clear()
        model = scene.moving(demo[0], module)
        core.ksampler(model, 3, 2, 1.0, "lcm", "sgm_uniform", scene.positive, scene.negative, latent, 1.0)
        said = [
            each
            for each in caplog.messages
            if each.startswith("i2v.ckpt is made to animate a picture; got none")
        ]
        assert len(said) == count
        assert all("put AnimateLCM Picture between" in each for each in said)


def test_what_does_not_fit_is_refused(motion, demo, scene, told):
    with pytest.raises(
        ValueError, match=r"motion: got .*, which has no image encoder; expected AnimateLCM's"
    ):
        told(motion)
    with pytest.raises(ValueError, match="images: got 3 pictures for a clip of 4 frames"):
        told(given=images(3))
    with pytest.raises(Exception, match="images: got NaN or infinity in 1 of 1 frames"):
        told(given=torch.full((1, 64, 64, 3), torch.nan))
    wide = draw(FRAMES, 4, SIDE, 2 * SIDE)
    with pytest.raises(ValueError, match="AnimateLCM Picture: got pictures for latents of 8 x 8 cells"):
        scene.run(scene.moving(demo[0], told()), noise=wide)
