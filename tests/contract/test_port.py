"""What every host promises (``host/contract.py``).

They need the fixtures ``port``, ``demo`` (MODEL, CLIP, VAE), ``motion`` (the bundled module), ``scene`` and
``kind_folder``, which gives an empty folder where the host looks for a kind of model file.
"""

from __future__ import annotations

import copy
import json
from pathlib import PurePath

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import CheckpointError, PredictionError
from frameloom.models.motion.checkpoint import MotionWeights
from frameloom.models.motion.edit import motion_edit
from frameloom.models.motion.module import initialise
from frameloom.models.network.sizes import DEMO
from frameloom.models.network.unet import SD1, layer_grid
from frameloom.models.training import Learner, hash_weights, recompute
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION
from frameloom.tests.support.layout import CIRCLE, CROSS, lay_out, obey
from frameloom.tests.support.motion import tiny_module

BUNDLED_MOTION = "frameloom_demo_motion.safetensors"
NAN = float("nan")


def test_a_family_is_known_of_a_model_and_its_parts(port, demo):
    """They agree in what can be told of each."""
    model, text, vae = (port.family(part) for part in demo)
    assert (model.name, model.is_sd1, model.tokens) == ("Stable Diffusion 1.x", True, DEMO.text.hidden_size)
    assert text.name == model.name
    assert model.makes == text.makes == vae.makes == "pictures"
    assert model.channels == vae.channels == 4


def test_phrases_have_spans(port, demo):
    text = "a (big:1.3) red circle, moving right, a (big:1.3) red circle"
    conditioning, spans = port.encode_text(demo[1], text)
    length = conditioning[0][0].shape[1]
    assert set(spans) == {"a big red circle", "moving right"}
    assert len(spans["a big red circle"]) == 2
    ((first, last),) = spans["moving right"]
    assert last - first == 2
    assert 0 < first < last <= length


def test_spans_go_on_in_the_next_chunk(port, demo):
    conditioning, spans = port.encode_text(demo[1], ", ".join(["a red circle"] * 40) + ", moving right")
    ((first, last),) = spans["moving right"]
    assert first > 77
    assert last - first == 2
    assert conditioning[0][0].shape[1] % 77 == 0


def test_some_frames_of_a_clip_have_their_own_part_of_its_conditions(port, demo, scene):
    """Tokens for every frame; the same frames by themselves are drawn as in the clip."""
    generator = torch.Generator().manual_seed(2)
    tokens = scene.positive[0][0] + torch.randn(4, 1, 1, generator=generator) * 0.5
    clip = [[tokens, scene.positive[0][1]]]
    whole = scene.run(demo[0], positive=clip)
    some = scene.run(demo[0], positive=port.select_frames(clip, [0, 3]), noise=scene.noise(4)[[0, 3]])
    torch.testing.assert_close(some, whole[[0, 3]], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(
        scene.run(demo[0], positive=port.select_frames(clip, [0, 1]), noise=scene.noise(4)[[0, 3]])[1],
        some[1],
        atol=1e-2,
    )
    assert torch.equal(clip[0][0], tokens)


@pytest.mark.parametrize(
    ("text", "phrase", "wanted"),
    [
        ("a big red circle on navy", "red circle", [(3, 5)]),
        ("a big Red  Circle on navy", "red CIRCLE", [(3, 5)]),
        ("a (big:1.3) (red:0.8) circle, on navy", "big red circle", [(2, 5)]),
        ("a (big red circle:1.3) on navy", "(red circle:1.5)", [(3, 5)]),
        ("a red circle, a red circle", "red circle", [(2, 4), (6, 8)]),
        (", ".join(["a big cross"] * 40) + ", moving right", "cross, moving right", [(163, 167)]),
        (", ".join(["a big cross"] * 19) + ", moving right", "cross, moving right", [(75, 76), (78, 81)]),
    ],
)
def test_any_phrase_within_the_prompt_has_spans(port, demo, text, phrase, wanted):
    """Words and commas are a token each; a chunk has 75 of them between its start and its end."""
    _, spans = port.encode_text(demo[1], text, [phrase])
    assert spans[phrase] == wanted
    assert set(spans) - {phrase} == set(port.encode_text(demo[1], text)[1]) - {phrase}


@pytest.mark.parametrize("phrase", ["circle red", "green circle", "red circ", ""])
def test_a_phrase_that_the_prompt_does_not_have_is_refused(port, demo, phrase):
    with pytest.raises(ValueError, match=rf"phrase='{phrase}' is not in the prompt 'a red circle'; expected"):
        port.encode_text(demo[1], "a red circle", [phrase])


def test_a_phrase_that_a_prompt_may_lack_has_no_spans_there(port, demo):
    _, spans = port.encode_text(demo[1], "a red circle", ["red"], ["a", "and"])
    assert {name: spans[name] for name in ("a", "red", "and")} == {"a": [(1, 2)], "red": [(2, 3)], "and": []}


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("a big red circle on navy", "a big on navy"),
        ("a (big:1.3) (red circle:0.8) on (navy:0.5)", "a (big:1.3) on (navy:0.5)"),
        ("a (big red circle:1.3) on navy", "a (big:1.3) on navy"),
        ("red circle, a red circle", ", a"),
        ("Red Circle", ""),
    ],
)
def test_without_a_phrase_a_prompt_is_the_rest_of_it(port, demo, text, rest):
    gone = port.encode_text(demo[1], text, ["red circle"])[1]["red circle"]
    (without,) = port.encode_without(demo[1], text, gone)
    (wanted,) = port.encode_text(demo[1], rest)[0]
    assert torch.equal(without[0], wanted[0])
    assert torch.equal(without[1]["pooled_output"], wanted[1]["pooled_output"])


def test_without_a_phrase_other_chunks_stay(port, demo):
    text = ", ".join(["a big cross"] * 40) + ", moving right"
    whole, without = (
        port.encode_text(demo[1], text)[0][0][0],
        port.encode_without(demo[1], text, [(164, 165)])[0][0],
    )
    assert whole.shape == without.shape
    assert torch.equal(whole[:, :154], without[:, :154])
    assert not torch.equal(whole[:, 154:], without[:, 154:])


def test_sigmas_and_timesteps_agree(port, demo):
    table = STABLE_DIFFUSION.sigmas()
    assert port.timestep_to_sigma(demo[0], 881) == pytest.approx(float(table[881]), rel=1e-5)
    assert port.sigma_to_timestep(demo[0], float(table[400])) == 400
    sigmas = port.sigmas(demo[0], 10, "karras")
    assert sigmas.shape == (11,)
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


def test_noise_of_sigma_1_has_the_units_of_a_socket(port, demo, scene):
    """Stopped at its first level, a run has only its noise to show."""
    sigmas = torch.tensor([2.0, 1.9999])
    out = port.sample(
        demo[0], scene.positive, scene.negative, {"samples": torch.zeros(2, 4, 16, 16)}, noise=scene.noise(2),
        sigmas=sigmas, sampler="euler", cfg=1.0,
    )["samples"]  # fmt: skip
    wanted = 2 * port.noise_unit(demo[0]) * scene.noise(2)
    torch.testing.assert_close(out, wanted, rtol=0.01, atol=0.01)


def test_prediction_is_the_samplers_first_step(port, demo, scene):
    """Euler from sigma to 0 in one step is the prediction itself."""
    sigma, scale = 5.0, 0.18215
    noise = scene.noise(2)
    one_step = port.sample(
        demo[0], scene.positive, scene.negative, {"samples": torch.zeros(2, 4, 16, 16)}, noise=noise,
        sigmas=torch.tensor([sigma, 0.0]), sampler="euler", cfg=1.0,
    )["samples"]  # fmt: skip
    predicted = port.predict(demo[0], scene.positive, {"samples": sigma * noise / scale}, sigma)
    torch.testing.assert_close(predicted, one_step, rtol=1e-4, atol=1e-4)


def test_mask_holds_what_it_says(port, demo, scene):
    held = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(9))
    mask = torch.ones(4, 1, 16, 16)
    mask[0] = 0
    out = port.sample(
        demo[0], scene.positive, scene.negative, {"samples": held, "batch_index": [0, 1, 2, 3]}, noise=scene.noise(4),
        sigmas=port.sigmas(demo[0], 3, "normal"), sampler="euler", cfg=1.0, mask=mask,
    )  # fmt: skip
    torch.testing.assert_close(out["samples"][0], held[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(out["samples"][1], held[1])
    assert out["batch_index"] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("latent", "cfg", "said"), [(NAN, 2.0, "^latent: got NaN"), (0.0, NAN, "^sampled latents: ")]
)
def test_a_run_that_is_not_finite_is_stopped(port, demo, scene, latent, cfg, said):
    with pytest.raises(PredictionError, match=said):
        port.sample(
            demo[0], scene.positive, scene.negative, {"samples": torch.full((2, 4, 16, 16), latent)},
            noise=scene.noise(2), sigmas=port.sigmas(demo[0], 1, "normal"), sampler="euler", cfg=cfg,
        )  # fmt: skip


def test_the_bundled_module_is_listed_first_and_resolved(port):
    assert port.list_files("animatediff_models")[0] == BUNDLED_MOTION
    assert port.resolve("animatediff_models", BUNDLED_MOTION).name == "motion.safetensors"
    with pytest.raises(ValueError, match=r"'\.\./secret\.safetensors'"):
        port.resolve("animatediff_models", "../secret.safetensors")


def test_a_clone_has_the_edit_and_the_model_has_not(port, demo, motion, scene):
    before = scene.run(demo[0])
    moving = scene.moving(demo[0], motion)
    assert not torch.allclose(scene.run(moving), before, atol=1e-2)
    assert torch.equal(scene.run(demo[0]), before)


def test_strength_0_and_a_range_that_never_comes_are_bit_identical_to_plain(port, demo, motion, scene):
    plain = scene.run(demo[0])
    assert torch.equal(scene.run(scene.moving(demo[0], motion, 0.0)), plain)
    late = scene.moving(demo[0], motion, start_percent=0.9999, end_percent=0.99991)
    assert torch.equal(scene.run(late), plain)


def test_two_edits_behave_as_both(port, demo, motion, scene):
    once = scene.moving(demo[0], motion, 0.6)
    with_nothing = scene.moving(once, motion, 0.0)
    twice = scene.moving(once, motion, 0.6)
    assert torch.equal(scene.run(with_nothing), scene.run(once))
    assert not torch.allclose(scene.run(twice), scene.run(once), atol=1e-3)


def test_a_schedule_edit_replaces_the_sigmas_of_the_clone_alone(port, demo):
    clone = port.install(demo[0], Edit("schedule", schedule=ANIMATEDIFF))
    assert port.timestep_to_sigma(clone, 999) == pytest.approx(float(ANIMATEDIFF.sigmas()[999]), rel=1e-5)
    assert port.timestep_to_sigma(demo[0], 999) == pytest.approx(
        float(STABLE_DIFFUSION.sigmas()[999]), rel=1e-5
    )


def test_more_frames_than_the_encoding_holds_are_refused(port, demo, motion, scene):
    with pytest.raises(ValueError, match=r"frames=33 .* 32"):
        scene.run(port.install(demo[0], motion_edit("test", motion)), frames=33)


def test_under_cross_frame_attention_the_anchor_is_what_it_is_by_itself(port, demo, scene):
    crossed, plain = scene.run(scene.crossing(demo[0])), scene.run(demo[0])
    torch.testing.assert_close(crossed[0], plain[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(crossed[1], plain[1], atol=1e-2)


def test_under_cross_frame_attention_other_frames_are_apart(port, demo, scene):
    """Another frame never changes the anchor, and frames may come in any order."""
    crossed, noise = scene.crossing(demo[0]), scene.noise(4)
    first = scene.run(crossed, noise=noise)
    changed = noise.clone()
    changed[2] = -changed[2]
    second = scene.run(crossed, noise=changed)
    assert torch.equal(second[[0, 1, 3]], first[[0, 1, 3]])
    assert not torch.allclose(second[2], first[2], atol=1e-2)
    order = [0, 3, 1, 2]
    torch.testing.assert_close(scene.run(crossed, noise=noise[order]), first[order], rtol=1e-4, atol=1e-5)


def test_equal_noise_gives_equal_frames_under_a_chosen_anchor(port, demo, scene):
    noise = scene.noise(4)
    noise[[1, 3]] = noise[0].clone()
    frames = scene.run(scene.crossing(demo[0], anchor="chosen frame", frame=2), noise=noise)
    torch.testing.assert_close(frames[[0, 1]], frames[[3, 3]], rtol=1e-4, atol=1e-5)
    alone = scene.run(demo[0], noise=noise)
    torch.testing.assert_close(frames[2], alone[2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(frames[0], alone[0], atol=1e-2)


def test_each_frame_reads_the_one_before_it(port, demo, scene):
    crossed, noise = scene.crossing(demo[0], anchor="previous"), scene.noise(4)
    before = scene.run(crossed, noise=noise)
    noise[2] = -noise[2]
    after = scene.run(crossed, noise=noise)
    changed = [not torch.allclose(one, other, atol=1e-3) for one, other in zip(before, after, strict=True)]
    assert changed == [False, False, True, True]


@pytest.mark.parametrize("settings", [
    {"strength": 0.0}, {"start_percent": 0.9999, "end_percent": 0.99991}, {"levels": frozenset()},
])  # fmt: skip
def test_cross_frame_attention_that_does_not_act_is_bit_identical_to_plain(port, demo, scene, settings):
    assert torch.equal(scene.run(scene.crossing(demo[0], **settings)), scene.run(demo[0]))


def test_levels_and_strength_of_cross_frame_attention_each_count(port, demo, scene):
    whole = scene.run(scene.crossing(demo[0]))
    for settings in (
        {"levels": frozenset({0})},
        {"levels": frozenset({3})},
        {"strength": 0.5},
        {"end_percent": 0.3},
        {"anchor": "first + previous"},
    ):
        part = scene.run(scene.crossing(demo[0], **settings))
        assert torch.isfinite(part).all()
        assert not torch.allclose(part, whole, atol=1e-3), settings


def test_cross_frame_attention_and_a_motion_module_act_together(port, demo, motion, scene):
    both = scene.run(scene.moving(scene.crossing(demo[0]), motion))
    other_order = scene.run(scene.crossing(scene.moving(demo[0], motion)))
    assert torch.equal(both, other_order)
    assert not torch.allclose(both, scene.run(scene.moving(demo[0], motion)), atol=1e-2)


class Seen:
    """An observer that keeps what it is shown."""

    def __init__(self, levels=SD1.levels):
        self.levels, self.layers = frozenset(levels), []

    def see(self, query, key, call, layer):
        self.layers.append((query, key, call, layer.level))


def predict(port, model, scene, frames=4):
    return port.predict(model, scene.positive, {"samples": 20 * scene.noise(frames)}, 5.0)


def test_an_observer_changes_no_bit_of_a_prediction_and_sees_every_layer_once(port, demo, scene):
    seen = Seen()
    observed = predict(port, port.install(demo[0], Edit("test", observe=seen)), scene)
    assert torch.equal(observed, predict(port, demo[0], scene))
    assert sorted(level for *_, level in seen.layers) == [0] * 5 + [1] * 5 + [2] * 5 + [3]
    for query, key, call, level in seen.layers:
        assert (call.frames, call.frame_ids, [each.index for each in call.conditions]) == (
            4,
            (0, 1, 2, 3),
            [0],
        )
        height, width = layer_grid((16, 16), level)
        assert query.shape[:3] == (4, 2, height * width)
        assert len(key) in (1, 4)
        assert key.shape[1:] == (2, 77, query.shape[3])


def test_an_observer_sees_its_levels_alone_and_the_plain_model_shows_nothing(port, demo, scene):
    seen = Seen({1, 3})
    clone = port.install(demo[0], Edit("test", observe=seen))
    predict(port, demo[0], scene)
    assert seen.layers == []
    predict(port, clone, scene)
    assert {level for *_, level in seen.layers} == {1, 3}


def test_observers_see_both_conditions_of_a_sampler_whatever_their_order(port, demo, scene):
    seen = Seen({0})
    scene.run(port.install(demo[0], Edit("test", observe=seen)))
    assert len(seen.layers) == 3 * 5  # steps, layers
    assert all(sorted(each.index for each in call.conditions) == [0, 1] for _, _, call, _ in seen.layers)
    assert all(len(query) == 8 for query, *_ in seen.layers)


def test_observers_work_beside_all_other_edits(port, demo, motion, scene):
    model = scene.crossing(scene.moving(demo[0], motion))
    first, second = Seen(), Seen({2})
    observed = port.install(port.install(model, Edit("test", observe=first)), Edit("test", observe=second))
    assert torch.equal(predict(port, observed, scene), predict(port, model, scene))
    assert len(first.layers) == 16
    assert len(second.layers) == 5
    assert not torch.equal(first.layers[-1][0], second.layers[-1][0])


@pytest.mark.parametrize("method", [{}, {"gather_percent": 1.0}])
def test_a_layout_that_does_not_act_is_bit_identical_to_plain(port, demo, scene, method):
    laid_out = lay_out(port, demo[1])
    plain = scene.run(demo[0], positive=laid_out)
    assert torch.equal(scene.run(obey(port, demo[0]), positive=port.encode_text(demo[1], "a cross")[0]),
                       scene.run(demo[0], positive=port.encode_text(demo[1], "a cross")[0]))  # fmt: skip
    still = method and {"gather_percent": -1.0}
    assert torch.equal(scene.run(obey(port, demo[0], strength=0.0, **still), positive=laid_out), plain)
    assert torch.equal(scene.run(obey(port, demo[0], end_percent=-1.0, **still), positive=laid_out), plain)
    assert not torch.allclose(scene.run(obey(port, demo[0], **method), positive=laid_out), plain, atol=1e-2)


@pytest.mark.parametrize("method", [{}, {"gather_percent": 1.0}])
def test_a_frames_boxes_change_that_frame_alone(port, demo, scene, method):
    model = obey(port, demo[0], **method)
    before = scene.run(model, positive=lay_out(port, demo[1]))
    stretched = (CIRCLE[0], (CIRCLE[1][0] - 0.3, *CIRCLE[1][1:]))
    (first, last) = (lay_out(port, demo[1], boxes=(box, CROSS)) for box in (CIRCLE, stretched))
    first[0][1]["frameloom"]["reading"].regions[0].tracks[0][0][2] = torch.tensor([0.3, 0.3, 0.6, 0.6])
    after = scene.run(model, positive=first)
    assert torch.equal(after[[0, 1, 3]], before[[0, 1, 3]])
    assert not torch.allclose(after[2], before[2], atol=1e-2)
    assert not torch.allclose(scene.run(model, positive=last)[3], before[3], atol=1e-2)


def test_an_absent_entity_has_no_place_for_its_words(port, demo, scene):
    model = obey(port, demo[0], gather_percent=1.0)
    absent = scene.run(model, positive=lay_out(port, demo[1], boxes=(CIRCLE,), absent=(1,)))
    bare = port.encode_without(demo[1], "a red circle and a blue cross on navy", [(1, 4), (5, 8)])
    torch.testing.assert_close(absent[1], scene.run(demo[0], positive=bare)[1], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(absent[0], scene.run(demo[0], positive=bare)[0], atol=1e-2)


def test_layouts_and_motion_modules_and_cross_frame_attention_act_together(port, demo, motion, scene):
    laid_out = lay_out(port, demo[1])
    one = obey(port, scene.crossing(scene.moving(demo[0], motion)), gather_percent=1.0)
    other = scene.moving(scene.crossing(obey(port, demo[0], gather_percent=1.0)), motion)
    both = scene.run(one, positive=laid_out)
    assert torch.equal(both, scene.run(other, positive=laid_out))
    assert not torch.allclose(
        both, scene.run(scene.crossing(scene.moving(demo[0], motion)), positive=laid_out), atol=1e-2
    )


def test_a_layout_beside_other_conditions_of_its_side(port, demo, scene):
    """Of unlike lengths, and masked; two layouts on one side are refused."""
    model, laid_out = obey(port, demo[0], gather_percent=1.0), lay_out(port, demo[1])
    long, _ = port.encode_text(demo[1], ", ".join(["a big cross"] * 40))
    mask = torch.zeros(1, 16, 16)
    mask[:, :, :8] = 1
    hidden = [[long[0][0], {**long[0][1], "mask": torch.zeros(1, 16, 16), "mask_strength": 1.0}]]
    alone = scene.run(model, positive=laid_out)
    torch.testing.assert_close(scene.run(model, positive=[*laid_out, *hidden]), alone, rtol=1e-3, atol=1e-4)
    half = [[long[0][0], {**long[0][1], "mask": mask, "mask_strength": 1.0}]]
    assert not torch.allclose(scene.run(model, positive=[*half, *laid_out]), alone, atol=1e-2)
    with pytest.raises(ValueError, match="got 2 conditions with a layout combined into one"):
        scene.run(model, positive=[*laid_out, *laid_out])


def test_more_frames_than_the_scene_has_are_refused(port, demo, scene):
    with pytest.raises(
        ValueError, match=r"got frame 3 to sample; expected frames below 3, the scene's length"
    ):
        scene.run(obey(port, demo[0]), positive=lay_out(port, demo[1], frames=3))


def test_training_goes_through_the_unet_and_its_edits(port, demo, motion, scene):
    forward = port.train_forward(scene.moving(demo[0], motion), 4)
    plain = port.train_forward(demo[0], 4)
    with torch.inference_mode(False):
        generator = torch.Generator().manual_seed(2)
        device = port.compute_device()
        noisy = torch.randn(4, 4, 16, 16, generator=generator).to(device).requires_grad_(True)
        rest = torch.full((4,), 300, device=device), torch.randn(4, 77, 64, generator=generator).to(device)
        (gradient,) = torch.autograd.grad(forward(noisy, *rest)[0].sum(), noisy)
        (alone,) = torch.autograd.grad(plain(noisy, *rest)[0].sum(), noisy)
    assert gradient[3].abs().max() > 0, "frames do not mix"
    assert alone[3].abs().max() == 0


def test_training_goes_through_cross_frame_attention(port, demo, scene):
    forward = port.train_forward(scene.crossing(demo[0]), 3)
    with torch.inference_mode(False):
        generator = torch.Generator().manual_seed(2)
        device = port.compute_device()
        noisy = torch.randn(3, 4, 16, 16, generator=generator).to(device).requires_grad_(True)
        tokens = torch.randn(3, 77, 64, generator=generator).to(device)
        out = forward(noisy, torch.full((3,), 300, device=device), tokens)
        (gradient,) = torch.autograd.grad(out[1].sum(), noisy)
    reached = gradient.abs().amax((1, 2, 3)) > 0
    assert reached.tolist() == [True, True, False]


def learner_of(port, module=None, *, clip_norm=False):
    """A module with random weights that want gradients, on the host's device."""
    module = (module or tiny_module(middle=False)).to(port.compute_device()).requires_grad_(True)
    return Learner(
        module, MotionWeights("new", "frameloom", module.size, module.state_dict(), None, clip_norm)
    )


def training_case(port, frames=4):
    generator, device = torch.Generator().manual_seed(2), port.compute_device()
    noisy, tokens = (
        torch.randn(frames, *size, generator=generator).to(device) for size in ((4, 8, 8), (77, 64))
    )
    return noisy, torch.full((frames,), 300, device=device), tokens


def test_a_trainer_is_told_of_the_base(port, demo):
    base = port.base(demo[0])
    assert base.prediction_type == DEMO.prediction_type
    assert dict(base.widths) == DEMO.unet.slots


def test_a_module_that_learns_runs_as_a_loaded_one_and_alone_has_gradients(port, demo):
    with torch.inference_mode(False):
        learner = learner_of(port)
        forward = port.train_forward(demo[0], 4, learner)
        out = forward(*training_case(port))
        out.square().mean().backward()
        loaded = port.install(demo[0], motion_edit("motion", port.load_motion(learner.weights)))
        torch.testing.assert_close(
            out, port.train_forward(loaded, 4)(*training_case(port)), rtol=1e-4, atol=1e-5
        )
    assert all(parameter.grad is not None for parameter in learner.network.parameters())
    assert [
        value for value in forward.unet.parameters() if value.requires_grad or value.grad is not None
    ] == []


def test_a_module_starts_as_the_frozen_model_itself(port, demo):
    """To the last bit: its output projections are zero."""
    with torch.inference_mode(False):
        learner = learner_of(port)
        initialise(learner.network)
        moving = port.train_forward(demo[0], 4, learner)(*training_case(port))
        assert torch.equal(moving, port.train_forward(demo[0], 4)(*training_case(port)))


@pytest.mark.parametrize("clip_norm", [False, True])
def test_saving_memory_changes_no_bit_of_a_gradient(port, demo, scene, clip_norm):
    """Blocks that run again do so with the edits on, in the gradient's own threads."""
    gradients = []
    for save_memory in (False, True):
        with torch.inference_mode(False):
            learner = learner_of(port, clip_norm=clip_norm)
            forward = port.train_forward(scene.crossing(demo[0]), 4, learner, save_memory=save_memory)
            if save_memory:
                for slot in learner.network.slots:
                    recompute(learner.network.transformer(slot))
            forward(*training_case(port)).square().mean().backward()
            gradients.append({name: value.grad for name, value in learner.network.named_parameters()})
    plain, again = gradients
    assert all(torch.equal(plain[name], again[name]) for name in plain)


def test_the_hash_of_a_base_is_of_its_every_weight(port, demo):
    one, other = (port.train_forward(demo[0], 4) for _ in range(2))
    before = one.hash_weights()
    assert before == other.hash_weights()
    with torch.inference_mode(False), torch.no_grad():
        own = copy.deepcopy(one.unet)
        next(reversed(list(own.parameters()))).view(-1)[-1] += 1e-6
    assert hash_weights(own) != before
    assert one.hash_weights() == before


def test_a_model_that_moves_already_is_not_trained(port, demo, motion, scene):
    with pytest.raises(
        ValueError, match="model: got one with a motion module on it; expected the model alone"
    ):
        port.train_forward(scene.moving(demo[0], motion), 4, learner_of(port))


def test_a_base_of_another_family_is_not_trained(port, demo):
    with pytest.raises(CheckpointError, match=r"new: .* is 64 channels wide, the model has 32 there"):
        port.train_forward(demo[0], 4, learner_of(port, tiny_module(width=64)))


def test_a_saved_file_carries_the_prompt_and_the_editors_extras(port):
    class Running:
        class hidden:
            prompt = {"1": {"class_type": "X", "inputs": {}}}
            extra_pnginfo = {"workflow": {"nodes": []}}

    texts = port.file_texts(Running)
    assert {name: json.loads(text) for name, text in texts.items()} == {
        "prompt": Running.hidden.prompt,
        "workflow": {"nodes": []},
    }
    Running.hidden.prompt = Running.hidden.extra_pnginfo = None
    assert port.file_texts(Running) == {}


def test_a_language_model_is_a_gguf_file_or_a_folder(port, kind_folder):
    folder = kind_folder("llm")
    names = (
        "a.gguf",
        "deep/b.GGUF",
        "deep/config.json",
        "small/config.json",
        "small/model.safetensors",
        "notes.json",
    )
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert [PurePath(name).as_posix() for name in port.list_files("llm")] == [
        "a.gguf",
        "deep/b.GGUF",
        "small",
    ]
    assert port.resolve("llm", "a.gguf") == folder / "a.gguf"
    assert port.resolve("llm", "small") == folder / "small"
    for name in ("../llm", "small/..", "deep", "small/model.safetensors"):
        with pytest.raises(ValueError, match="llm: "):
            port.resolve("llm", name)


def test_only_safetensors_are_layout_priors(port, kind_folder):
    for name in ("prior.safetensors", "prior.pt"):
        (kind_folder("layout_priors") / name).touch()
    assert port.list_files("layout_priors") == [
        "frameloom_demo_layout_prior.safetensors",
        "prior.safetensors",
    ]


def test_a_new_model_file_is_numbered_and_listed_by_the_name_it_was_given(port, kind_folder):
    folder = kind_folder("animatediff_motion_lora")
    for number in (1, 2):
        name, path = port.new_model("animatediff_motion_lora", "mine/boxes", "safetensors")
        assert PurePath(name).as_posix() == f"mine/boxes_0000{number}_.safetensors"
        assert path == folder / "mine" / f"boxes_0000{number}_.safetensors"
        assert not path.exists()
        path.touch()
        assert name in port.list_files("animatediff_motion_lora")
        assert port.resolve("animatediff_motion_lora", name) == path
    with pytest.raises(
        ValueError, match=r"name='\.\./boxes' leads out of the folder animatediff_motion_lora"
    ):
        port.new_model("animatediff_motion_lora", "../boxes", "safetensors")
