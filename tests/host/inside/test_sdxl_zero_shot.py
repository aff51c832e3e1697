"""Zero-shot video on SDXL: cross-frame attention, warped noise, masks of a phrase, shared tokens, and FreeU."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange
from frameloom.models.edits.edit import Edit, Part
from frameloom.models.video.noise import draw_noise
from frameloom.models.zero_shot.foreground import clean_masks, contrast, normalise
from frameloom.models.zero_shot.latents import add_noise, find_levels
from frameloom.models.zero_shot.motion_path import translation
from frameloom.tests.host.inside.core import call
from frameloom.tests.support.input_table import run_node
from frameloom.tests.support.scene import FRAMES, SIDE
from frameloom.tests.support.tensors import apart

PROMPT, PHRASE, REST = "a photo of a red circle on navy", "red circle", "a photo of a on navy"
STILL = translation(FRAMES, 0.0, 0.0)


def crossed(xl, **settings):
    return run_node("CrossFrameAttnPatch", model=xl[0], **settings)


def test_the_first_frame_is_the_plain_picture_and_others_are_not(xl, xl_scene):
    plain, drawn = xl_scene.drawn(xl[0]), xl_scene.run(crossed(xl))
    assert apart(drawn[:1], plain[:1]) <= 1e-4
    assert apart(drawn[1:], plain[1:]) > 1e-2


def test_strength_0_and_one_frame_are_the_plain_model_bit_for_bit(xl, xl_scene):
    assert crossed(xl, strength=0.0) is xl[0]
    one = xl_scene.run(crossed(xl), frames=1)
    assert torch.equal(one, xl_scene.run(xl[0], frames=1))


def test_levels_are_those_of_the_model(xl, xl_scene):
    """Levels 1 and 2 are all of them; 0 and 3 alone are refused."""
    both = xl_scene.run(crossed(xl, levels="1, 2"))
    assert torch.equal(both, xl_scene.run(crossed(xl)))
    assert apart(xl_scene.run(crossed(xl, levels="1")), both) > 1e-3
    with pytest.raises(
        ValueError, match=r"levels: cross-frame attention got 0, 3; expected some of 1, 2, at"
    ):
        crossed(xl, levels="0, 3")


def test_an_observer_sees_the_queries_and_keys_of_every_layer_of_its_levels(port, xl, xl_scene):
    seen, projected = {}, {}

    class Observed(Part):
        levels = frozenset({2})

        def see(self, query, key, call, layer):
            seen[layer.place.block, layer.depth] = query, key

    from frameloom.host.comfyui.seams.network import layers_in, size_of

    unet = xl[0].model.diffusion_model
    handles = []
    for layer, block in layers_in(unet, size_of(unet)):
        if layer.level == 2:
            found = projected.setdefault((layer.place.block, layer.depth), {})
            for name in ("to_q", "to_k"):
                keep = lambda _, __, out, found=found, name=name: found.setdefault(name, []).append(out)  # noqa: E731
                handles.append(block.attn2.get_submodule(name).register_forward_hook(keep))
    xl_scene.predict(port.install(xl[0], Edit("test", observe=Observed())))
    for handle in handles:
        handle.remove()
    assert list(seen) == list(projected)
    assert len(seen) == 6 * 2  # of depth 2: two places on the way down, the middle, three on the way up
    for place, (query, key) in seen.items():
        for name, value in (("to_q", query), ("to_k", key)):
            assert torch.equal(rearrange(value, "n h l d -> n l (h d)"), projected[place][name][-1])


def test_a_prompt_without_a_phrase_is_that_prompt_for_both_text_encoders(port, xl):
    (whole, _), *_ = port.encode_text(xl[1], PROMPT)[0]
    _, spans = port.encode_text(xl[1], PROMPT, [PHRASE])
    (without, options), *_ = port.encode_without(xl[1], PROMPT, spans[PHRASE])
    (wanted, given), *_ = port.encode_text(xl[1], REST)[0]
    assert torch.equal(without, wanted)
    assert torch.equal(options["pooled_output"], given["pooled_output"])
    assert not torch.equal(without, whole)


def test_contrast_is_what_the_model_says_with_and_without_the_phrase(port, xl, xl_scene):
    clip = xl_scene.drawn(xl[0])
    given = {"seed": 7, "passes": 2, "at_percent": 0.6, "threshold": 0.4, "dilation": 1}
    mask = run_node(
        "ForegroundMask",
        model=xl[0],
        clip=xl[1],
        prompt=PROMPT,
        phrase=PHRASE,
        latent={"samples": clip},
        **given,
    )
    sigma, unit = port.timestep_to_sigma(xl[0], 0.4 * 999), port.noise_unit(xl[0])
    answers = {
        prompt: torch.stack([
            port.predict(
                xl[0], port.encode_text(xl[1], prompt)[0],
                {"samples": add_noise(clip, draw_noise(7 + n, range(FRAMES), clip.shape[1:]), 0.0, sigma, unit)},
                sigma,
            ) for n in range(2)
        ]) for prompt in (PROMPT, REST)
    }  # fmt: skip
    maps = normalise(contrast(answers[PROMPT], answers[REST], clip))
    wanted = clean_masks(maps, (SIDE, SIDE), threshold=0.4, dilation=1, hold=0)
    assert torch.equal(mask, wanted)
    assert 0 < float(mask.mean()) < 1


def test_attention_to_a_phrase_is_found(xl, xl_scene):
    given = {
        "prompt": PROMPT,
        "phrase": PHRASE,
        "latent": {"samples": xl_scene.drawn(xl[0])},
        "method": "attention",
    }
    masks = [
        run_node("ForegroundMask", model=xl[0], clip=xl[1], dilation=1, levels=levels, **given)
        for levels in ("0, 1, 2, 3", "1", "2")
    ]
    assert all(0 < float(mask.mean()) < 1 for mask in masks)
    assert not torch.equal(masks[1], masks[2])
    with pytest.raises(
        ValueError, match=r"levels: Foreground Mask got 3; expected some of 1, 2, at which this"
    ):
        run_node("ForegroundMask", model=xl[0], clip=xl[1], levels="3", **given)


def test_noise_is_added_in_sdxls_own_scale(xl):
    """As much as leads from one level to the other in the model's units, which latents are 0.13025 of."""
    start, sigmas = torch.zeros(1, 4, SIDE, SIDE), torch.tensor([5.0, 4.0, 3.0])
    warped = run_node("NoiseWarp", model=xl[0], latent={"samples": start}, path=STILL, sigmas=sigmas, seed=3)
    wanted = 4.0 / 0.13025 * draw_noise(3, range(FRAMES), start.shape[1:])
    torch.testing.assert_close(warped["samples"], wanted)


def zero_shot(xl, xl_scene, path, **settings):
    return run_node(
        "ZeroShotSampler", model=xl[0], positive=xl_scene.positive, negative=xl_scene.negative, path=path,
        latent={"samples": torch.zeros(1, 4, SIDE, SIDE)}, seed=5, steps=6, cfg=3.0, t0=500.0, t1=700.0,
        sampler_name="euler", scheduler="normal", **settings,
    )["samples"]  # fmt: skip


def test_the_sampler_in_one_node_is_what_single_nodes_make(port, xl, xl_scene):
    """Down to t1 and t0, warped, then all frames with cross-frame attention; also in chunks, with a background."""
    path, mask = translation(FRAMES, 8.0, 0.0), torch.zeros(FRAMES, 8 * SIDE, 8 * SIDE)
    mask[:, :32] = 1
    sigmas = port.sigmas(xl[0], 6, "normal")
    t0, t1 = find_levels(sigmas, *(port.timestep_to_sigma(xl[0], at) for at in (500, 700)))
    noise = draw_noise(5, [0], (4, SIDE, SIDE))

    def run(model, start, levels, noise=None):
        frames = len(start)
        noise = torch.zeros_like(start) if noise is None else noise
        return xl_scene.run(model, frames=frames, latent=start, sigmas=levels, noise=noise)

    at_t1 = run(xl[0], torch.zeros_like(noise), sigmas[: t1 + 1], noise)
    at_t0 = run(xl[0], at_t1, sigmas[t1 : t0 + 1])
    first, warped = {"samples": at_t1}, {"samples": at_t0}
    levels = sigmas[t1 : t0 + 1]
    frames = run_node(
        "NoiseWarp", model=xl[0], latent=warped, path=path, sigmas=levels, seed=5, first_frame=first
    )
    wanted = run(crossed(xl), frames["samples"], sigmas[t1:])
    assert apart(zero_shot(xl, xl_scene, path), wanted) <= 1e-4
    assert apart(zero_shot(xl, xl_scene, path, chunk_size=2), wanted) <= 1e-4
    smooth = run_node("BackgroundSmooth", latent=frames, mask=mask, path=path)
    wanted = run(crossed(xl), smooth["samples"], sigmas[t1:])
    assert apart(zero_shot(xl, xl_scene, path, mask=mask), wanted) <= 1e-4


def test_the_samplers_first_frame_is_the_picture_of_video_noise(port, xl, xl_scene):
    drawn = zero_shot(xl, xl_scene, translation(FRAMES, 8.0, 0.0))
    noise = run_node("VideoNoise", noise_seed=5).generate_noise({"samples": torch.zeros(1, 4, SIDE, SIDE)})
    alone = xl_scene.run(xl[0], frames=1, noise=noise, sigmas=port.sigmas(xl[0], 6, "normal"))
    assert apart(drawn[:1], alone) <= 1e-4


def test_free_u_at_strength_1_is_cores(xl, xl_scene):
    ours = run_node("FreeUPerFrame", model=xl[0], b1=1.1, b2=1.2, s1=0.9, s2=0.2, first=1.0, last=1.0)
    from comfy_extras.nodes_freelunch import FreeU

    wanted = xl_scene.run(call(FreeU, xl[0], 1.1, 1.2, 0.9, 0.2))
    assert apart(xl_scene.run(ours), wanted) <= 1e-3
    assert apart(wanted, xl_scene.drawn(xl[0])) > 1e-2


def test_vid_to_me_shares_tokens_and_without_merging_is_the_plain_model(xl, xl_scene):
    plain = xl_scene.drawn(xl[0])
    assert run_node("VidToMe", model=xl[0], local_ratio=0.0) is xl[0]
    alike = xl_scene.noise(1).expand(FRAMES, -1, -1, -1)
    merged = run_node("VidToMe", model=xl[0], local_ratio=1.0, global_ratio=0.0)
    same, wanted = (xl_scene.run(model, noise=alike) for model in (merged, xl[0]))
    assert apart(same, wanted) <= 1e-4  # frames of one picture merge without loss
    assert apart(xl_scene.run(run_node("VidToMe", model=xl[0])), plain) > 1e-2


def test_the_plain_model_is_the_same_bit_for_bit_after_every_run(xl, xl_scene):
    before = xl_scene.run(xl[0])
    for model in (crossed(xl), run_node("VidToMe", model=xl[0]), run_node("FreeUPerFrame", model=xl[0])):
        xl_scene.run(model)
        assert torch.equal(xl_scene.run(xl[0]), before)
