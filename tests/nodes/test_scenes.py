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


def test_one_scene_is_chosen_by_its_number(nodes):
    chosen, prompt, background, frames = nodes["SelectScene"].execute(BOARD, 5).args
    assert [scene.id for scene in chosen.scenes] == [5]
    assert (prompt, background, frames) == ("two", "gray", 4)
    assert chosen.groups == {"ball": (5,)}


def test_a_scene_that_is_not_there_is_refused_with_those_that_are(nodes):
    with pytest.raises(ValueError, match=r"scene=2 is not in the storyboard; expected one of \[1, 5\]"):
        nodes["SelectScene"].execute(BOARD, 2)


def test_lists_have_an_item_a_scene_and_seeds_stay_when_other_scenes_go(nodes):
    boards, prompts, frames, seeds, backgrounds = nodes["SceneList"].execute(BOARD, 10).args
    assert [board.only_scene().id for board in boards] == [1, 5]
    assert (prompts, frames, backgrounds) == (["one", "two"], [3, 4], ["navy", "gray"])
    assert seeds == [11, 15]
    assert nodes["SceneList"].execute(BOARD.select_scene(5), 10).args[3] == [15]
    assert nodes["SceneList"].execute(BOARD, (1 << 64) - 1).args[3] == [0, 4]


def test_joined_scenes_leave_out_what_is_skipped(nodes):
    first, second = torch.rand(3, 4, 4, 3), torch.rand(2, 4, 4, 3)
    (video,) = nodes["JoinScenes"].execute([first, second], [0], [1]).args
    assert torch.equal(video, torch.cat([first[1:], second[1:]]))
    with pytest.raises(ValueError, match="scene 2 of 2 has no frames; expected one at least; lower skip"):
        nodes["JoinScenes"].execute([first, second], [0], [2])


def test_joined_scenes_fade_by_the_frames_that_are_left(nodes):
    first, second = torch.rand(3, 4, 4, 3), torch.rand(3, 4, 4, 3)
    (video,) = nodes["JoinScenes"].execute([first, second], [1], [1]).args
    torch.testing.assert_close(video, torch.stack([first[1], (first[2] + second[1]) / 2, second[2]]))
    with pytest.raises(ValueError, match="cross_fade=2: scene 1 of 2 has 1 frames; expected at least 2"):
        nodes["JoinScenes"].execute([first, second], [2], [2])


def test_a_start_without_an_anchor_is_the_scene_as_it_is(nodes):
    board = BOARD.select_scene(5)
    same, latent, noise = nodes["SceneStart"].execute(board, 3, "independent", 1.0).args
    assert same is board
    assert latent["samples"].shape == (4, 4, 8, 16)
    assert "noise_mask" not in latent
    assert noise.generate_noise(latent).shape == (4, 4, 8, 16)


def test_an_anchors_first_frame_stands_before_the_frames_in_its_own_size(nodes):
    anchor = {"samples": torch.rand(2, 4, 16, 16)}
    longer, latent, noise = nodes["SceneStart"].execute(BOARD.select_scene(1), 3, "shared", 0.5, anchor).args
    assert longer.only_scene().frames == 4
    assert torch.equal(latent["samples"][0], anchor["samples"][0])
    assert noise.generate_noise(latent).shape == (4, 4, 16, 16)


def test_several_scenes_cannot_start_at_once(nodes):
    with pytest.raises(ValueError, match="Select Scene or Scene List"):
        nodes["SceneStart"].execute(BOARD, 3, "shared", 0.5)


def test_video_latents_are_no_anchor(nodes):
    with pytest.raises(
        ValueError, match=r"anchor: got one of a video model, .* \[frames, channels, height, width\]"
    ):
        nodes["SceneStart"].execute(
            BOARD.select_scene(1), 3, "shared", 0.5, {"samples": torch.zeros(1, 4, 2, 8, 8)}
        )


def test_an_anchor_is_kept_and_its_look_is_taken(nodes, host):
    """Prompts leave the background open: frames by themselves take any of four, behind the anchor all take its one."""
    from frameloom.tools.detector import measure

    model, clip, vae = nodes["DemoModelLoader"].execute().args
    crossed = nodes["CrossFrameAttnPatch"].execute(model, "first", 0, 1.0, 0.0, 1.0, "0, 1, 2, 3", True)[0]
    scene = Scene(id=1, prompt="a small red circle", frames=6, entities=[BALL])
    board = Storyboard(size=(128, 128), scenes=[scene])
    negative = host.encode_text(clip, "")[0]

    def backgrounds(model, anchor=None):
        start, latent, noise = nodes["SceneStart"].execute(board, 0, "independent", 1.0, anchor).args
        edited, positive = (
            nodes["LayoutConditioning"].execute(model, clip, start, "", "bias + gather", 8.0, 0.333, 1.0).args
        )
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
