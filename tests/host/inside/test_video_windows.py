"""Context windows of video transformers: what belongs to a latent frame follows it.

The reference is the model itself, asked about each window as about a clip of its own: one step of Euler down to 0 is
the model's prediction, so a windowed clip is the weighted mean of those.
"""

from __future__ import annotations

import inspect

import pytest
import torch
from comfy.context_windows import IndexListContextHandler
from frameloom.models.errors import HostError
from frameloom.models.network.time_law import TimeLaw
from frameloom.models.video.windows import WindowPlan, latent_windows
from frameloom.tests.host.inside import tiny_models
from frameloom.tests.host.inside.video import build, sample_video, stride_of, with_mask

FAMILIES = ["Wan", "Wan, image to video", "Wan 2.2 5B", "LTX-Video", "HunyuanVideo"]
HAS_ANCHOR = "causal_window_fix" in inspect.signature(IndexListContextHandler).parameters
ANCHORS = [
    False,
    pytest.param(True, marks=pytest.mark.skipif(not HAS_ANCHOR, reason="this ComfyUI has no anchor")),
]
SIDE, FRAMES = 8, 8  # as many latent frames as rows: where ComfyUI takes the one for the other
LENGTH, OVERLAP = 4, 1


def plan_of(family, anchor):
    """Windows of 4 latent frames that overlap by 1, said in frames."""
    stride = stride_of(family)
    return latent_windows(WindowPlan(stride * (LENGTH - 1) + 1, OVERLAP), TimeLaw(stride), anchor=anchor)


def shape_of(family, frames=FRAMES):
    batch, channels, *_ = tiny_models.MODELS[family][2]
    return (batch, channels, frames, SIDE, SIDE)


@pytest.fixture(scope="module")
def windowed(port):
    """Put windows on a model, as the node does."""
    from frameloom.nodes.long_video.context_windows import ContextWindows

    def put(model, family, anchor):
        frames = stride_of(family) * (LENGTH - 1) + 1
        choice = "on models of video" if anchor else "off"
        return ContextWindows.execute(model, frames, OVERLAP, "static", 1, "pyramid", 81, choice)[0]

    return put


@pytest.fixture(scope="module")
def asked(port):
    """What the model says of each window by itself, put together."""

    def ask(model, family, make, anchor):
        plan, shape = plan_of(family, anchor), shape_of(family)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        total, counts = torch.zeros(shape[1:]), torch.zeros(1, FRAMES, 1, 1)
        for window in plan.windows(FRAMES, 0):
            lead = anchor and window[0] > 0
            ids = [window[0] - 1, *window] if lead else list(window)
            clip = noise[:, :, ids]
            drawn = port.sample(
                model, make(ids), make(ids), {"samples": torch.zeros_like(clip)}, noise=clip,
                sigmas=port.sigmas(model, 1, "simple"), sampler="euler", cfg=1.0,
            )["samples"][0]  # fmt: skip
            weights = torch.tensor(plan.weigh(window, FRAMES))[None, :, None, None]
            total[:, list(window)] += weights * drawn[:, int(lead) :]
            counts[:, list(window)] += weights
        return total / counts

    return ask


def check(port, asked, windowed, family, make, anchor, model=None):
    model = build(family) if model is None else model
    wanted = asked(model, family, make, anchor)
    got = sample_video(
        port, windowed(model, family, anchor), make(list(range(FRAMES))), family, shape=shape_of(family)
    )
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    return got


@pytest.fixture(scope="module")
def prompt(port, demo):
    def encode(text, family, **options):
        conditions = with_mask(port.encode_text(demo[1], text)[0], family)
        return [[tokens, {**more, **options}] for tokens, more in conditions]

    return encode


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_clip_is_the_mean_of_what_is_said_of_its_windows(port, asked, windowed, prompt, family, anchor):
    made = check(port, asked, windowed, family, lambda ids: prompt("a red circle", family), anchor)
    plain = sample_video(port, build(family), prompt("a red circle", family), family, shape=shape_of(family))
    assert not torch.allclose(made, plain, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clip_of_one_window_is_the_plain_one(port, windowed, prompt, family):
    model, shape = build(family), shape_of(family, LENGTH)
    prompts = prompt("a red circle", family)
    plain = sample_video(port, model, prompts, family, 2, shape=shape)
    made = sample_video(port, windowed(model, family, HAS_ANCHOR), prompts, family, 2, shape=shape)
    torch.testing.assert_close(made, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("still", [False, True])
def test_masks_of_conditions_follow_their_frames(port, asked, windowed, prompt, anchor, still):
    """With as many frames as rows, where ComfyUI's own windows cut a mask's rows, or fail."""
    mask = torch.zeros(1 if still else FRAMES, SIDE, SIDE)
    mask[..., :3] = 1
    if not still:
        mask[5:] = mask[5:].flip(-1)

    def make(ids):
        own = mask if still else mask[ids]
        return [
            *prompt("a red circle", "Wan", mask=own, mask_strength=1.0),
            *prompt("a blue cross", "Wan", mask=1 - own, mask_strength=1.0),
        ]

    check(port, asked, windowed, "Wan", make, anchor)


def test_a_mask_of_another_length_is_named(port, windowed, prompt):
    prompts = prompt("a red circle", "Wan", mask=torch.ones(5, SIDE, SIDE), mask_strength=1.0)
    with pytest.raises(
        ValueError, match="got a mask of 5 frames; expected 1, or 8, one for each latent frame"
    ):
        sample_video(port, windowed(build("Wan"), "Wan", False), prompts, "Wan", shape=shape_of("Wan"))


@pytest.mark.parametrize("anchor", ANCHORS)
def test_a_reference_is_whole_in_every_window(port, asked, windowed, prompt, monkeypatch, anchor):
    """ComfyUI's own windows cut its rows where there are as many as frames."""
    name = "Wan with a reference"
    sizes = ("WAN21_T2V", tiny_models.WAN | {"in_dim_ref_conv": 16}, tiny_models.MODELS["Wan"][2])
    monkeypatch.setitem(tiny_models.MODELS, name, sizes)
    model = build(name)
    if getattr(model.model.diffusion_model, "ref_conv", None) is None:
        pytest.skip("this ComfyUI has no ref_conv")
    reference = torch.randn(1, 16, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    made = check(
        port, asked, windowed, name,
        lambda ids: prompt("a red circle", name, reference_latents=[reference]), anchor, model,
    )  # fmt: skip
    without = sample_video(
        port, windowed(model, name, anchor), prompt("a red circle", name), name, shape=shape_of(name)
    )
    assert not torch.allclose(made, without, atol=1e-4)


@pytest.mark.parametrize("anchor", ANCHORS)
def test_pictures_that_are_given_follow_their_frames(port, asked, windowed, prompt, anchor):
    family = "Wan, image to video"
    pictures = torch.randn(1, 16, FRAMES, SIDE, SIDE, generator=torch.Generator().manual_seed(4))
    given = torch.ones(1, 1, FRAMES, SIDE, SIDE)
    given[:, :, [0, 5]] = 0

    def make(ids):
        return prompt(
            "a red circle", family, concat_latent_image=pictures[:, :, ids], concat_mask=given[:, :, ids]
        )

    check(port, asked, windowed, family, make, anchor)


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("family", ["Wan", "LTX-Video"])
def test_prompts_that_travel_follow_their_frames(port, demo, asked, windowed, family, anchor):
    """A window's prompts are its frames', anchor included: a schedule of its own says the same of it alone."""
    from frameloom.models.long_video.prompt_travel import plan_travel
    from frameloom.models.long_video.prompt_video import join_prompts

    texts = {0: "a red circle", 3: "a blue cross", 6: "a green square"}
    encoded = {text: with_mask(port.encode_text(demo[1], text)[0], family) for text in texts.values()}
    blends = plan_travel(texts, FRAMES, "linear")

    def make(ids):
        return port.read_by_frame(join_prompts(encoded, texts, [blends[frame] for frame in ids], TimeLaw()))

    used = {frame for blend in blends[:4] for frame in blend[:2]}
    assert len(used) < 3  # a window has other prompts than the clip
    check(port, asked, windowed, family, make, anchor)


@pytest.mark.skipif(HAS_ANCHOR, reason="this ComfyUI has an anchor")
def test_an_anchor_is_refused_where_there_is_none(windowed):
    with pytest.raises(
        HostError, match=r"got an anchor on a ComfyUI .*; expected ComfyUI 0.25 or newer; set anchor"
    ):
        windowed(build("Wan"), "Wan", True)
