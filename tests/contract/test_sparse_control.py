"""What every host promises of SparseCtrl: its network's features are added as a ControlNet's, on every road."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import CheckpointError
from frameloom.models.long_video.free_noise import WindowFusion
from frameloom.models.motion.edit import AtOnce
from frameloom.models.network.unet import UNetSize
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.layout import guide, lay_out
from frameloom.tests.support.sparse import write_sparse
from frameloom.tests.support.tensors import apart

FRAMES = 4
WIDE = UNetSize(model_channels=32, channel_mult=(1, 2, 4, 4), context_dim=64, num_heads=8)
SETTINGS = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "other_frames": 1.0, "mask_value": 1.0}


@pytest.fixture(scope="module")
def networks(port, tmp_path_factory):
    from frameloom.models.motion.sparse_checkpoint import read_sparse_control

    folder = tmp_path_factory.mktemp("sparse")
    made = {"rgb": {"channels": 4}, "scribble": {"channels": 3}, "wide": {"size": WIDE}}
    files = {name: write_sparse(folder / f"{name}.safetensors", **told) for name, told in made.items()}
    return {name: port.load_sparse_control(read_sparse_control(file)) for name, file in files.items()}


@pytest.fixture
def sparse(demo, networks):
    """Put SparseCtrl on a model by its node."""

    def go(model=None, kind="rgb", frames="0", images=1, clip=FRAMES, latent=None, vae=True, **changes):
        from frameloom.nodes.motion.sparse_control import ApplySparseControl

        latent = {"samples": torch.zeros(clip, 4, 8, 8)} if latent is None else latent
        images = pictures(images) if isinstance(images, int) else images
        return ApplySparseControl.execute(
            demo[0] if model is None else model, networks[kind], latent, images, frames,
            **SETTINGS | changes, vae=demo[2] if vae else None,
        ).args[0]  # fmt: skip

    return go


def pictures(count, height=64, width=64):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(2))


def near(one, other, share=1e-4):
    assert one.shape == other.shape
    assert apart(one, other) <= share


@pytest.mark.parametrize("kind", ["rgb", "scribble"])
def test_pictures_change_the_clip_and_strength_0_is_the_model_itself(scene, demo, sparse, kind):
    plain = scene.drawn(demo[0], FRAMES)
    drawn = scene.run(sparse(kind=kind))
    assert apart(drawn, plain) > 0.05
    assert apart(scene.run(sparse(kind=kind, frames="-1")), drawn) > 0.01
    assert torch.equal(scene.run(sparse(kind=kind, strength=0.0)), plain)
    assert torch.equal(scene.run(sparse(kind=kind, start_percent=0.1, end_percent=0.4)), plain)


def test_frames_without_a_picture_may_be_left_alone(scene, demo, sparse):
    """The demo model alone mixes no frames, and SparseCtrl's own layers do."""
    plain, drawn, alone = scene.drawn(demo[0]), scene.run(sparse()), scene.run(sparse(other_frames=0.0))
    near(alone[1:], plain[1:])
    near(alone[:1], drawn[:1])
    assert apart(drawn[1:], plain[1:]) > 0.01
    assert apart(scene.run(sparse(mask_value=0.5)), drawn) > 0.01


@pytest.mark.parametrize(("places", "borders"), [("0", {0: [1]}), ("1, 3", {1: [0, 2], 3: [2]})])
def test_given_frames_get_the_light_and_contrast_of_others_or_these_theirs(scene, sparse, places, borders):
    """Of each channel of the latents, whatever the network makes of the pictures; the rest of a clip is the same."""
    told = {"frames": places, "images": len(borders)}
    drawn, even, follow = (
        scene.run(sparse(**told, flash=flash))
        for flash in ("as drawn", "given like others", "others like given")
    )

    def flash(clip, frame, beside):
        mean = clip[frame].mean((-2, -1)) - clip[beside].mean((0, -2, -1))
        contrast = clip[frame].std((-2, -1)).log() - clip[beside].std((-2, -1)).log().mean(0)
        return float(max(mean.abs().max(), contrast.abs().max()))

    others = [frame for frame in range(FRAMES) if frame not in borders]
    assert torch.equal(drawn, scene.run(sparse(**told)))
    assert min(flash(drawn, *border) for border in borders.items()) > 0.01
    assert max(flash(even, *border) for border in borders.items()) < 1e-4
    assert torch.equal(even[others], drawn[others])
    assert torch.equal(follow[list(borders)], drawn[list(borders)])
    if len(borders) == 1:
        assert max(flash(follow, *border) for border in borders.items()) < 1e-4


@pytest.mark.parametrize("kind", ["rgb", "scribble"])
def test_both_sides_of_guidance_get_the_same(port, scene, sparse, kind):
    """One step to the end is what guidance makes of both predictions, each asked by itself."""
    model, sigma = sparse(kind=kind), 5.0
    noisy = {"samples": sigma * port.noise_unit(model) * scene.noise()}
    positive, negative = (
        port.predict(model, side, noisy, sigma) for side in (scene.positive, scene.negative)
    )
    drawn = scene.run(model, sigmas=torch.tensor([sigma, 0.0]), cfg=3.0)
    near(drawn, negative + 3 * (positive - negative))
    assert apart(positive, negative) > 0.01


def test_networks_and_controlnets_add_up(port, core, demo, scene, sparse, tmp_path):
    net = core.random_control(tmp_path)
    pair = core.apply_control(scene.positive, scene.negative, net, pictures(FRAMES), 0.7, 0.0, 1.0)
    controlled = {"positive": pair[0], "negative": pair[1]}
    (edit,) = port.edits(sparse())

    def drawn(*strengths, **sides):
        model = demo[0]
        for strength in strengths:
            part = replace(edit.residuals, strength=strength)
            model = port.install(model, Edit("SparseCtrl", residuals=part))
        return scene.run(model, **sides)

    near(drawn(0.25, 0.75), drawn(1.0))
    beside = drawn(1.0, **controlled)
    assert min(apart(beside, drawn(1.0)), apart(beside, drawn(**controlled))) > 0.01
    near(drawn(1.0, -1.0, **controlled), drawn(**controlled))


def test_guidance_by_gradients_goes_beside_it(port, demo, scene, sparse):
    positive = lay_out(port, demo[1], FRAMES)
    plain, guided = (scene.run(each, positive=positive) for each in (sparse(), guide(port, sparse())))
    assert apart(guided, plain) > 0.01
    assert apart(guided, scene.run(guide(port, demo[0]), positive=positive)) > 0.01


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_chunks_are_the_whole(port, scene, moving, sparse, at_once):
    model = sparse(moving, frames="0, -1", images=2, clip=5)
    chunked = port.install(model, Edit("chunks", chunks=AtOnce(at_once)))
    near(scene.run(chunked, frames=5), scene.run(model, frames=5), 1e-5)


@pytest.mark.parametrize(
    ("frames", "borrowed"),
    [
        ("0", ["0", "0", "0", "0"]),
        ("-1", ["-1", "-1", "-1", "-1"]),
        ("5", ["-1", "3", "1", "0"]),
    ],
)
def test_a_window_without_a_picture_has_the_nearest_at_its_nearest_end(
    port, demo, scene, sparse, frames, borrowed
):
    plan, count, sigma = WindowPlan(4, 2), 10, 5.0
    noise = scene.noise(count)
    total, shares = torch.zeros_like(noise), torch.zeros(count, 1, 1, 1)
    for window, place in zip(plan.windows(count, 0), borrowed, strict=True):
        weights, rows = torch.tensor(plan.weigh(window, count))[:, None, None, None], list(window)
        alone = sparse(frames=place, clip=4)
        total[rows] += weights * port.predict(alone, scene.positive, {"samples": noise[rows] * 20}, sigma)
        shares[rows] += weights
    whole = sparse(scene.windowed(demo[0], plan), frames=frames, clip=count)
    near(port.predict(whole, scene.positive, {"samples": noise * 20}, sigma), total / shares)


def test_a_clip_longer_than_it_knows_goes_in_windows_or_by_free_noise(port, demo, scene, sparse):
    long, one = sparse(clip=34), torch.tensor([5.0, 0.0])
    with pytest.raises(
        ValueError, match=r"got 34 frames at once; expected at most 32, .* Context Windows or"
    ):
        scene.run(long, frames=34, sigmas=one)
    for parts in ({"windows": WindowPlan(16, 4)}, {"time": WindowFusion(16, 8)}):
        drawn = scene.run(port.install(long, Edit("test", **parts)), frames=34, sigmas=one)
        assert apart(drawn, scene.run(demo[0], frames=34, sigmas=one)) > 0.01


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"frames": "first"}, "got 'first'; expected whole numbers such as 0, 8, -1, or one of uniform, starting"),
        ({"frames": "4"}, "got frame 4 of a clip of 4; expected -4 to 3"),
        ({"images": 2}, "got 1 numbers for 2 pictures; expected one for each"),
        ({"images": 2, "frames": "3, -1"}, "got frame 3 twice; expected a frame for each picture"),
        ({"images": 5, "frames": "uniform"}, "images: got 5 pictures for a clip of 4 frames"),
        ({"vae": False}, "vae: got none; expected the model's, since rgb.safetensors"),
        ({"kind": "wide"}, r"wide.safetensors: made for a UNet of widths .*, the model has \(32, 64, 64, 64\)"),
        ({"start_percent": 0.5, "end_percent": 0.2}, "start_percent=0.5 is after end_percent=0.2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_runs(sparse, given, said):
    with pytest.raises(ValueError, match=said):
        sparse(**given)


def test_another_clip_than_it_was_made_for_is_refused(port, demo, scene, sparse):
    with pytest.raises(ValueError, match="got a clip of 5 frames; expected 4, the frames of its latent"):
        scene.run(sparse(), frames=5)
    with pytest.raises(
        ValueError, match="got 8 x 8 cells to sample, of pictures for 4 x 8; expected one size"
    ):
        scene.run(sparse(latent={"samples": torch.zeros(FRAMES, 4, 4, 8)}))
    with pytest.raises(
        ValueError, match="model: got one with SparseCtrl on it, which adds to the UNet while"
    ):
        port.train_forward(sparse(), FRAMES)


def test_keys_of_finished_work_tell_pictures_and_settings_apart(port, sparse):
    from frameloom.models.files.keys import hash_settings, plain

    def key(**changes):
        return hash_settings(edits=plain(list(port.edits(sparse(**changes)))))

    changes = [{}, {"frames": "1"}, {"images": 1 - pictures(1)}, {"strength": 0.5}, {"kind": "scribble"}]
    assert len({key(**each) for each in changes}) == len(changes)
    assert key() == key()


def test_files_are_known_and_others_are_named(port, kind_folder, demo, tmp_path):
    from frameloom.nodes.motion.modules import MotionModuleLoader
    from frameloom.nodes.motion.sparse_control import SparseControlLoader

    for kind in ("controlnet", "animatediff_models"):
        write_sparse(kind_folder(kind) / "rgb_test.safetensors")
    loaded = SparseControlLoader.execute("rgb_test.safetensors").args[0]
    assert loaded.size.reads_latents
    with pytest.raises(CheckpointError, match=r"is a SparseCtrl network for pictures .*; .* Load SparseCtrl"):
        MotionModuleLoader.execute("rgb_test.safetensors")
