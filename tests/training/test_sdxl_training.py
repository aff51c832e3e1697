"""Training in a narrow SDXL: its loss is diffusers', and its files are read by others."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from einops import rearrange
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import read_motion_weights, to_diffusers
from frameloom.models.motion.lora import merge_loras, read_motion_lora
from frameloom.models.motion.module import MotionModel, motion_size
from frameloom.models.training import hash_weights
from frameloom.models.video.schedules import ANIMATEDIFF, ANIMATEDIFF_SDXL, ZeroTerminalSNR
from frameloom.tests.support.motion import save
from frameloom.tests.support.sdxl_cases import NARROW_SDXL
from frameloom.tests.support.training import module_weights, settings
from frameloom.training.loop import step_generator
from frameloom.training.motion import training as motion_training
from frameloom.training.motion.dataset import drawn_dataset
from frameloom.training.motion.few_steps import FewSteps, few_steps_mse
from frameloom.training.motion.job import MotionJob, encode_dataset, run_job
from frameloom.training.motion.latent_cache import EncodedClips
from frameloom.training.motion.lessons import learn_lora, learn_module, new_module
from frameloom.training.motion.training import draw_batch, train_motion

FRAMES, HEIGHT, WIDTH = 3, 8, 16
PIXELS = (64, 128, 0, 0, 64, 128)  # height and width, top and left of the cut, height and width aimed at
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    """MODEL, CLIP and VAE of a file."""
    from frameloom.headless.text.prompt import Tokenizer
    from frameloom.headless.weights.loading import load_checkpoint
    from frameloom.host.bundled import DEMO_TOKENIZER
    from frameloom.tests.support.sdxl_file import write_sdxl

    path = write_sdxl(tmp_path_factory.mktemp("sdxl") / "sdxl.safetensors")
    return load_checkpoint(path, Tokenizer.from_folder(DEMO_TOKENIZER), CPU)


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """AnimateDiff-SDXL's, as it is read from a file, with random weights beside its sinusoids."""
    from frameloom.tests.support.random_demo import random_state

    network = MotionModel(motion_size(NARROW_SDXL.unet))
    drawn = random_state(network, torch.Generator().manual_seed(4), 0.3)
    state = {name: drawn[name] for name, _ in network.named_parameters()}
    path = tmp_path_factory.mktemp("motion") / "mm_sdxl.safetensors"
    return read_motion_weights(save(path, {**network.state_dict(), **state}))


@pytest.fixture
def job_of(port, sdxl, tmp_path, monkeypatch):
    """Run a job on drawn clips, by SDXL or another model."""

    def go(job, start=None, parts=None, encoded=None):
        monkeypatch.setattr(type(port), "user_dir", lambda self: tmp_path / "user")
        watch = (lambda *_: None) if encoded is None else encoded.append

        def place(_key):
            return tmp_path / "run"

        return run_job(port, job, parts or sdxl, drawn(), start, place, watch, lambda *_: None)

    return go


def drawn():
    return drawn_dataset(2, "circle", 0, frames=FRAMES, width=64, height=64, caption_dropout=0.1)


def random_clips(count=2):
    """Clips that are wider than they are high; row 0 is the empty caption."""
    generator = torch.Generator().manual_seed(7)
    latents = torch.randn(count, FRAMES, 4, HEIGHT, WIDTH, generator=generator)
    tokens = torch.randn(count + 1, 77, 192, generator=generator)
    pooled = torch.randn(count + 1, 128, generator=generator)
    return EncodedClips(latents, tokens, torch.arange(1, count + 1), (), pooled)


def lesson_of(kind, module):
    if kind == "new":
        weights = new_module(NARROW_SDXL.unet.slots, ANIMATEDIFF_SDXL, norm_scope="clip")
        return learn_module(weights, "new", CPU)
    return learn_module(module, "on", CPU) if kind == "continued" else learn_lora(module, 2, "lora", CPU)


def predict_by_diffusers(model, module, noisy, timestep, tokens, pooled):
    """What diffusers' own UNet with its own motion adapter says of one clip, [F, 4, H, W]."""
    plain = UNet2DConditionModel.from_config(model.unet.config)
    plain.load_state_dict(model.unet.state_dict())
    state, config = to_diffusers(module)
    adapter = MotionAdapter(**config)
    adapter.load_state_dict(state)
    moving = UNetMotionModel.from_unet2d(plain, adapter).eval()
    moving.add_embedding.load_state_dict(plain.add_embedding.state_dict())  # which from_unet2d leaves random
    told = {"text_embeds": pooled[None], "time_ids": torch.tensor([PIXELS], dtype=torch.float32)}
    clip = rearrange(noisy, "f c h w -> 1 c f h w")
    return rearrange(
        moving(clip, timestep, tokens.expand(FRAMES, -1, -1), added_cond_kwargs=told).sample,
        "1 c f h w -> f c h w",
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@torch.no_grad()
def test_the_loss_of_a_step_is_diffusers(port, sdxl, module, tmp_path, prediction):
    """Noise, schedule, network, sizes and target, worked out by diffusers alone."""
    model, kind = sdxl[0], {"epsilon": "eps", "v_prediction": "v"}[prediction]
    model = replace(model, base_sampling=replace(model.base_sampling, prediction=kind))
    clips, run = random_clips(), settings(1)
    trained = train_motion(port, model, clips, lesson_of("continued", module), run, lambda key: tmp_path)
    batch = draw_batch(clips, run, step_generator(0, 0))
    assert batch.pooled is not None
    row = next(index for index, tokens in enumerate(clips.tokens) if torch.equal(tokens, batch.tokens[0]))
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.020, beta_schedule="scaled_linear", prediction_type=prediction
    )
    latents, noise, at = batch.latents[0], batch.noise[0], batch.timesteps
    noisy = scheduler.add_noise(latents, noise, at)
    target = noise if kind == "eps" else scheduler.get_velocity(latents, noise, at)
    out = predict_by_diffusers(model, module, noisy, int(at), clips.tokens[row], clips.pooled[row])
    assert trained.losses[0] == pytest.approx(float((out - target).square().mean()), rel=1e-5)


def test_a_new_module_alone_changes_and_its_file_is_animatediffs_for_sdxl(port, sdxl, job_of, tmp_path):
    """With 15 slots, norms over the clip, 32 positions and AnimateDiff-SDXL's schedule; diffusers reads it whole."""
    networks = [sdxl[0].unet, sdxl[1].network, sdxl[1].larger, sdxl[2].network]
    before = [hash_weights(each) for each in networks]
    trained = job_of(MotionJob("module", "learned", settings(2), beta_schedule=ANIMATEDIFF_SDXL))
    assert [hash_weights(each) for each in networks] == before
    assert port.train_forward(sdxl[0], FRAMES).hash_weights() == trained.base
    read = read_motion_weights(tmp_path / "run" / "motion.safetensors")
    wanted = MotionModel(motion_size(NARROW_SDXL.unet)).state_dict()
    assert {key: value.shape for key, value in read.state.items()} == {
        key: value.shape for key, value in wanted.items()
    }
    assert len(read.size.channels) == 15
    assert (read.size.norm_scope, read.size.max_frames, read.clip_norm) == ("clip", 32, False)
    assert (read.family, read.beta_schedule) == ("frameloom", ANIMATEDIFF_SDXL)
    start = new_module(NARROW_SDXL.unet.slots, ANIMATEDIFF_SDXL, norm_scope="clip").state
    kept = {key for key, value in read.state.items() if torch.equal(value, start[key])}
    assert kept == {key for key in start if key.endswith(".pe")}
    state, config = to_diffusers(read)
    MotionAdapter(**config).load_state_dict(state)  # which raises for any key that it does not know, or lacks


@pytest.mark.parametrize(("kind", "few"), [("new", None), ("lora", None), ("continued", FewSteps(2, 4))])
def test_a_killed_run_goes_on_to_the_same_curve_and_weights(port, sdxl, module, tmp_path, kind, few):
    """The second part with gradient checkpointing, which changes no bit."""
    run = settings(4, few=few)

    def keep(step, loss):
        if step == 2:
            shutil.copytree(tmp_path / "run", tmp_path / "killed")

    def go(name, run, on_step=None):
        place, lesson = tmp_path / name, lesson_of(kind, module)
        return train_motion(port, sdxl[0], random_clips(), lesson, run, lambda key: place, on_step)

    whole, steps = go("run", run, keep), []
    resumed = go("killed", replace(run, save_memory=True), lambda step, _: steps.append(step))
    assert steps == [2, 3]
    assert resumed.losses == whole.losses
    written = [(tmp_path / name / "motion.safetensors").read_bytes() for name in ("run", "killed")]
    assert written[0] == written[1]


def test_the_loss_of_a_fixed_batch_falls(port, sdxl, tmp_path):
    """By more than a tenth of what a still base has."""
    run = replace(settings(25), caption_dropout=0.0)
    run = replace(run, loop=replace(run.loop, learning_rate=5e-3, ema_decay=0.0), timestep_power=3.0)
    clips = random_clips(1)
    clips = replace(clips, latents=clips.latents[:, :1].expand(-1, FRAMES, -1, -1, -1).contiguous())
    trained = train_motion(port, sdxl[0], clips, lesson_of("new", None), run, lambda key: tmp_path / "run")
    losses = []
    for weights in (new_module(NARROW_SDXL.unet.slots, ANIMATEDIFF_SDXL, norm_scope="clip"), trained.learned):
        still = replace(run, loop=replace(run.loop, steps=1, learning_rate=0.0, seed=5))
        lesson, place = learn_module(weights, "fixed", CPU), tmp_path / str(len(losses))
        losses += train_motion(port, sdxl[0], clips, lesson, still, lambda key, place=place: place).losses
    assert losses[1] < 0.9 * losses[0]


def test_clips_are_kept_with_the_text_of_both_encoders_and_in_the_unets_units(
    port, sdxl, tmp_path, monkeypatch
):
    monkeypatch.setattr(type(port), "user_dir", lambda self: tmp_path)
    _, clip, vae = sdxl
    dataset = drawn()
    made, again = (encode_dataset(port, *sdxl, dataset, lambda done: None) for _ in range(2))
    for index, text in enumerate(dataset.captions):
        [[tokens, options]], _ = port.encode_text(clip, text)
        row = made.caption[index]
        assert torch.equal(made.tokens[row], tokens[0])
        assert torch.equal(made.pooled[row], options["pooled_output"][0])
        pictures = dataset.pictures(index).movedim(1, -1) / 2 + 0.5
        torch.testing.assert_close(made.latents[index], port.encode(vae, pictures)["samples"] * 0.13025)
    [[tokens, options]], _ = port.encode_text(clip, "")
    assert torch.equal(made.tokens[0], tokens[0])
    assert torch.equal(made.pooled[0], options["pooled_output"][0])
    assert torch.equal(made.pooled, again.pooled)


def test_a_motion_lora_is_learned_on_a_module_and_its_file_is_read_again(job_of, module, tmp_path):
    trained = job_of(MotionJob("motion LoRA", "learned", settings(2), rank=2), (module, []))
    read = read_motion_lora(tmp_path / "run" / "motion.safetensors").fit(module)
    assert len(read.pairs) == 15 * 2 * 4  # attentions of a slot, projections of each
    for name, pair in trained.learned.pairs.items():
        assert all(torch.equal(one, other) for one, other in zip(pair, read.pairs[name], strict=True))
    merged = merge_loras(module, [(read, 1.0)])
    assert merged.size.norm_scope == "clip"
    changed = [name for name in read.pairs if not torch.equal(merged.state[name], module.state[name])]
    assert changed == list(read.pairs)


def test_a_student_learns_from_the_module_with_guidance_of_both_texts(
    port, sdxl, module, tmp_path, monkeypatch
):
    """The teacher of the first step is told and untold, tokens and pooled text alike."""
    clips, few, answers = random_clips(1), FewSteps(2, 4, teacher_cfg=3.0), []
    probe, at = clips.latents[:1], torch.tensor([499])

    def watch(student, teacher, *arguments, **options):
        with torch.no_grad():
            answers.extend([student(probe, at)[0], teacher(probe, at)[0]])
        return few_steps_mse(student, teacher, *arguments, **options)

    monkeypatch.setattr(motion_training, "few_steps_mse", watch)
    run = settings(1, few=few, caption_dropout=0.0)
    train_motion(port, sdxl[0], clips, lesson_of("continued", module), run, lambda key: tmp_path)
    with torch.no_grad():
        told, untold = (
            predict_by_diffusers(sdxl[0], module, probe[0], 499, clips.tokens[row], clips.pooled[row])
            for row in (1, 0)
        )
    torch.testing.assert_close(answers[0], told, rtol=0, atol=1e-4)
    torch.testing.assert_close(answers[1], untold + 3 * (told - untold), rtol=0, atol=1e-3)


NEW = MotionJob("module", "new", settings(1), beta_schedule=ANIMATEDIFF_SDXL)
REFUSED = {
    "a module for SD1.5": (
        NEW, "sd15", CheckpointError,
        r"start: down_blocks.2.* is 64 channels wide, the model has 128 there; expected .* one family; use",
    ),
    "a mask adapter": (
        replace(NEW, target="mask adapter"), "sdxl", ValueError,
        "target: got mask adapter with an SDXL base; expected a module or a motion LoRA.*choose another target",
    ),
    "a PIA adapter": (replace(NEW, target="PIA adapter"), "sdxl", ValueError, "target: got PIA adapter with an"),
    "the middle block": (
        replace(NEW, middle=True), None, ValueError,
        "middle_block: got true with an SDXL base; expected false, since .*; set it to false",
    ),
    "AnimateDiff's schedule": (
        replace(NEW, beta_schedule=ANIMATEDIFF), None, ValueError,
        r"beta_schedule: got sqrt_linear up to 0.012 .* on SDXL; expected .*; choose linear \(AnimateDiff-SDXL\)",
    ),
    "a motion LoRA on nothing": (replace(NEW, target="motion LoRA"), None, ValueError, "motion: got none to learn"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_learned_on_sdxl_is_refused_before_clips_are_encoded(job_of, module, fault):
    job, start, kind, said = REFUSED[fault]
    weights = {None: None, "sdxl": (module, []), "sd15": (module_weights(), [])}[start]
    encoded = []
    with pytest.raises(kind, match=said):
        job_of(job, weights, encoded=encoded)
    assert encoded == []


def test_what_is_for_sdxl_is_refused_on_sd15_before_clips_are_encoded(job_of, demo, module):
    encoded = []
    with pytest.raises(CheckpointError, match=r"mm_sdxl.*channels wide, the model has .*one family; use"):
        job_of(replace(NEW, beta_schedule=ANIMATEDIFF), (module, []), demo, encoded)
    with pytest.raises(
        ValueError, match=r"beta_schedule: got AnimateDiff-SDXL's .* on Stable Diffusion 1.x; expe"
    ):
        job_of(NEW, None, demo, encoded)
    assert encoded == []


def test_a_module_without_a_schedule_is_refused_on_a_base_with_zero_terminal_snr(job_of, sdxl, module):
    """HotshotXL's is sampled with the base's own levels, which training has not; AnimateDiff-SDXL's has its own."""
    model, *rest = sdxl
    sampling = replace(model.base_sampling, prediction="v", schedule=ZeroTerminalSNR())
    parts, encoded = (replace(model, base_sampling=sampling), *rest), []
    with pytest.raises(
        ValueError, match=r"model: got noise levels of its own.*mm_sdxl.*; expected .*; choose"
    ):
        job_of(NEW, (replace(module, beta_schedule=None), []), parts, encoded)
    assert encoded == []
    assert job_of(NEW, (module, []), parts, encoded).losses


def test_a_clip_that_lacks_the_second_text_encoder_is_refused_before_clips_are_encoded(job_of, sdxl):
    model, clip, vae = sdxl
    encoded = []
    with pytest.raises(
        ValueError,
        match=r"clip: got pooled text 64 wide; expected 128, as SDXL's second .*; connect the CLIP",
    ):
        job_of(NEW, None, (model, replace(clip, larger=None), vae), encoded)
    assert encoded == []
