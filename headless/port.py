"""The port on diffusers: everything nodes may ask of the headless host. What each promises: ``host/contract``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..host.bundled import BUNDLED, DEMO_MODEL, DEMO_TOKENIZER
from ..host.contract import ClipEnds, Clips, Curves
from ..host.model_folders import (
    CONFIG,
    ENDINGS,
    INPUT_FOLDERS,
    LANGUAGE_MODELS,
    check_new_name,
    folder_in,
    folders_in,
    names_of,
)
from ..models.edits.edit import Edit
from ..models.errors import CheckpointError, HostError
from ..models.files.keys import plain
from ..models.long_video.nuwa_jobs import Recursion, Watch, Work, run_jobs
from ..models.motion.camera_ctrl import CameraNetwork, CameraWeights
from ..models.motion.checkpoint import MotionWeights
from ..models.motion.sparse_checkpoint import SparseWeights
from ..models.motion.sparse_control import SparseNetwork
from ..models.network.family import Family, check_offered, refuse_ends
from ..models.network.sizes import DEMO
from ..models.storyboard.phrases import Ranges, check_found
from ..models.training import Base, FrozenForward, Learner, describe_base
from ..models.video.control_schedule import ControlSchedule
from ..models.video.prompt_shares import PromptShares
from .engine.conditions import select_frames
from .engine.control import schedule_controls
from .engine.denoise import Denoiser, sample
from .engine.edits import edited
from .engine.encode import Spans, encode_chunks, encode_prompt, find_spans, phrase_spans, without_places
from .engine.guidance import CFG, Conditioning, options_of
from .engine.motion import LoadedMotion, load_camera, load_sparse_control
from .engine.training import differentiable
from .progress import StepBar
from .samplers.sigmas import schedule_sigmas
from .samplers.table import Sampler, find_sampler
from .text.prompt import Tokenizer
from .text.vocabulary import clip_tokenizer
from .v3.folders import Folders
from .v3.io import ComfyNode
from .v3.ui import PreviewVideo, hidden_texts, show_video
from .v3.video_file import FileVideo
from .weights.device import pick_device, weight_dtype
from .weights.loading import load_checkpoint
from .weights.lora import read_lora
from .weights.model import CLIP, VAE, Model

Latent = dict[str, Any]
_ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


class Unseen:
    """A clip that nobody looks at."""

    def add(self, images: object) -> None:
        """Take frames."""

    def ui(self) -> dict[str, list[Any]]:
        """Return nothing: no editor is there to show clips."""
        return {}


class HeadlessHost:
    """The headless host. A run is cancelled by Ctrl-C, which Python raises by itself."""

    def __init__(
        self,
        device: str | torch.device | None,
        input_dir: Path | str,
        output_dir: Path | str,
        models_dir: Path | str,
        jobs: Callable[[Recursion, Work, Watch, Callable[[], None]], None] = run_jobs,
    ) -> None:
        """Choose where to run and where files are.

        Args:
            device: torch's name of it; None: the first GPU of CUDA, else the CPU.
            input_dir: pictures and clips that workflows load.
            output_dir: folder that results go to.
            models_dir: folder with a folder for each kind: ``checkpoints``, ``loras``, ``animatediff_models``, ...
            jobs: function that does a recursion's jobs; it gets a watch and a check for interrupts.
        """
        self.device = pick_device(device)
        self._jobs = jobs
        self.input_dir, self.output_dir, self.models_dir = Path(input_dir), Path(output_dir), Path(models_dir)

    def family(self, part: Model | CLIP | VAE) -> Family:
        """Return Stable Diffusion 1.x or SDXL: nothing else is loaded here."""
        return part.family

    def install(self, model: Model, edit: Edit) -> Model:
        """Return a clone with the edit added after those it has.

        Raises:
            CheckpointError: the edit's motion module, or its GLIGEN, is not for this model.
        """
        check_offered(self.family(model), dict(edit.parts()), edit.name)
        for part in edit.own_parts():
            part.check_fit(model.size)
        return model.with_edit(edit)

    def load_motion(self, weights: MotionWeights) -> LoadedMotion:
        """Build a motion module on this host's device."""
        return LoadedMotion(weights, self.device, weight_dtype(self.device))

    def load_sparse_control(self, weights: SparseWeights) -> SparseNetwork:
        """Build a SparseCtrl network on this host's device."""
        return load_sparse_control(weights, self.device, weight_dtype(self.device))

    def load_camera(self, weights: CameraWeights) -> CameraNetwork:
        """Build CameraCtrl's network on this host's device."""
        return load_camera(weights, self.device, weight_dtype(self.device))

    def load_demo(self) -> tuple[Model, CLIP, VAE]:
        """Build the bundled demo model."""
        if not DEMO_MODEL.is_file():
            raise CheckpointError(
                f"{DEMO_MODEL.name}: the demo model is not in the pack's assets/demo; reinstall Frameloom, or make it "
                "with `make demo-model`."
            )
        return load_checkpoint(DEMO_MODEL, Tokenizer.from_folder(DEMO_TOKENIZER), self.device, DEMO)

    def load_checkpoint(self, name: str) -> tuple[Model, CLIP, VAE]:
        """Load one of the user's checkpoints."""
        return load_checkpoint(
            self.resolve("checkpoints", name), clip_tokenizer(self.models_dir), self.device
        )

    def load_lora(self, model: Model, name: str, strength: float) -> Model:
        """Return a clone with one of the user's LoRAs on its UNet."""
        if strength == 0:
            return model
        return model.with_lora(read_lora(self.resolve("loras", name), model.unet, model.size), strength)

    def sample(
        self,
        model: Model,
        positive: Conditioning,
        negative: Conditioning,
        latent: Latent,
        *,
        noise: Tensor,
        sigmas: Tensor,
        sampler: str,
        cfg: float,
        mask: Tensor | None = None,
        progress: Any = None,
    ) -> Latent:
        """Run a sampler over ``sigmas``. Samplers that draw noise draw it from seed 0."""

        def on_step(step: int, _clean: Tensor) -> None:
            if progress is not None:
                progress.update(step + 1)

        samples, _ = sample(
            model,
            noise,
            CFG(positive, negative, cfg),
            sampler=find_sampler(sampler),
            sigmas=sigmas,
            latent=latent["samples"],
            mask=mask,
            seed=0,
            on_step=on_step,
            check_interrupt=self.check_interrupt,
        )
        return latent | {"samples": samples}

    @torch.no_grad()
    def predict(self, model: Model, conditioning: Conditioning, latent: Latent, sigma: float) -> Tensor:
        """Return the denoised latents of one forward pass."""
        samples = latent["samples"]
        noisy = samples.to(model.device).float() * model.latent_scale
        guidance, level = CFG(conditioning, [], 1.0), torch.tensor(sigma)
        with edited(model.unet, model.edits, options_of(guidance)) as run:
            denoise = Denoiser(model, run, guidance, samples.shape, level[None])
            clean = denoise(noisy, level)
        return (clean / model.latent_scale).to(samples.device)

    def sigmas(self, model: Model, steps: int, scheduler: str) -> Tensor:
        """Return descending noise levels that end in 0."""
        return schedule_sigmas(model.sampling, scheduler, steps)

    def sampler(self, name: str) -> Sampler:
        """Return a SAMPLER by ComfyUI's name."""
        return find_sampler(name)

    def sigma_to_timestep(self, model: Model, sigma: float) -> float:
        """Return the training timestep of a noise level."""
        return float(model.sampling.timestep(sigma))

    def timestep_to_sigma(self, model: Model, timestep: float) -> float:
        """Return the noise level of a training timestep."""
        return model.sampling.sigma(timestep)

    def noise_unit(self, model: Model) -> float:
        """Return the standard deviation, in a LATENT's units, of noise of sigma 1."""
        return 1 / model.latent_scale

    def encode_text(
        self, clip: CLIP, text: str, phrases: Sequence[str] = (), optional: Sequence[str] = ()
    ) -> tuple[Conditioning, Spans]:
        """Encode a prompt, and say where its phrases and the given ones lie."""
        found = {phrase: find_spans(clip, text, phrase) for phrase in (*phrases, *optional)}
        check_found(found, phrases, text)
        tokens, pooled = encode_prompt(clip, text)
        return [[tokens, {"pooled_output": pooled}]], phrase_spans(clip, text) | found

    def encode_without(self, clip: CLIP, text: str, places: Ranges) -> Conditioning:
        """Encode a prompt from which some tokens are taken out."""
        tokens, pooled = encode_chunks(clip, without_places(clip, text, places))
        return [[tokens, {"pooled_output": pooled}]]

    def pool_text(self, clip: CLIP, text: str) -> Tensor:
        """Encode a text as one vector."""
        return encode_prompt(clip, text)[1]

    def select_frames(self, conditioning: Conditioning, frame_ids: Sequence[int]) -> Conditioning:
        """Return conditions for some frames of a clip."""
        return select_frames(conditioning, frame_ids)

    def schedule_controls(
        self, sides: Sequence[Conditioning], schedule: ControlSchedule, *, every: bool
    ) -> list[Conditioning]:
        """Return conditions whose ControlNets' strength changes by a schedule."""
        return schedule_controls(sides, schedule, every=every)

    def read_by_frame(self, joined: Sequence[tuple[list[Any], PromptShares]]) -> Conditioning:
        """Raise HostError: models of video run in ComfyUI alone."""
        raise HostError(
            "prompts by frame: got a model of video; expected one of pictures, since the headless runner has no "
            "others; run the workflow in ComfyUI."
        )

    def describe(self, conditioning: Conditioning) -> list[Any]:
        """Return what stands for conditions in a key."""
        return plain(conditioning)

    def edits(self, model: Model) -> tuple[Edit, ...]:
        """Return the edits on a model."""
        return model.edits

    def encode(self, vae: VAE, images: Tensor) -> Latent:
        """Encode pictures to latents."""
        return {"samples": vae.encode(images)}

    def decode(self, vae: VAE, latent: Latent) -> Tensor:
        """Decode latents to pictures."""
        return vae.decode(latent["samples"])

    def clip_ends(self, model: Model, vae: VAE, clip_vision: Any = None) -> ClipEnds:
        """Raise ValueError: models of video run in ComfyUI alone."""
        del vae, clip_vision
        refuse_ends(self.family(model), "makes pictures, as all that the headless runner loads")

    def decode_clip(self, vae: VAE, latents: Tensor, seed: int) -> Tensor:
        """Raise HostError: VAEs of video are in ComfyUI alone."""
        raise HostError(
            f"vae: got latents of {list(latents.shape)}, a clip of a model of video; expected frames, since the "
            "headless runner has no VAE of video; run the workflow in ComfyUI."
        )

    def compute_device(self) -> torch.device:
        """Return the device that models run on."""
        return self.device

    def progress(self, total: int, noun: str = "step") -> StepBar:
        """Start a progress bar."""
        return StepBar(total, noun)

    def check_interrupt(self) -> None:
        """Do nothing: Ctrl-C raises KeyboardInterrupt wherever Python is."""

    def list_files(self, kind: str) -> list[str]:
        """Return the names of the user's files of a kind, the bundled first. A diffusers folder is one file."""
        if kind == INPUT_FOLDERS:
            return folders_in(self.input_dir)
        return [
            *BUNDLED.get(kind, {}),
            *(name for name in self._own_files(kind) if name not in BUNDLED.get(kind, {})),
        ]

    def resolve(self, kind: str, name: str) -> Path:
        """Return the path of a listed file.

        Raises:
            ValueError: it isn't listed.
        """
        if kind == INPUT_FOLDERS:
            return folder_in(self.input_dir, name)
        bundled = BUNDLED.get(kind, {}).get(name)
        if bundled is not None:
            return bundled
        folder = self.models_dir / kind
        if name not in self._own_files(kind):
            listed = ", ".join(self.list_files(kind)[:5]) or "none"
            raise ValueError(
                f"{kind}: {name!r} was not found; expected one of: {listed}; put the file into {folder}."
            )
        return folder / name

    def new_model(self, kind: str, prefix: str, extension: str) -> tuple[str, Path]:
        """Return the name and the path of a model file to write."""
        folder = self.models_dir / kind
        check_new_name(folder, kind, prefix)
        path = Folders(self.input_dir, folder).new_path(prefix, extension.removeprefix("."), 0, 0)
        return path.relative_to(folder).as_posix(), path

    def output_path(self, prefix: str, extension: str, width: int = 0, height: int = 0) -> Path:
        """Return a path for a new output file."""
        own = Folders(self.input_dir, self.output_dir)
        return own.new_path(prefix, extension.removeprefix("."), width, height)

    def file_texts(self, node: type[ComfyNode]) -> Mapping[str, str]:
        """Return what a saved file carries."""
        return hidden_texts(node)

    def output_video(self, path: Path) -> tuple[FileVideo, PreviewVideo]:
        """Return a video of the output folder, and what shows it."""
        return FileVideo(path), show_video(path)

    def show_clips(
        self, clips: Clips, fps: float = 8.0, curves: Curves | None = None
    ) -> dict[str, list[Any]]:
        """Return nothing: no editor is there to show clips."""
        del clips, fps, curves
        return {}

    def show_clip(self, title: str, frames: int, fps: float) -> Unseen:
        """Return what shows nothing."""
        del title, frames, fps
        return Unseen()

    def user_dir(self) -> Path:
        """Return the folder for the user's own settings."""
        return Path.home() / ".config" / "frameloom"

    def run_jobs(self, recursion: Recursion, work: Work) -> None:
        """Do a recursion's jobs, one after another, or on a cluster."""
        bar = self.progress(recursion.tree.local_jobs * work.steps)
        self._jobs(recursion, work, bar.update, self.check_interrupt)

    def base(self, model: Model) -> Base:
        """Return what a trainer must know of a model."""
        sampling, size = model.base_sampling, model.size
        return describe_base(sampling.prediction, size.slots, size.in_channels, model.pooled, sampling.sigmas)

    def train_forward(
        self, model: Model, frames: int, learner: Learner | None = None, *, save_memory: bool = False
    ) -> FrozenForward:
        """Return the UNet with its edits as a differentiable function."""
        return differentiable(model, frames, learner, save_memory=save_memory)

    def _own_files(self, kind: str) -> list[str]:
        folder = self.models_dir / kind
        endings = ENDINGS.get(kind, _ENDINGS)
        files = [path for path in _files_below(folder) if path.is_file()]
        found = [path for path in files if path.suffix.lower() in endings]
        if kind != LANGUAGE_MODELS:
            adapters = {path.parent for path in files if path.name == CONFIG and path.parent != folder}
            found = [path for path in found if path.parent not in adapters] + list(adapters)
        return names_of(kind, sorted(path.relative_to(folder).as_posix() for path in found))


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, behind links too, as in ComfyUI; a link to a folder above it is not followed."""
    for parent, names, files in os.walk(folder, followlinks=True):
        above = {each.resolve() for each in (Path(parent), *Path(parent).parents)}
        names[:] = [name for name in names if Path(parent, name).resolve() not in above]
        yield from (Path(parent, name) for name in files)
