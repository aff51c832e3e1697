"""Masks by closed forms: what attention, contrast, thresholds and dilation must come to."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.call import Call, Condition
from frameloom.models.zero_shot.foreground import (
    PhraseAttention,
    check_cleaning,
    check_clip,
    clean_masks,
    contrast,
    normalise,
)
from frameloom.tests.support.layers import at_level
from frameloom.tests.support.tensors import draw

FRAMES, TOKENS, SIZE = 3, 6, (4, 6)
EVERY = frozenset({0, 1, 2, 3})


def call(conditions=(0,), frame_ids=(0, 1, 2), **changes):
    chunks = tuple(Condition(index) for index in conditions)
    return Call(len(frame_ids), 1, chunks, tuple(frame_ids), 1.0, 0.5, SIZE, **changes)


def scene(rows=FRAMES, size=SIZE, seed=0):
    """Queries and keys of one layer, 2 heads."""
    return draw(rows, 2, size[0] * size[1], 5, seed=seed), draw(rows, 2, TOKENS, 5, seed=seed + 10)


def expected(query, key, phrase, others):
    """The same by whole-batch einsum, at the layer's grid: [N, L]."""
    logits = torch.einsum("nhld,nhsd->nhls", query, key) / query.shape[-1] ** 0.5
    weights = logits.softmax(-1).mean(1)
    return weights[..., phrase].mean(-1) - (weights[..., others].mean(-1) if others else 0)


def observe(phrase=(2, 4), size=SIZE, levels=EVERY):
    """An observer of a phrase in a prompt whose words are the tokens 1 to 4."""
    return PhraseAttention([phrase], [(1, 5)], FRAMES, size, levels)


@pytest.mark.parametrize(
    ("phrase", "others"), [((2, 4), [1, 4]), ((1, 5), [])], ids=["less other words", "the whole prompt"]
)
def test_a_layer_counts_by_attention_to_the_phrase_less_that_to_other_words(phrase, others):
    query, key = scene()
    observer = observe(phrase)
    observer.see(query, key, call(), at_level(0))
    wanted = expected(query, key, list(range(*phrase)), others).view(FRAMES, *SIZE)
    torch.testing.assert_close(observer.maps(), wanted)


def test_layers_and_model_calls_are_averaged_at_the_latents_size():
    observer = observe()
    coarse, fine = scene(size=(1, 2), seed=1), scene(seed=2)
    observer.see(*coarse, call(), at_level(2))
    observer.see(*fine, call(), at_level(0))
    large = torch.nn.functional.interpolate(
        expected(*coarse, [2, 3], [1, 4]).view(FRAMES, 1, 1, 2), SIZE, mode="bilinear"
    )[:, 0]
    wanted = (large + expected(*fine, [2, 3], [1, 4]).view(FRAMES, *SIZE)) / 2
    torch.testing.assert_close(observer.maps(), wanted)


@pytest.mark.parametrize("conditions", [(0, 1), (1, 0), (1, 0, 2)])
def test_only_the_positive_condition_counts_wherever_it_stands(conditions):
    rows = FRAMES * len(conditions)
    query, key = scene(rows)
    observer = observe()
    observer.see(query, key, call(conditions), at_level(0))
    place = FRAMES * conditions.index(0)
    own = slice(place, place + FRAMES)
    wanted = expected(query[own], key[own], [2, 3], [1, 4]).view(FRAMES, *SIZE)
    torch.testing.assert_close(observer.maps(), wanted)


def test_keys_that_frames_share_are_the_same_as_repeated_ones():
    query, key = scene(2 * FRAMES)
    shared, repeated = (observe() for _ in range(2))
    shared.see(query, key[:2], call((1, 0)), at_level(0))
    repeated.see(query, key[:2].repeat_interleave(FRAMES, 0), call((1, 0)), at_level(0))
    assert torch.equal(shared.maps(), repeated.maps())


def test_windows_fill_the_clip_by_absolute_frames_and_overlap_is_averaged():
    query, key = scene()
    whole, parts = (observe() for _ in range(2))
    whole.see(query, key, call(), at_level(0))
    for ids in ([1, 2], [0, 1]):
        parts.see(query[ids], key[ids], call(frame_ids=ids, is_part=True), at_level(0))
    torch.testing.assert_close(parts.maps(), whole.maps())


def test_a_frame_that_no_call_held_is_named():
    observer = observe(levels=frozenset({1}))
    query, key = scene()
    observer.see(query[:2], key[:2], call(frame_ids=(0, 2)), at_level(0))
    with pytest.raises(ValueError, match=r"frame 1 was not seen at levels \[1\]; expected every frame"):
        observer.maps()


def test_a_grid_that_is_not_the_latents_is_refused():
    observer = observe(size=(8, 8))
    with pytest.raises(ValueError, match=r"level 1 has 24 places; expected 2 x 3 for latents of 4 x 6"):
        observer.see(*scene(), call(), at_level(1))


def test_contrast_is_the_root_mean_square_change_where_the_phrase_helps():
    """Changes towards the clip count, changes away from it and those that cancel out do not."""
    latent = torch.zeros(2, 4, 3, 3)
    predictions, without = torch.zeros(2, 1, 2, 4, 3, 3)
    change = torch.tensor([3.0, 0.0, 4.0, 0.0])
    without[0, 1, :, 2, 0] = change  # the phrase removes an error
    predictions[0, 0, :, 1, 1] = change  # the phrase makes one
    predictions[0, 0, :, 0, 0], without[0, 0, :, 0, 0] = change, -change  # as wrong as before
    wanted = torch.zeros(2, 3, 3)
    wanted[1, 2, 0] = 2.5
    torch.testing.assert_close(contrast(predictions, without, latent), wanted)


def test_contrast_weighs_several_passes_together():
    latent, hit = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    predictions, without = torch.stack([hit * 0, hit]), torch.stack([hit * 3, hit * 0])
    # 9 less error in one pass, 1 more in the other
    assert contrast(predictions, without, latent).item() == (3 + 1) / 2
    assert contrast(without, predictions, latent).item() == 0


def test_a_clip_is_normalised_as_a_whole():
    maps = torch.tensor([[[1.0, 2.0]], [[3.0, 5.0]]])
    assert torch.equal(normalise(maps), torch.tensor([[[0.0, 0.25]], [[0.5, 1.0]]]))
    assert torch.equal(normalise(torch.full((2, 1, 2), 7.0)), torch.zeros(2, 1, 2))


def clean(masks, threshold=0.4, dilation=1, hold=0, size=None):
    return clean_masks(masks, size or masks.shape[-2:], threshold=threshold, dilation=dilation, hold=hold)


def test_a_threshold_cuts_above():
    masks = torch.tensor([[[0.3, 0.4, 0.41, 1.0]]])
    assert clean(masks).tolist() == [[[0.0, 0.0, 1.0, 1.0]]]


@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_cell_grows_to_a_square_cut_off_at_the_edge(side):
    masks = torch.zeros(2, 9, 9)
    masks[0, 4, 4] = masks[1, 0, 8] = 1
    grown = clean(masks, dilation=side)
    assert grown.sum((1, 2)).tolist() == [side**2, (side // 2 + 1) ** 2]
    half = side // 2
    assert grown[0, 4 - half : 5 + half, 4 - half : 5 + half].all()


@pytest.mark.parametrize(
    ("hold", "wanted"), [(0, [2]), (1, [1, 2, 3]), (2, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])]
)
def test_a_cell_is_held_before_and_after(hold, wanted):
    masks = torch.zeros(5, 2, 2)
    masks[2, 1, 0] = 1
    held = clean(masks, hold=hold)
    assert held[:, 1, 0].nonzero().flatten().tolist() == wanted
    assert held.sum() == len(wanted)


def test_masks_of_pictures_come_to_cells_by_their_mean():
    masks = torch.zeros(1, 16, 16)
    masks[0, :8, :4] = 1  # half of a cell of 8 x 8
    masks[0, 8:, 8:] = 1
    assert clean(masks, threshold=0.4, size=(2, 2)).tolist() == [[[1.0, 0.0], [0.0, 1.0]]]
    assert clean(masks, threshold=0.5, size=(2, 2)).tolist() == [[[0.0, 0.0], [0.0, 1.0]]]


def test_a_disc_is_found_again_in_a_noisy_map():
    """Recovered from its map: what the defaults are worth where the map is good."""
    grid = torch.arange(64.0)
    disc = ((grid[:, None] - 30) ** 2 + (grid[None] - 35) ** 2 < 144).float().expand(4, -1, -1)
    noise = draw(4, 64, 64)
    found = clean(normalise(2 + disc + 0.08 * noise), threshold=0.5)
    union = ((found + disc) > 0).sum()
    assert (found * disc).sum() / union > 0.99
    another = disc.roll(24, 1)
    assert (found * another).sum() / ((found + another) > 0).sum() < 0.1


def test_wrong_masks_are_refused():
    with pytest.raises(ValueError, match=r"mask is \(3, 4, 4\), latent has 4 frames; expected"):
        check_cleaning(torch.zeros(3, 4, 4), 4, dilation=1)
    with pytest.raises(ValueError, match=r"dilation=4 is even; expected an odd .* such as 5"):
        check_cleaning(torch.zeros(1, 4, 4), 1, dilation=4)


def test_wrong_latents_are_refused():
    with pytest.raises(ValueError, match=r"latent: got one of a video model, \[1, 4, 2, 8, 8\]"):
        check_clip({"samples": torch.zeros(1, 4, 2, 8, 8)})
    broken = torch.zeros(2, 4, 8, 8)
    broken[1, 0, 3, 3] = torch.nan
    with pytest.raises(ValueError, match="latent holds NaN or infinity; expected finite"):
        check_clip({"samples": broken})
