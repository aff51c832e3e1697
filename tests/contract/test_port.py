"""What every host promises (``host/contract.py``) that no other file of this folder says."""

from __future__ import annotations

import json
from pathlib import PurePath

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import CheckpointError, PredictionError
from frameloom.models.motion.edit import motion_edit
from frameloom.models.network.sizes import DEMO
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION, BetaSchedule, MeanSchedule
from frameloom.tests.support.layout import CIRCLE, lay_out, obey
from frameloom.tests.support.motion import tiny_weights
from frameloom.tests.support.parts import Every
from frameloom.tests.support.scene import SIDE

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
    others = scene.run(demo[0], positive=port.select_frames(clip, [0, 1]), noise=scene.noise(4)[[0, 3]])
    assert not torch.allclose(others[1], some[1], atol=1e-2)
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
    out = scene.run(demo[0], sigmas=torch.tensor([2.0, 1.9999]), cfg=1.0)
    torch.testing.assert_close(out, 2 * port.noise_unit(demo[0]) * scene.noise(), rtol=0.01, atol=0.01)


def test_prediction_is_the_samplers_first_step(port, demo, scene):
    """Euler from sigma to 0 in one step is the prediction itself."""
    sigma, scale = 5.0, 0.18215
    one_step = scene.run(demo[0], sigmas=torch.tensor([sigma, 0.0]), cfg=1.0)
    predicted = port.predict(demo[0], scene.positive, {"samples": sigma * scene.noise() / scale}, sigma)
    torch.testing.assert_close(predicted, one_step, rtol=1e-4, atol=1e-4)


def test_mask_holds_what_it_says(port, demo, scene):
    held, mask = scene.noise().flip(0), torch.ones(4, 1, SIDE, SIDE)
    mask[0] = 0
    out = port.sample(
        demo[0], scene.positive, scene.negative, {"samples": held, "batch_index": [0, 1, 2, 3]}, noise=scene.noise(),
        sigmas=port.sigmas(demo[0], 3, "normal"), sampler="euler", cfg=1.0, mask=mask,
    )  # fmt: skip
    torch.testing.assert_close(out["samples"][0], held[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(out["samples"][1], held[1])
    assert out["batch_index"] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("latent", "cfg", "said"), [(NAN, 2.0, "^latent: got NaN"), (0.0, NAN, "^sampled latents: ")]
)
def test_a_run_that_is_not_finite_is_stopped(demo, scene, latent, cfg, said):
    with pytest.raises(PredictionError, match=said):
        scene.run(
            demo[0], latent=torch.full((4, 4, SIDE, SIDE), latent), sigmas=torch.tensor([5.0, 0.0]), cfg=cfg
        )


def test_the_bundled_module_is_listed_first_and_resolved(port):
    assert port.list_files("animatediff_models")[0] == BUNDLED_MOTION
    assert port.resolve("animatediff_models", BUNDLED_MOTION).name == "motion.safetensors"
    with pytest.raises(ValueError, match=r"'\.\./secret\.safetensors'"):
        port.resolve("animatediff_models", "../secret.safetensors")


def test_a_clone_has_the_edit_and_the_model_has_not(demo, moving, scene):
    before = scene.run(demo[0])
    assert not torch.allclose(scene.run(moving), before, atol=1e-2)
    assert torch.equal(scene.run(demo[0]), before)


def test_a_module_of_another_width_is_refused(port, demo):
    motion = port.load_motion(tiny_weights(width=64))
    with pytest.raises(
        CheckpointError, match=r"mm.safetensors: down_blocks.0.motion_modules.0 is 64 channels wide"
    ):
        port.install(demo[0], motion_edit("motion", motion))


@pytest.mark.parametrize(
    "idle", [{"strength": 0.0}, {"start_percent": 0.9999, "end_percent": 0.99991}], ids=["strength", "range"]
)
def test_a_module_that_does_not_act_is_bit_identical_to_plain(demo, motion, scene, idle):
    assert torch.equal(scene.run(scene.moving(demo[0], motion, **idle)), scene.drawn(demo[0]))


def test_a_single_frame_is_bit_identical_to_plain(demo, moving, scene):
    assert torch.equal(scene.run(moving, frames=1), scene.run(demo[0], frames=1))


@pytest.mark.parametrize(
    "schedule", [ANIMATEDIFF, MeanSchedule(), BetaSchedule("cosine"), BetaSchedule("sqrt")]
)
def test_a_schedule_edit_replaces_the_sigmas_of_the_clone_alone(port, demo, schedule):
    clone = port.install(demo[0], Edit("schedule", schedule=schedule))
    for timestep in (0, 500, 999):
        wanted = pytest.approx(float(schedule.sigmas()[timestep]), rel=1e-4)
        assert port.timestep_to_sigma(clone, timestep) == wanted
    assert port.timestep_to_sigma(demo[0], 999) == pytest.approx(
        float(STABLE_DIFFUSION.sigmas()[999]), rel=1e-5
    )


def test_under_cross_frame_attention_other_frames_are_apart(demo, scene):
    """The anchor is what it is by itself, another frame never changes it, and frames may come in any order."""
    crossed, noise, plain = scene.crossing(demo[0]), scene.noise(), scene.drawn(demo[0])
    first = scene.run(crossed)
    torch.testing.assert_close(first[0], plain[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(first[1], plain[1], atol=1e-2)
    changed = noise.clone()
    changed[2] = -changed[2]
    second = scene.run(crossed, noise=changed)
    assert torch.equal(second[[0, 1, 3]], first[[0, 1, 3]])
    assert not torch.allclose(second[2], first[2], atol=1e-2)
    order = [0, 3, 1, 2]
    torch.testing.assert_close(scene.run(crossed, noise=noise[order]), first[order], rtol=1e-4, atol=1e-5)


def test_each_frame_reads_the_one_before_it(demo, scene):
    crossed, noise = scene.crossing(demo[0], anchor="previous"), scene.noise()
    before = scene.run(crossed, noise=noise)
    noise[2] = -noise[2]
    after = scene.run(crossed, noise=noise)
    changed = [not torch.allclose(one, other, atol=1e-3) for one, other in zip(before, after, strict=True)]
    assert changed == [False, False, True, True]


@pytest.mark.parametrize("settings", [{"strength": 0.0}, {"levels": frozenset()}], ids=["strength", "levels"])
def test_cross_frame_attention_that_does_not_act_is_bit_identical_to_plain(demo, scene, settings):
    assert torch.equal(scene.run(scene.crossing(demo[0], **settings)), scene.drawn(demo[0]))


def test_an_observer_sees_queries_and_keys_of_every_layer(port, demo, scene):
    seen = Every()
    scene.predict(port.install(demo[0], Edit("test", observe=seen)))
    assert [layer for *_, layer in seen.seen] == list(DEMO.unet.layers)
    for query, key, layer in seen.seen:
        height, width = layer.grid((SIDE, SIDE))
        assert query.shape[:3] == (4, 2, height * width)
        assert len(key) in (1, 4)
        assert key.shape[1:] == (2, 77, query.shape[3])


@pytest.mark.parametrize("method", [{}, {"gather_percent": 1.0}], ids=["bias", "bias and gather"])
def test_a_layout_that_does_not_act_is_bit_identical_to_plain(port, demo, scene, method):
    laid_out, bare = lay_out(port, demo[1]), port.encode_text(demo[1], "a cross")[0]
    plain = scene.run(demo[0], positive=laid_out)
    still = obey(port, demo[0], strength=0.0, **(method and {"gather_percent": -1.0}))
    assert torch.equal(scene.run(still, positive=laid_out), plain)
    model = obey(port, demo[0], **method)
    assert torch.equal(scene.run(model, positive=bare), scene.run(demo[0], positive=bare))
    assert not torch.allclose(scene.run(model, positive=laid_out), plain, atol=1e-2)


@pytest.mark.parametrize("method", [{}, {"gather_percent": 1.0}], ids=["bias", "bias and gather"])
def test_a_frames_boxes_change_that_frame_alone(port, demo, scene, method):
    model = obey(port, demo[0], **method)
    before, moved = lay_out(port, demo[1]), lay_out(port, demo[1])
    moved[0][1]["frameloom"]["reading"].regions[0].tracks[0][0][2] = torch.tensor([0.3, 0.3, 0.6, 0.6])
    before, after = (scene.run(model, positive=each) for each in (before, moved))
    assert torch.equal(after[[0, 1, 3]], before[[0, 1, 3]])
    assert not torch.allclose(after[2], before[2], atol=1e-2)


def test_an_absent_entity_has_no_place_for_its_words(port, demo, scene):
    model = obey(port, demo[0], gather_percent=1.0)
    absent = scene.run(model, positive=lay_out(port, demo[1], boxes=(CIRCLE,), absent=(1,)))
    bare = port.encode_without(demo[1], "a red circle and a blue cross on navy", [(1, 4), (5, 8)])
    torch.testing.assert_close(absent[1], scene.run(demo[0], positive=bare)[1], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(absent[0], scene.run(demo[0], positive=bare)[0], atol=1e-2)


def test_a_layout_beside_other_conditions_of_its_side(port, demo, scene):
    """Of unlike lengths, and masked; two layouts on one side are refused."""
    model, laid_out = obey(port, demo[0], gather_percent=1.0), lay_out(port, demo[1])
    long, _ = port.encode_text(demo[1], ", ".join(["a big cross"] * 40))
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, :, :4] = 1
    hidden = [[long[0][0], {**long[0][1], "mask": torch.zeros_like(mask), "mask_strength": 1.0}]]
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
    names = "a.gguf deep/b.GGUF deep/config.json small/config.json small/model.safetensors notes.json"
    for name in names.split():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    listed = [PurePath(name).as_posix() for name in port.list_files("llm")]
    assert listed == ["a.gguf", "deep/b.GGUF", "small"]
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
