"""What every host promises of RAVE: a grid of frames is a picture like any other, with all that its frames have."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.video.grid import Tiles
from frameloom.models.video.windows import WindowPlan
from frameloom.models.zero_shot.rave import Rave, rave_edit
from frameloom.tests.support.scene import SIDE
from frameloom.tests.support.tensors import apart


def ravel(port, model, side=2, seed=0):
    return port.install(model, rave_edit(side, seed))


def by_hand(port, model, rave, noisy, positive, sigma=5.0):
    """One step: each grid asked as a picture by the host alone, and the mean where a frame is in two."""
    frames = len(noisy)
    total, count = torch.zeros_like(noisy), torch.zeros(frames, 1, 1, 1)
    for window in rave.windows(frames, 0):
        tiles = Tiles(rave.side, window)
        answer = port.predict(model, positive(tiles), {"samples": tiles.tile(noisy[list(window)])}, sigma)
        total[list(window)] += tiles.untile(answer)
        count[list(window)] += 1
    return total / count


@pytest.mark.parametrize(("frames", "side"), [(4, 2), (9, 3), (7, 2), (3, 2), (2, 3), (1, 2)])
def test_a_grid_is_as_a_picture_made_by_hand(port, scene, demo, frames, side):
    noisy = 20 * scene.noise(frames)
    expected = by_hand(port, demo[0], Rave(side, 7), noisy, lambda _: scene.positive)
    got = scene.predict(ravel(port, demo[0], side, 7), frames=frames)
    assert apart(got, expected) <= 1e-4
    if frames > 1:
        assert apart(scene.predict(demo[0], frames=frames), expected) > 1e-3


@pytest.mark.parametrize("frames", [1, 5])
def test_a_grid_of_one_changes_no_bit(port, scene, demo, frames):
    assert torch.equal(scene.run(ravel(port, demo[0], 1), frames=frames), scene.drawn(demo[0], frames))


def test_only_the_seed_shuffles(port, scene, demo):
    """The seed is that of the shuffles; of one that changes nothing, the clip's own noise is the same."""
    runs = [scene.run(ravel(port, demo[0], seed=seed), frames=8) for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert apart(runs[0], runs[2]) > 1e-3


def test_masks_lie_as_their_frames_do(port, scene, demo):
    """Beside a condition without a mask; fewer masks than frames begin again."""
    frames, rave = 8, Rave(2, 3)
    masks = torch.rand(4, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).round()
    (tokens, options), (other, _) = scene.positive[0], scene.negative[0]

    def masked(mask):
        more = {"mask": mask, "set_area_to_bounds": False, "mask_strength": 1.0}
        return [[other, {**options, **more}], [tokens, options]]

    noisy = 20 * scene.noise(frames)
    expected = by_hand(
        port, demo[0], rave, noisy,
        lambda tiles: masked(tiles.tile(masks[[frame % 4 for frame in tiles.frame_ids]])),
    )  # fmt: skip
    got = scene.predict(ravel(port, demo[0], 2, 3), masked(masks), frames=frames)
    assert apart(got, expected) <= 1e-4
    assert apart(scene.predict(ravel(port, demo[0], 2, 3), frames=frames), expected) > 1e-3


@pytest.fixture(scope="module")
def net(core, tmp_path_factory):
    return core.random_control(tmp_path_factory.mktemp("control"))


@pytest.mark.parametrize("size", [64, 96])
def test_hints_of_controlnets_lie_as_their_frames_do(port, core, scene, demo, net, size):
    """Two nets in a row; hints that fit their frames, or are fitted to them first."""
    frames, rave = 8, Rave(2, 3)
    hints = torch.rand(frames, size, 64, 3, generator=torch.Generator().manual_seed(1))
    fitted = hints if size == 64 else hints[:, 16:-16]

    def controlled(pictures):
        pair = scene.positive, scene.negative
        for power in (0.7, 0.5):
            pair = core.apply_control(*pair, net, pictures, power, 0.0, 1.0)
        return pair[0]

    def laid(tiles):
        picked = fitted[list(tiles.frame_ids)].movedim(-1, 1)
        return controlled(tiles.tile(picked).movedim(1, -1))

    noisy = 20 * scene.noise(frames)
    expected = by_hand(port, demo[0], rave, noisy, laid)
    got = scene.predict(ravel(port, demo[0], 2, 3), controlled(hints), frames=frames)
    assert apart(got, expected) <= 1e-4
    assert apart(scene.predict(ravel(port, demo[0], 2, 3), frames=frames), expected) > 1e-2


def test_a_controls_strength_follows_its_frame(port, core, scene, demo, net):
    """Grids whose frames are all of one strength are as pictures with a ControlNet of that strength."""
    from frameloom.nodes.video.control_schedule import ControlSchedule

    frames, rave, strengths = 8, Rave(2, 3), (1.0, 0.4)
    hints = torch.rand(frames, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    first, _ = rave.windows(frames, 0)

    def controlled(pictures, power):
        return core.apply_control(scene.positive, scene.negative, net, pictures, power, 0.0, 1.0)

    def laid(tiles):
        pictures = tiles.tile(hints[list(tiles.frame_ids)].movedim(-1, 1)).movedim(1, -1)
        return controlled(pictures, strengths[tiles.frame_ids != first])[0]

    by_frame = ", ".join(str(strengths[frame not in first]) for frame in range(frames))
    plain = {"frames": frames, "between": "hold", "by_step": "1", "soft": 1.0, "negative_strength": 1.0}
    side, *_ = ControlSchedule.execute(*controlled(hints, 1.0), strength=by_frame, which="last", **plain).args
    expected = by_hand(port, demo[0], rave, 20 * scene.noise(frames), laid)
    got = scene.predict(ravel(port, demo[0], 2, 3), side, frames=frames)
    assert apart(got, expected) <= 1e-3


def test_a_run_holds_a_mask_of_the_latents(port, core, scene, demo):
    latent = torch.rand(4, 4, SIDE, SIDE)
    mask = torch.zeros(4, 8 * SIDE, 8 * SIDE)
    mask[:2] = 1
    given = scene.positive, scene.negative, {"samples": latent, "noise_mask": mask}, 1.0
    got = core.ksampler(ravel(port, demo[0]), 0, 3, 3.0, "euler", "normal", *given)[0]["samples"]
    assert apart(got[2:], latent[2:]) <= 1e-4
    assert apart(got[:2], latent[:2]) > 0.1


@pytest.mark.parametrize("frames", [16, 64])
def test_the_model_sees_one_grid_at_a_time_however_long_the_clip_is(port, scene, demo, frames):
    seen = []

    class Look:
        def join(self, hidden, skip, call, factor):
            seen.append((call.frames, call.size))
            return hidden, skip

    model = port.install(ravel(port, demo[0]), Edit("look", skips=Look()))
    scene.predict(model, frames=frames)
    assert {*seen} == {(1, (2 * SIDE, 2 * SIDE))}


def test_what_acts_on_frames_is_refused_by_name(port, scene, demo, motion):
    rave = ravel(port, demo[0])
    for wrong, name in (
        (scene.moving(rave, motion), "test"),
        (scene.windowed(rave, WindowPlan(2, 1)), "windows"),
        (ravel(port, rave), "RAVE"),
        (scene.crossing(rave), "test"),
    ):
        with pytest.raises(
            ValueError, match=rf"got {name} beside RAVE; expected no other .*; take {name} out"
        ):
            scene.run(wrong)


def test_a_prompt_for_each_frame_is_refused(port, scene, demo):
    tokens, options = scene.positive[0]
    with pytest.raises(ValueError, match=r"got 4 prompts for the frames of one picture; expected one"):
        scene.predict(ravel(port, demo[0]), [[tokens.repeat(4, 1, 1), options]])
