"""What training promises on every host: what learns and what doesn't, and through which edits."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import CheckpointError
from frameloom.models.long_video.free_noise import WindowFusion
from frameloom.models.motion.checkpoint import MotionWeights
from frameloom.models.motion.edit import motion_edit
from frameloom.models.motion.lora import MotionLoRA
from frameloom.models.motion.module import initialise
from frameloom.models.network.sizes import DEMO
from frameloom.models.training import Learner, hash_weights, recompute
from frameloom.models.video.schedules import STABLE_DIFFUSION
from frameloom.tests.support.motion import tiny_module
from frameloom.tests.support.scene import Scene
from frameloom.tests.support.training import (
    lesson_of,
    module_weights,
    moving_clips,
    predict_in_training,
    settings,
)
from frameloom.training.loop import step_generator
from frameloom.training.motion.dataset import drawn_dataset
from frameloom.training.motion.few_steps import FewSteps, few_steps_mse
from frameloom.training.motion.job import ENCODERS, MotionJob, encode_dataset, run_job
from frameloom.training.motion.lessons import learn_module
from frameloom.training.motion.training import draw_batch, train_motion
from torch import nn

PARTS = ("unet", "network", "model", "cond_stage_model", "first_stage_model")


class Watching:
    """A host that remembers the UNet and the module that it trained."""

    def __init__(self, port):
        self._port = port
        self.unets, self.learners = [], []

    def __getattr__(self, name):
        return getattr(self._port, name)

    def train_forward(self, model, frames, learner=None, **options):
        forward = self._port.train_forward(model, frames, learner, **options)
        self.unets.append(forward.unet)
        self.learners.append(learner)
        return forward


@pytest.fixture
def watching(port, tmp_path, monkeypatch):
    monkeypatch.setattr(type(port), "user_dir", lambda self: tmp_path)
    return Watching(port)


def networks_of(parts):
    """The UNet, the text encoder and the VAE, wherever a host keeps them."""
    found = [getattr(part, name, None) for part in parts for name in PARTS]
    return [network for network in found if isinstance(network, nn.Module)]


def numbers_of(network):
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


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


def fused(scene, model, motion):
    return scene.port.install(scene.moving(model, motion), Edit("Free Noise", time=WindowFusion(2, 2)))


# What is put on the demo model -> a frame of four, and the frames that its gradient goes to.
REACH = {
    "nothing": (lambda scene, model, motion: model, 0, {0}),
    "a motion module": (Scene.moving, 0, {0, 1, 2, 3}),
    "the first frame's tokens": (lambda scene, model, motion: scene.crossing(model), 1, {0, 1}),
    "windows of attention": (fused, 0, {0, 1}),
}


@pytest.mark.parametrize("what", REACH)
def test_a_frames_gradient_goes_to_the_frames_that_it_reads(port, demo, motion, scene, what):
    put_on, frame, reached = REACH[what]
    forward = port.train_forward(put_on(scene, demo[0], motion), 4)
    with torch.inference_mode(False):
        noisy, *rest = training_case(port)
        (gradient,) = torch.autograd.grad(forward(noisy.requires_grad_(), *rest)[frame].sum(), noisy)
    assert {number for number, each in enumerate(gradient) if each.abs().max() > 0} == reached


@pytest.mark.parametrize("target", ["module", "motion LoRA", "mask adapter", "PIA adapter"])
def test_no_weight_of_the_base_has_a_gradient_and_only_the_lessons_change(watching, demo, tmp_path, target):
    networks = networks_of(demo)
    assert len(networks) == 3
    before = [numbers_of(network) for network in networks]
    dataset = drawn_dataset(2, "circle", 0, frames=3, width=64, height=64, caption_dropout=0.1)
    start = module_weights()
    job, quiet = MotionJob(target, "learned", settings(1), rank=2), lambda *_: None
    trained = run_job(watching, job, demo, dataset, (start, []), tmp_path.joinpath, quiet, quiet)
    [unet], [learner] = watching.unets, watching.learners
    for network in [*networks, unet]:
        assert [name for name, value in network.named_parameters() if value.grad is not None] == []
    assert [name for name, value in unet.named_parameters() if value.requires_grad] == []
    for network, numbers in zip(networks, before, strict=True):
        assert all(torch.equal(value, numbers[name]) for name, value in network.state_dict().items())
    learned = {name for name, value in learner.network.named_parameters() if value.grad is not None}
    assert learned == {name for name, value in learner.network.named_parameters() if value.requires_grad}
    now = dict(learner.network.named_parameters())
    if target == "module":
        assert learned == set(now)
        assert not any(torch.equal(now[name], start.state[name].to(now[name])) for name in learned)
    else:
        assert isinstance(trained.learned, MotionLoRA)
        encoders = {name for name in learned if "encoder" in name}
        assert {name.rpartition(".")[2] for name in learned - encoders} == {"down", "up"}
        assert encoders == ({ENCODERS[target]} if target in ENCODERS else set())
        kept = [
            (name, name.replace("parametrizations.weight.original", "weight")) for name in set(now) - learned
        ]
        assert len(kept) == len(start.state) - len([name for name in start.state if name.endswith(".pe")])
        assert all(torch.equal(now[name], start.state[old].to(now[name])) for name, old in kept)


def test_a_step_of_training_sees_what_a_step_of_sampling_does(port, demo, motion, scene):
    """With every frame reading the first one, and a motion module: the same denoised latents, frame by frame."""
    model = scene.crossing(scene.moving(demo[0], motion))
    latent, sigma = scene.noise(4) * 10, 3.0
    sampled = port.predict(model, scene.positive, {"samples": latent}, sigma)
    alone = port.predict(scene.moving(demo[0], motion), scene.positive, {"samples": latent}, sigma)
    assert not torch.allclose(sampled[1:], alone[1:], atol=1e-2), "the edit does nothing here"
    denoised = predict_in_training(port, model, scene.positive, latent, sigma)
    torch.testing.assert_close(denoised, sampled.to(denoised), rtol=1e-3, atol=1e-3)


def test_captions_may_be_one_a_video_or_one_a_frame(port, demo):
    with torch.inference_mode(False):
        forward = port.train_forward(demo[0], 3)
        device = next(forward.unet.parameters()).device
        generator = torch.Generator().manual_seed(2)
        noisy, tokens = (
            torch.randn(size, generator=generator).to(device) for size in ((6, 4, 8, 8), (2, 77, 64))
        )
        timesteps = torch.full((6,), 300, device=device)
        one = forward(noisy, timesteps, tokens)
        torch.testing.assert_close(
            one, forward(noisy, timesteps, tokens.repeat_interleave(3, 0)), rtol=1e-4, atol=1e-5
        )


def test_a_captions_parentheses_are_its_own(watching, demo):
    """In a prompt they weigh what is in them; with a backslash each, they are said."""
    drawn = drawn_dataset(2, "circle", 0, frames=3, width=64, height=64, caption_dropout=0.1)
    texts = "a (red:1.5) circle", "a circle, (blue)"
    clips = tuple(replace(clip, caption=text) for clip, text in zip(drawn.clips, texts, strict=True))
    encoded = encode_dataset(watching, *demo, replace(drawn, clips=clips), lambda done: None)
    said = r"a \(red:1.5\) circle", r"a circle, \(blue\)"
    for index, (text, literal) in enumerate(zip(texts, said, strict=True)):
        row = encoded.tokens[encoded.caption[index]]
        weighed, wanted = (watching.encode_text(demo[1], each)[0][0][0][0] for each in (text, literal))
        torch.testing.assert_close(row, wanted.float().cpu())
        assert (row - weighed.float().cpu()).abs().max() > 0.1


def test_a_module_learns_through_cross_frame_attention(port, demo, scene, tmp_path):
    """The run is another than without the edit, under a key of its own, and the base stays as it was."""
    losses, keys = [], []
    for model in (demo[0], scene.crossing(demo[0])):
        lesson = learn_module(module_weights(), "crossing", port.compute_device())
        frozen = port.train_forward(model, 4).hash_weights()
        before = {name: value.detach().clone() for name, value in lesson.parameters.items()}
        trained = train_motion(
            port, model, moving_clips(), lesson, settings(1), lambda key: keys.append(key) or tmp_path / key
        )
        assert trained.base == frozen == port.train_forward(model, 4).hash_weights()
        assert not any(torch.equal(value, before[name]) for name, value in lesson.parameters.items())
        losses.append(trained.losses)
    assert losses[0] != losses[1]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("kind", ["continued", "lora"])
def test_a_student_learns_from_the_module_as_it_was_with_guidance(port, demo, tmp_path, monkeypatch, kind):
    """After every step the teacher answers what the module answered at first, and the student something else."""
    model, clips, few = demo[0], moving_clips(), FewSteps(2, 4, teacher_cfg=3.0)
    probe, at, answers = clips.latents[:1], torch.tensor([499]), []

    def watch(student, teacher, *arguments, **options):
        with torch.no_grad():
            answers.append(
                [
                    predict(probe.to(arguments[0]), at.to(arguments[0].device))
                    for predict in (student, teacher)
                ]
            )
        return few_steps_mse(student, teacher, *arguments, **options)

    monkeypatch.setattr("frameloom.training.motion.training.few_steps_mse", watch)
    lesson = lesson_of(port, model, kind)
    run = settings(3, few=few, caption_dropout=0.0)
    train_motion(port, model, replace(clips, caption=torch.ones(3).long()), lesson, run, lambda key: tmp_path)
    [first, *_, last] = answers
    assert torch.equal(first[1], last[1])
    assert not torch.equal(first[0], last[0])
    with torch.inference_mode(False), torch.no_grad():
        forward = port.train_forward(model, 4, lesson_of(port, model, kind).learner)
        device = next(forward.unet.parameters()).device
        told, untold = (
            forward(probe[0].to(device), at.expand(4).to(device), clips.tokens[row : row + 1].to(device))
            for row in (1, 0)
        )
    torch.testing.assert_close(first[0][0], told, rtol=0, atol=1e-5)
    torch.testing.assert_close(first[1][0], untold + 3 * (told - untold), rtol=0, atol=1e-4)


@pytest.mark.parametrize("save_memory", [False, True])
def test_a_step_of_some_frames_runs_the_module_with_their_places_in_time(port, demo, tmp_path, save_memory):
    """The first loss and gradient, worked out on a module whose encodings are those frames' alone."""
    clips, run = moving_clips(frames=6), settings(1, frames_per_step=3, save_memory=save_memory)
    model, lesson = demo[0], lesson_of(port, demo[0], "continued")
    trained = train_motion(port, model, clips, lesson, run, lambda key: tmp_path)
    batch = draw_batch(clips, run, step_generator(0, 0))
    twin = lesson_of(port, model, "continued")
    for name, encoding in twin.learner.network.named_buffers():
        assert name.endswith(".pe")
        encoding[:, :3] = encoding[:, batch.frame_ids].clone()
    with torch.inference_mode(False), torch.enable_grad():
        alpha = STABLE_DIFFUSION.alphas_cumprod().float()[batch.timesteps]
        noisy = alpha.sqrt() * batch.latents[0] + (1 - alpha).sqrt() * batch.noise[0]
        target = alpha.sqrt() * batch.noise[0] - (1 - alpha).sqrt() * batch.latents[0]
        forward = port.train_forward(model, 3, twin.learner)
        device = next(forward.unet.parameters()).device
        out = forward(noisy.to(device), batch.timesteps.expand(3).to(device), batch.tokens.to(device))
        error = (out - target.to(device)).square().mean()
        error.backward()
    assert trained.losses[0] == pytest.approx(float(error.detach()), rel=1e-4)
    begun = lesson_of(port, model, "continued").parameters
    moved = torch.cat([(trained.learned.state[name] - begun[name].detach()).flatten() for name in begun])
    gradient = torch.cat([value.grad.flatten() for value in twin.parameters.values()])
    clear = gradient.abs() > 1e-2 * gradient.abs().max()
    # AdamW's first step goes against each gradient's sign.
    assert (moved[clear].sign() == -gradient[clear].sign()).float().mean() > 0.999


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
