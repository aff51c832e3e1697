"""Which conditions are asked when, how their answers become one, and models that edit a picture."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from frameloom.headless.core_nodes.conditioning import InstructPixToPixConditioning
from frameloom.headless.core_nodes.sampling import DualCFGGuider
from frameloom.headless.engine.conditions import RunConditions
from frameloom.headless.engine.control import Control
from frameloom.headless.engine.fitting import cycle, spread
from frameloom.headless.engine.guidance import CFG, DualCFG
from frameloom.headless.samplers.sigmas import schedule_sigmas
from frameloom.models.errors import PredictionError
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.random_demo import draw_clip, load_random, random_text
from frameloom.tests.support.tensors import draw

EDIT = replace(DEMO, unet=replace(DEMO.unet, in_channels=8), prediction_type="eps")
SHAPE = torch.Size([3, 4, 8, 8])


@pytest.fixture(scope="module")
def edit(tmp_path_factory):
    return load_random(tmp_path_factory.mktemp("model") / "edit.safetensors", EDIT)[0]


def inputs_of(model, guidance, **options):
    """What the UNet sees in each of its calls."""
    seen = []
    handle = model.unet.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    try:
        draw_clip(model, guidance, **options)
    finally:
        handle.remove()
    return seen


ANSWERS = [torch.tensor(value) for value in (2.0, 5.0, 11.0)]


def test_plain_guidance_goes_away_from_the_negative():
    assert CFG([], [], 3.0).combine(ANSWERS[:2]) == 5 + 3 * (2 - 5)


def test_dual_guidance_goes_from_negative_to_second_to_first():
    negative, second, first = 2, 5, 11
    regular = negative + 1.5 * (second - negative) + 4 * (first - second)
    assert DualCFG([], [], [], 4.0, 1.5).combine(ANSWERS) == regular
    inner = second + 4 * (first - second)
    assert DualCFG([], [], [], 4.0, 1.5, nested=True).combine(ANSWERS) == negative + 1.5 * (inner - negative)


@pytest.mark.parametrize(
    ("guidance", "asked"),
    [
        (CFG([], [], 3.0), ["positive", "negative"]),
        (CFG([], [], 1.0), ["positive"]),
        (DualCFG([], [], [], 4.0, 1.5), ["negative", "cond2", "cond1"]),
        (DualCFG([], [], [], 4.0, 1.0), ["cond2", "cond1"]),
        (DualCFG([], [], [], 1.0, 1.0), ["cond1"]),
        (DualCFG([], [], [], 1.0, 1.5), ["negative", "cond2", "cond1"]),
        (DualCFG([], [], [], 1.0, 1.0, nested=True), ["negative", "cond2", "cond1"]),
    ],
)
def test_sides_that_a_scale_of_1_cancels_are_not_asked(guidance, asked):
    assert [name for name, side in guidance.sides.items() if side is not None] == asked


def test_a_side_that_is_not_asked_is_never_run(model):
    bad = [[torch.full((1, 77, DEMO.unet.context_dim), float("nan")), {}]]
    for guidance in (
        CFG(random_text(1), bad, 1.0),
        DualCFG(random_text(1), random_text(2), bad, 4.0, 1.0),
        DualCFG(random_text(1), bad, bad, 1.0, 1.0),
    ):
        assert torch.isfinite(draw_clip(model, guidance)).all()
    with pytest.raises(PredictionError, match="step 0"):
        draw_clip(model, CFG(random_text(1), bad, 2.0))


def test_a_side_without_conditions_is_named(model):
    with pytest.raises(ValueError, match=r"^cond2: got no condition; expected at least one; connect"):
        draw_clip(model, DualCFG(random_text(1), [], random_text(2), 4.0, 1.5))


def batches(conditions, sigma):
    return conditions.batches(conditions.at(sigma), range(SHAPE[0]))


def indices(groups):
    return [[each.index for each in group.conditions] for group in groups]


def test_three_sides_share_a_batch_and_keep_the_hosts_numbers(model):
    guidance = DualCFG(random_text(1), random_text(2), random_text(3), 4.0, 1.5)
    groups = batches(RunConditions(guidance.sides, model, SHAPE), 1.0)
    assert indices(groups) == [[2, 1, 0]]
    assert groups[0].tokens.shape[0] == 3
    assert len(inputs_of(model, guidance)) == 3  # one call a step


def test_conditions_share_a_batch_only_where_tokens_and_nets_allow(model):
    class Net(Control):
        def check_fit(self, unet):
            pass

    one, other = (Net(None, torch.zeros(1)) for _ in range(2))
    positive = [*random_text(1, control=one), *random_text(2, length=154), *random_text(3, control=other)]
    negative = [*random_text(4, control=one), *random_text(5)]
    groups = batches(RunConditions({"positive": positive, "negative": negative}, model, SHAPE), 1.0)
    assert indices(groups) == [[1, 0], [0], [0], [1]]
    assert [group.control for group in groups] == [one, None, other, None]


def test_conditions_count_in_their_part_of_the_run_both_ends_included(model):
    early, late = random_text(1, start_percent=0.0, end_percent=0.5), random_text(2, start_percent=0.5)
    conditions = RunConditions({"positive": [*early, *late]}, model, SHAPE)
    sigmas = schedule_sigmas(model.sampling, "normal", 5)[:-1]
    payloads = [len(conditions.at(float(sigma))) for sigma in sigmas]
    assert payloads == [1, 1, 2, 1, 1]
    first, last = (conditions.at(float(sigma))[0].tokens for sigma in (sigmas[0], sigmas[-1]))
    assert torch.equal(first, early[0][0])
    assert torch.equal(last, late[0][0])


def test_a_side_with_no_condition_in_its_part_answers_zero(model):
    never = random_text(2, start_percent=0.7, end_percent=0.3)
    guided = draw_clip(model, CFG(random_text(1), never, 3.0), steps=1)
    alone = draw_clip(model, CFG(random_text(1), random_text(2), 1.0), steps=1)
    assert torch.allclose(guided, 3 * alone, rtol=1e-4, atol=1e-4)


def test_batches_are_cycled_or_spread_over_a_length():
    rows = torch.arange(5)
    assert cycle(rows, 7).tolist() == [0, 1, 2, 3, 4, 0, 1]
    wanted = {1: [0], 2: [0, 4], 3: [0, 2, 4], 5: [0, 1, 2, 3, 4]}
    assert {length: spread(rows, length).tolist() for length in wanted} == wanted
    assert spread(rows[:2], 5).tolist() == [0, 0, 1, 1, 1]


def test_pictures_to_edit_hang_on_both_prompts_as_latents(port, random_parts):
    vae, pictures = random_parts[2], torch.rand(2, 67, 72, 3)
    given = random_text(1), random_text(2)
    positive, negative, empty = InstructPixToPixConditioning.execute(*given, vae, pictures).args
    latents = vae.encode(pictures)
    assert latents.shape == (2, 4, 8, 9)
    for side, before in zip((positive, negative), given, strict=True):
        assert torch.equal(side[0][1]["concat_latent_image"], latents)
        assert torch.equal(side[0][0], before[0][0])
        assert "concat_latent_image" not in before[0][1]
    assert empty["samples"].shape == latents.shape
    assert not empty["samples"].any()


def test_an_editing_model_sees_the_picture_beside_the_noise_unscaled(edit):
    picture = draw(*SHAPE, seed=3)
    guidance = CFG(random_text(1, concat_latent_image=picture), random_text(2), 3.0)
    (seen,) = inputs_of(edit, guidance, steps=1)
    assert seen.shape == (6, 8, 8, 8)
    negative, positive = seen[:, 4:].chunk(2)
    assert torch.equal(positive, picture)
    assert not negative.any()
    assert torch.equal(seen[:3, :4], seen[3:, :4])


def test_a_picture_of_another_size_and_length_is_fitted(edit):
    picture = torch.arange(2.0)[:, None, None, None].expand(2, 4, 8, 8)
    wide = torch.nn.functional.pad(picture, (4, 4), value=9.0)  # the sides are cut to the clip's proportions
    guidance = CFG(random_text(1, concat_latent_image=wide), [], 1.0)
    (seen,) = inputs_of(edit, guidance, steps=1)
    assert torch.equal(seen[:, 4:], torch.tensor([0.0, 1.0, 1.0])[:, None, None, None].expand(SHAPE))


def test_a_model_without_a_place_for_a_picture_says_so(model, caplog):
    sides = random_text(1, concat_latent_image=torch.ones(SHAPE)), random_text(2)
    with caplog.at_level(logging.WARNING):
        got = draw_clip(model, CFG(*sides, 3.0))
    assert "concat_latent_image: a UNet of 4 input channels has no place for it." in caplog.text
    assert torch.equal(got, draw_clip(model, CFG(random_text(1), random_text(2), 3.0)))


@pytest.mark.parametrize("style", ["regular", "nested"])
def test_the_node_guides_by_its_inputs(model, style):
    one, two, three = (random_text(seed) for seed in (1, 2, 3))
    guider = DualCFGGuider.execute(model, one, two, three, 4.0, 1.5, style).args[0]
    assert guider.guidance == DualCFG(one, two, three, 4.0, 1.5, style == "nested")


def test_what_scales_guidance_scales_the_inner_one_of_two():
    """As ComfyUI's functions of guidance see it: tests/host/inside/test_cfg_schedule.py."""
    double = {"scale": lambda cfg: 2 * cfg}
    assert CFG([], [], 3.0).combine(ANSWERS[:2], **double) == CFG([], [], 6.0).combine(ANSWERS[:2])
    for nested, wanted in ((False, (4.0, 3.0)), (True, (8.0, 1.5))):
        two = DualCFG([], [], [], 4.0, 1.5, nested).combine(ANSWERS, **double)
        assert two == DualCFG([], [], [], *wanted, nested).combine(ANSWERS)
