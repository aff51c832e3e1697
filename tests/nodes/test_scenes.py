"""Scenes of a storyboard: one of them, all as lists, their start, and their pictures as one video."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene, Storyboard

BALL = Entity(id="ball", text="a red circle", track=[BoxKey(f=0, box=(0.1, 0.1, 0.4, 0.4))], hold=True)
BOARD = Storyboard(
    size=(128, 64),
    scenes=[
        Scene(id=1, prompt="one", background="navy", frames=3, entities=[BALL]),
        Scene(id=5, prompt="two", background="gray", frames=4, entities=[BALL]),
    ],
    groups={"ball": (1, 5)},
)


def test_one_scene_is_chosen_by_its_number(run):
    chosen, prompt, background, frames = run("SelectScene", storyboard=BOARD, scene=5)
    assert [scene.id for scene in chosen.scenes] == [5]
    assert (prompt, background, frames) == ("two", "gray", 4)
    assert chosen.groups == {"ball": (5,)}


def test_a_scene_that_is_not_there_is_refused_with_those_that_are(run):
    with pytest.raises(ValueError, match=r"scene=2 is not in the storyboard; expected one of \[1, 5\]"):
        run("SelectScene", storyboard=BOARD, scene=2)


def test_lists_have_an_item_a_scene_and_seeds_stay_when_other_scenes_go(run):
    boards, prompts, frames, seeds, backgrounds = run("SceneList", storyboard=BOARD, seed=10)
    assert [board.only_scene().id for board in boards] == [1, 5]
    assert (prompts, frames, backgrounds) == (["one", "two"], [3, 4], ["navy", "gray"])
    assert seeds == [11, 15]
    assert run("SceneList", storyboard=BOARD.select_scene(5), seed=10)[3] == [15]
    assert run("SceneList", storyboard=BOARD, seed=(1 << 64) - 1)[3] == [0, 4]


def test_scenes_are_joined_without_what_is_skipped_and_fade_by_the_frames_that_are_left(run):
    images = [torch.rand(3, 4, 4, 3), torch.rand(3, 4, 4, 3)]
    first, second = images
    (video,) = run("JoinScenes", images=images, cross_fade=[0], skip=[1])
    assert torch.equal(video, torch.cat([first[1:], second[1:]]))
    (video,) = run("JoinScenes", images=images, cross_fade=[1], skip=[1])
    torch.testing.assert_close(video, torch.stack([first[1], (first[2] + second[1]) / 2, second[2]]))


def test_a_start_without_an_anchor_is_the_scene_as_it_is(run):
    board = BOARD.select_scene(5)
    same, latent, noise = run("SceneStart", storyboard=board, noise_seed=3)
    assert same is board
    assert latent["samples"].shape == (4, 4, 8, 16)
    assert "noise_mask" not in latent
    assert noise.generate_noise(latent).shape == (4, 4, 8, 16)


def test_an_anchors_first_frame_stands_before_the_frames_in_its_own_size(run):
    anchor = {"samples": torch.rand(2, 4, 16, 16)}
    longer, latent, noise = run("SceneStart", storyboard=BOARD.select_scene(1), noise_seed=3, anchor=anchor)
    assert longer.only_scene().frames == 4
    assert torch.equal(latent["samples"][0], anchor["samples"][0])
    assert noise.generate_noise(latent).shape == (4, 4, 16, 16)


def test_several_scenes_and_anchors_that_are_video_are_refused(run):
    with pytest.raises(ValueError, match="Select Scene or Scene List"):
        run("SceneStart", storyboard=BOARD)
    with pytest.raises(
        ValueError, match=r"anchor: got one of a video model, .* \[frames, channels, height, width\]"
    ):
        run("SceneStart", storyboard=BOARD.select_scene(1), anchor={"samples": torch.zeros(1, 4, 2, 8, 8)})


def test_an_anchor_is_kept_and_its_look_is_taken(run, host, demo):
    """Prompts leave the background open: frames by themselves take any of four, behind the anchor all take its one."""
    from frameloom.tools.detector import measure

    model, clip, vae = demo
    (crossed,) = run("CrossFrameAttnPatch", model=model)
    scene = Scene(id=1, prompt="a small red circle", frames=6, entities=[BALL])
    board = Storyboard(size=(128, 128), scenes=[scene])
    negative = host.encode_text(clip, "")[0]

    def backgrounds(model, anchor=None):
        start, latent, noise = run("SceneStart", storyboard=board, mode="independent", anchor=anchor)
        edited, positive = run("LayoutConditioning", model=model, clip=clip, storyboard=start, prompt="")
        drawn = host.sample(
            edited,
            positive,
            negative,
            latent,
            noise=noise.generate_noise(latent),
            sigmas=host.sigmas(edited, 8, "normal"),
            sampler="ddim",
            cfg=3.0,
            mask=latent.get("noise_mask"),
        )
        return drawn["samples"], measure(host.decode(vae, drawn).movedim(-1, 1) * 2 - 1).background

    alone, found = backgrounds(model)
    assert len(found.unique()) > 1
    anchor = {"samples": alone[found == found[-1]][:1]}
    samples, found = backgrounds(crossed, anchor)
    torch.testing.assert_close(samples[:1], anchor["samples"], rtol=0, atol=1e-5)
    assert found.unique().numel() == 1
