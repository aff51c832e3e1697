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
from frameloom.headless.engine.denoise import sample
from frameloom.headless.engine.fitting import cycle, spread
from frameloom.headless.engine.guidance import CFG, DualCFG
from frameloom.headless.engine.noise import draw_noise
from frameloom.headless.port import HeadlessHost
from frameloom.headless.samplers.sigmas import schedule_sigmas
from frameloom.headless.samplers.table import find_sampler
from frameloom.headless.text.prompt import Tokenizer
from frameloom.headless.weights.loading import load_checkpoint
from frameloom.host import api
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.random_demo import write_model

CPU = torch.device("cpu")
EDIT = replace(DEMO, unet=replace(DEMO.unet, in_channels=8), prediction_type="eps")
SHAPE = torch.Size([3, 4, 8, 8])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder, tokenizer = tmp_path_factory.mktemp("model"), Tokenizer.from_folder(DEMO_TOKENIZER)
    return {
        "plain": load_checkpoint(write_model(folder / "plain.safetensors"), tokenizer, CPU, DEMO),
        "edit": load_checkpoint(write_model(folder / "edit.safetensors", EDIT), tokenizer, CPU, EDIT),
    }


@pytest.fixture(scope="module")
def plain(models):
    return models["plain"][0]


@pytest.fixture(scope="module")
def edit(models):
    return models["edit"][0]


def condition(seed, length=77, **options):
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, length, DEMO.unet.context_dim, generator=generator), options]]


def draw(model, guidance, steps=3):
    latent = torch.zeros(SHAPE)
    sigmas = schedule_sigmas(model.sampling, "normal", steps)
    return sample(
        model, draw_noise(latent, 1), guidance, sampler=find_sampler("euler"), sigmas=sigmas, latent=latent
    )[0]


def inputs_of(model, run):
    """What the UNet sees in each of its calls."""
    seen = []
    handle = model.unet.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    try:
        run()
    finally:
        handle.remove()
    return seen


ANSWERS = [torch.tensor(value) for value in (2.0, 5.0, 11.0)]


def test_plain_guidance_goes_away_from_the_negative():
    assert CFG([], [], 3.0).combine(ANSWERS[:2]) == 5 + 3 * (2 - 5)


def test_dual_guidance_goes_from_negative_to_second_to_first():
    negative, second, first = 2, 5, 11
    assert DualCFG([], [], [], 4.0, 1.5).combine(ANSWERS) == negative + 1.5 * (second - negative) + 4 * (
        first - second
    )
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


def test_a_side_that_is_not_asked_is_never_run(plain):
    bad = [[torch.full((1, 77, DEMO.unet.context_dim), float("nan")), {}]]
    assert torch.isfinite(draw(plain, DualCFG(condition(1), condition(2), bad, 4.0, 1.0))).all()
    assert torch.isfinite(draw(plain, DualCFG(condition(1), bad, bad, 1.0, 1.0))).all()


def test_a_side_without_conditions_is_named(plain):
    with pytest.raises(ValueError, match=r"^cond2: got no condition; expected at least one; connect"):
        draw(plain, DualCFG(condition(1), [], condition(2), 4.0, 1.5))


def batches(conditions, sigma):
    return conditions.batches(conditions.at(sigma), range(SHAPE[0]))


def indices(groups):
    return [[each.index for each in group.conditions] for group in groups]


def test_three_sides_share_a_batch_and_keep_the_hosts_numbers(plain):
    guidance = DualCFG(condition(1), condition(2), condition(3), 4.0, 1.5)
    groups = batches(RunConditions(guidance.sides, plain, SHAPE), 1.0)
    assert indices(groups) == [[2, 1, 0]]
    assert groups[0].tokens.shape[0] == 3
    assert len(inputs_of(plain, lambda: draw(plain, guidance))) == 3  # one call a step


def test_conditions_share_a_batch_only_where_tokens_and_nets_allow(plain, tmp_path):
    class Net(Control):
        def check_fit(self, unet):
            pass

    one, other = (Net(None, torch.zeros(1)) for _ in range(2))
    positive = [*condition(1, control=one), *condition(2, length=154), *condition(3, control=other)]
    negative = [*condition(4, control=one), *condition(5)]
    groups = batches(RunConditions({"positive": positive, "negative": negative}, plain, SHAPE), 1.0)
    assert indices(groups) == [[1, 0], [0], [0], [1]]
    assert [group.control for group in groups] == [one, None, other, None]


def test_conditions_count_in_their_part_of_the_run_both_ends_included(plain):
    early, late = condition(1, start_percent=0.0, end_percent=0.5), condition(2, start_percent=0.5)
    conditions = RunConditions({"positive": [*early, *late]}, plain, SHAPE)
    sigmas = schedule_sigmas(plain.sampling, "normal", 5)[:-1]
    payloads = [len(conditions.at(float(sigma))) for sigma in sigmas]
    assert payloads == [1, 1, 2, 1, 1]
    first, last = (conditions.at(float(sigma))[0].tokens for sigma in (sigmas[0], sigmas[-1]))
    assert torch.equal(first, early[0][0])
    assert torch.equal(last, late[0][0])


def test_a_condition_outside_its_part_changes_no_bit(plain):
    never = condition(3, start_percent=0.7, end_percent=0.3)
    assert torch.equal(
        draw(plain, CFG([*condition(1), *never], condition(2), 3.0)),
        draw(plain, CFG(condition(1), condition(2), 3.0)),
    )


def test_a_side_with_no_condition_in_its_part_answers_zero(plain):
    never = condition(2, start_percent=0.7, end_percent=0.3)
    guided = draw(plain, CFG(condition(1), never, 3.0), steps=1)
    assert torch.allclose(
        guided, 3 * draw(plain, CFG(condition(1), condition(2), 1.0), steps=1), rtol=1e-4, atol=1e-4
    )


def test_batches_are_cycled_or_spread_over_a_length():
    rows = torch.arange(5)
    assert cycle(rows, 7).tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert [spread(rows, length).tolist() for length in (1, 2, 3, 5)] == [
        [0],
        [0, 4],
        [0, 2, 4],
        [0, 1, 2, 3, 4],
    ]
    assert spread(rows[:2], 5).tolist() == [0, 0, 1, 1, 1]


@pytest.fixture
def host(tmp_path, no_host):
    api.select(io=None, ui=None, extension=None, port=HeadlessHost("cpu", tmp_path, tmp_path, tmp_path))


def test_pictures_to_edit_hang_on_both_prompts_as_latents(host, models):
    vae, pictures = models["edit"][2], torch.rand(2, 67, 72, 3)
    given = condition(1), condition(2)
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
    picture = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    guidance = CFG(condition(1, concat_latent_image=picture), condition(2), 3.0)
    (seen,) = inputs_of(edit, lambda: draw(edit, guidance, steps=1))
    assert seen.shape == (6, 8, 8, 8)
    negative, positive = seen[:, 4:].chunk(2)
    assert torch.equal(positive, picture)
    assert not negative.any()
    assert torch.equal(seen[:3, :4], seen[3:, :4])


def test_a_picture_of_another_size_and_length_is_fitted(edit):
    picture = torch.arange(2.0)[:, None, None, None].expand(2, 4, 8, 8)
    wide = torch.nn.functional.pad(picture, (4, 4), value=9.0)  # the sides are cut to the clip's proportions
    guidance = CFG(condition(1, concat_latent_image=wide), [], 1.0)
    (seen,) = inputs_of(edit, lambda: draw(edit, guidance, steps=1))
    assert torch.equal(seen[:, 4:], torch.tensor([0.0, 1.0, 1.0])[:, None, None, None].expand(SHAPE))


def test_a_model_without_a_place_for_a_picture_says_so(plain, caplog):
    sides = condition(1, concat_latent_image=torch.ones(SHAPE)), condition(2)
    with caplog.at_level(logging.WARNING):
        got = draw(plain, CFG(*sides, 3.0))
    assert "concat_latent_image: a UNet of 4 input channels has no place for it." in caplog.text
    assert torch.equal(got, draw(plain, CFG(condition(1), condition(2), 3.0)))


@pytest.mark.parametrize("style", ["regular", "nested"])
def test_the_node_guides_by_its_inputs(plain, style):
    one, two, three = (condition(seed) for seed in (1, 2, 3))
    guider = DualCFGGuider.execute(plain, one, two, three, 4.0, 1.5, style).args[0]
    assert guider.guidance == DualCFG(one, two, three, 4.0, 1.5, style == "nested")
