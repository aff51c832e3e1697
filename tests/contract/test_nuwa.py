"""What every host promises of NUWA-XL's nodes.

They run on the demo model: three frames a job, two levels, five frames in all.
"""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.call import PAYLOAD
from frameloom.models.edits.edit import Edit
from frameloom.models.long_video.free_noise import NoiseShuffle
from frameloom.models.long_video.nuwa_jobs import Recursion
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.tests.contract.test_mask_adapter import adapted, encoded_by_hand

SIZE = 8  # latent pixels
BETWEEN = [1, 3]  # frames that are no keyframes
SAMPLING = {"seed": 5, "steps": 3, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal"}
FILLING = {
    "start": "turned noise", "correlation": 0.7, "resample_rounds": 1, "resample_share": 0.4, "denoise": 0.75,
}  # fmt: skip
PROMPTS = "a red circle\na blue cross\na green triangle"


def run_node(name, **inputs):
    """Return the first output of a node, which is imported when a host is there."""
    from frameloom.nodes import node_classes

    (node,) = (each for each in node_classes() if each.__name__ == name)
    return node.execute(**inputs)[0]


def plan(prompts=PROMPTS, **settings):
    sizes = {"length": 3, "depth": 2, "interpolation": "linear"}
    sizes |= {"width": 8 * SIZE, "height": 8 * SIZE, "seconds_per_job": 0.0}
    return run_node("NuwaPlan", prompts=prompts, **(sizes | settings))


def draw_keyframes(demo, scene, tree, **settings):
    latent = {"samples": torch.zeros(1, 4, SIZE, SIZE)}
    defaults = {"latent": latent, "shared_noise": 0.4, "shared_attention": 1.0}
    return run_node(
        "NuwaKeyframes", model=demo[0], clip=demo[1], tree=tree, negative=scene.negative,
        **(SAMPLING | defaults | settings),
    )["samples"]  # fmt: skip


def interpolate(model, demo, scene, tree, keyframes, **settings):
    return run_node(
        "NuwaInterpolate", model=model, clip=demo[1], tree=tree, keyframes={"samples": keyframes},
        **({"negative": scene.negative} | SAMPLING | FILLING | settings),
    )["samples"]  # fmt: skip


def given(frames=3, seed=1):
    return torch.randn(frames, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def masked(port, demo, shown, frames=5):
    """A condition with a mask for every frame; the prompt has a say in one."""
    tokens, options = port.encode_text(demo[1], "not used")[0][0]
    masks = torch.zeros(frames, SIZE * 8, SIZE * 8)
    masks[shown % frames] = 1
    return [[tokens, {**options, "mask": masks, "set_area_to_bounds": False, "mask_strength": 1.0}]]


@pytest.fixture
def user_folder(port, tmp_path, monkeypatch):
    """Jobs are kept in a folder of the test's own."""
    monkeypatch.setattr(type(port), "user_dir", lambda self: tmp_path)
    return tmp_path / "nuwa"


def job_files(folder):
    return sorted(folder.glob("*/job-*.safetensors"))


def test_keyframes_that_share_nothing_are_those_of_their_own_prompts(port, demo, scene):
    """Each as a single picture with its frame's noise; so a tree's prompts and noise arrive where they belong."""
    frames = draw_keyframes(demo, scene, plan(), shared_noise=0.0, shared_attention=0.0)
    for place, prompt in enumerate(PROMPTS.splitlines()):
        tree = Tree(3, 2, {0: prompt})
        alone = draw_keyframes(demo, scene, tree, shared_noise=0.0, shared_attention=0.0)
        torch.testing.assert_close(frames[place], alone[place], rtol=1e-3, atol=1e-3)
        assert float((frames[place] - alone[place - 1]).abs().max()) > 0.1


def test_sharing_makes_keyframes_of_one_prompt_more_alike(demo, scene):
    nothing = {"shared_noise": 0.0, "shared_attention": 0.0}
    apart, *alike = (
        draw_keyframes(demo, scene, plan("a red circle"), **(nothing | settings)).var(0).mean()
        for settings in ({}, {"shared_noise": 0.9}, {"shared_attention": 1.0})
    )
    assert max(alike) < 0.9 * apart


def test_given_frames_stay_bit_for_bit_and_new_ones_are_new(moving, demo, scene, user_folder):
    keyframes = given()
    video = interpolate(moving, demo, scene, plan(), keyframes)
    assert video.shape == (5, 4, SIZE, SIZE)
    assert torch.equal(video[::2], keyframes)
    assert torch.isfinite(video).all()
    for new in BETWEEN:
        assert min(float((video[new] - each).abs().mean()) for each in (*keyframes, keyframes.mean(0))) > 0.01


def test_a_motion_module_draws_new_frames_towards_the_given_ones(moving, demo, scene, user_folder):
    """Without one, what is drawn between does not depend on the ends at all."""
    for model, depends in ((demo[0], False), (moving, True)):
        one, other = (
            interpolate(model, demo, scene, plan(), given(seed=seed), start="own noise")[BETWEEN]
            for seed in (1, 2)
        )
        assert (float((one - other).norm()) > 1e-2) is depends


def test_finished_jobs_are_read_and_only_others_are_drawn(moving, demo, scene, user_folder):
    tree, keyframes = plan(), given()
    video = interpolate(moving, demo, scene, tree, keyframes)
    first, last = job_files(user_folder)
    assert tree.local_jobs == 2
    time = first.stat().st_mtime_ns
    last.unlink()
    assert torch.equal(interpolate(moving, demo, scene, tree, keyframes), video)
    assert last.exists()
    assert first.stat().st_mtime_ns == time
    first.write_bytes(first.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{first.name}: got .* delete this file"):
        interpolate(moving, demo, scene, tree, keyframes)


def test_another_question_has_files_of_its_own(port, moving, demo, motion, scene, user_folder, monkeypatch):
    negative = scene.negative
    base = {"model": moving, "tree": plan(), "keyframes": given(), "positive": masked(port, demo, 1)}
    changes = {
        "nothing": {},
        "seed": {"seed": 6},
        "filling": {"correlation": 0.6},
        "keyframes": {"keyframes": given(seed=2)},
        "prompt": {"tree": plan("a red circle\na blue cross\na green cross")},
        "model": {"model": scene.moving(demo[0], motion, strength=0.5)},
        "until": {"model": scene.moving(demo[0], motion, end_percent=0.9)},
        "mask encoder": {"model": scene.moving(demo[0], adapted(motion))},
        "negative": {"negative": port.encode_text(demo[1], "a purple cross")[0]},
        "negative, until": {"negative": [[each, {**more, "end_percent": 0.9}] for each, more in negative]},
        "masks": {"positive": masked(port, demo, 3)},  # neither is a keyframe
    }

    class Drawn(Exception):
        """A job was; the other one need not be."""

    def check(self):
        if len(job_files(user_folder)) > len(seen):
            raise Drawn

    monkeypatch.setattr(type(port), "check_interrupt", check)
    seen = []
    for what, change in changes.items():
        with pytest.raises(Drawn):
            interpolate(demo=demo, scene=scene, **(base | change))
        seen.append(what)
        assert len(list(user_folder.iterdir())) == len(seen), what
        assert len(job_files(user_folder)) == len(seen), what


def test_a_run_that_is_stopped_goes_on_where_it_was(port, moving, demo, scene, user_folder, monkeypatch):
    wanted = interpolate(moving, demo, scene, plan(), given())
    for path in job_files(user_folder):
        path.unlink()

    class Stop(Exception):
        pass

    def check(self):
        if job_files(user_folder):
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(type(port), "check_interrupt", check)
        with pytest.raises(Stop):
            interpolate(moving, demo, scene, plan(), given())
    assert len(job_files(user_folder)) == 1
    assert torch.equal(interpolate(moving, demo, scene, plan(), given()), wanted)


def test_more_frames_than_the_motion_module_knows_are_refused_and_nothing_is_kept(
    moving, demo, motion, scene, user_folder
):
    length = motion.weights.size.max_frames + 1
    with pytest.raises(
        ValueError, match=rf"frames={length} is more than the \d+ .*; lower .*Nuwa Plan's length"
    ):
        interpolate(moving, demo, scene, plan("a", length=length), given(length))
    assert job_files(user_folder) == []


def test_a_mask_adapter_is_told_the_ends_of_every_job_and_leaves_them_bit_for_bit(
    port, moving, demo, motion, scene, user_folder
):
    """By the plain module beside a hook that adds the encoder's word on a job's ends behind the first convolution."""
    adapter, keyframes, settings = adapted(motion), given(), {"start": "own noise"}
    video = interpolate(scene.moving(demo[0], adapter), demo, scene, plan(), keyframes, **settings)
    assert torch.equal(video[::2], keyframes)
    for job, new in ((keyframes[:2], 1), (keyframes[1:], 3)):
        ends = torch.stack([job[0], torch.zeros_like(job[0]), job[1]]) / port.noise_unit(demo[0])
        mask = torch.tensor([1.0, 0.0, 1.0])[:, None, None, None].expand(3, 1, SIZE, SIZE)
        with encoded_by_hand(demo[0], ends, mask):
            # Own noise knows no cross-fade: another share of it only takes another folder, so that jobs are drawn.
            wanted = interpolate(moving, demo, scene, plan(), keyframes, denoise=0.1 * new, **settings)
        torch.testing.assert_close(video[new], wanted[new], rtol=1e-3, atol=1e-3)
        assert float((wanted[4 - new] - video[4 - new]).abs().max()) > 1e-2


def test_keyframes_that_do_not_fit_are_refused(demo, scene, user_folder):
    with pytest.raises(ValueError, match=r"keyframes are \(4, 4, 8, 8\); expected \[3, "):
        interpolate(demo[0], demo, scene, plan(), given(4))


def test_conditions_on_positive_are_taken_over_for_each_frame(port, demo, scene, user_folder):
    """A mask for every frame of the video: where it is 0, the prompt has no say."""
    keyframes, settings = given(), {"start": "own noise"}
    plain = interpolate(demo[0], demo, scene, plan(), keyframes, **settings)
    held = interpolate(demo[0], demo, scene, plan(), keyframes, positive=masked(port, demo, 1), **settings)
    torch.testing.assert_close(held[1], plain[1], rtol=1e-3, atol=1e-3)
    assert float((held[3] - plain[3]).abs().mean()) > 0.05


def test_masks_of_another_number_of_frames_are_refused(port, demo, scene, user_folder):
    """As many as keyframes would begin again behind the third frame of five."""
    message = (
        r"positive: got mask for each of 3 frames; expected one for each of the video's 5, or one for all"
    )
    with pytest.raises(ValueError, match=message):
        interpolate(demo[0], demo, scene, plan(), given(), positive=masked(port, demo, 1, 3))
    assert not job_files(user_folder)


def test_noise_masks_are_refused(port, demo, scene, user_folder):
    mask = torch.ones(1, 1, SIZE, SIZE)
    with pytest.raises(ValueError, match=r"latent is \(1, 4, 8, 8\) with a noise mask; expected one frame"):
        draw_keyframes(
            demo, scene, plan(), latent={"samples": torch.zeros(1, 4, SIZE, SIZE), "noise_mask": mask}
        )
    with pytest.raises(ValueError, match=r"keyframes: got a noise mask; expected none"):
        run_node(
            "NuwaInterpolate", model=demo[0], clip=demo[1], tree=plan(), negative=scene.negative,
            keyframes={"samples": given(), "noise_mask": mask}, **(SAMPLING | FILLING),
        )  # fmt: skip


def test_free_noise_that_would_repeat_noise_within_a_job_is_refused(port, demo, scene, user_folder):
    model = port.install(demo[0], Edit("Free Noise", noise=NoiseShuffle(2, 1)))
    with pytest.raises(
        ValueError, match=r"Free Noise shuffles the noise of more than 2 frames, got jobs of 3"
    ):
        interpolate(model, demo, scene, plan(), given())
    whole = port.install(demo[0], Edit("Free Noise", noise=NoiseShuffle(3, 1)))
    video = interpolate(whole, demo, scene, plan(), given())
    assert torch.equal(video, interpolate(demo[0], demo, scene, plan(), given()))


def test_a_layout_on_positive_is_refused(port, demo, scene, user_folder):
    tokens, options = scene.positive[0]
    with pytest.raises(
        ValueError, match=r"positive: got a layout.*connect what is before Layout Conditioning"
    ):
        interpolate(
            demo[0], demo, scene, plan(), given(), positive=[[tokens, {**options, PAYLOAD: object()}]]
        )


def test_the_port_does_every_job_of_a_recursion(port):
    class Middle:
        steps = 1

        def __call__(self, job, ends, watch):
            return torch.cat([ends[:1], ends.mean(0, keepdim=True), ends[1:]])

    recursion = Recursion(Tree(3, 3, {0: "a"}), given())
    port.run_jobs(recursion, Middle())
    assert recursion.done == 6
    torch.testing.assert_close(recursion.frames[1], 0.75 * given()[0] + 0.25 * given()[1])
