"""The port, by ComfyUI's own functions. Nodes call it; nothing else does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.utils
import folder_paths
import torch
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io, ui
from PIL import Image
from torch import Tensor

from ...models.errors import HostError
from ...models.long_video.nuwa_jobs import Recursion, Work, run_jobs
from ...models.storyboard.phrases import Ranges, check_found
from ...models.video.guards import check_frames, check_sampled
from ..bundled import BUNDLED
from ..contract import Conditioning, Latent, Spans
from ..model_folders import CONFIG, INPUT_FOLDERS, check_new_name, folder_in, folders_in, names_of
from . import train
from .clips import ClipSheets, show_clips
from .decode import decode, decode_clip
from .ends import clip_ends
from .install import install
from .installed import installed
from .levels import check_discrete
from .load.demo import load_demo
from .load.family import family_of
from .load.motion import load_camera, load_motion, load_sparse_control
from .predict import NodeGuider, predict_denoised
from .seams.control import describe_conditions, select_frames
from .seams.control_schedule import schedule_controls
from .seams.video_prompts import read_by_frame
from .text import find_spans, phrase_spans, without_places

PREVIEW_SIZE = 512  # pixels; the side ComfyUI's own previews have at most


class ComfyProgress:
    """A bar of the node that is running; ComfyUI polls for a cancel when it moves."""

    def __init__(self, total: int) -> None:
        self._bar, self._total = comfy.utils.ProgressBar(total), total

    def update(self, done: int, preview: Tensor | None = None) -> None:
        """Show that ``done`` of the total are done. ``preview``: [H, W, 3] float, 0..1."""
        picture = None
        if preview is not None:
            pixels = preview.detach().clamp(0, 1).mul(255).byte().cpu().numpy()
            picture = ("JPEG", Image.fromarray(pixels), PREVIEW_SIZE)
        self._bar.update_absolute(done, self._total, picture)


class ComfyHost:
    """ComfyUI as a ``contract.Host``; first what it promises that one function does."""

    family = staticmethod(family_of)
    install = staticmethod(install)
    edits = staticmethod(installed)
    load_motion = staticmethod(load_motion)
    load_sparse_control = staticmethod(load_sparse_control)
    load_camera = staticmethod(load_camera)
    load_demo = staticmethod(load_demo)
    predict = staticmethod(predict_denoised)
    decode = staticmethod(decode)
    decode_clip = staticmethod(decode_clip)
    clip_ends = staticmethod(clip_ends)
    select_frames = staticmethod(select_frames)
    schedule_controls = staticmethod(schedule_controls)
    read_by_frame = staticmethod(read_by_frame)
    describe = staticmethod(describe_conditions)
    show_clips = staticmethod(show_clips)
    show_clip = ClipSheets
    base = staticmethod(train.describe)
    train_forward = staticmethod(train.differentiable)

    def sample(
        self,
        model: Any,
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
        """Run ComfyUI's sampler. Samplers that draw noise draw it from seed 0."""
        check_frames(latent["samples"], "latent")
        guider = NodeGuider(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(cfg)
        start = comfy.sample.fix_empty_latent_channels(model, latent["samples"])

        def callback(step: int, *_: Any) -> None:
            if progress is not None:
                progress.update(step + 1)

        samples = guider.sample(
            noise,
            start,
            comfy.samplers.sampler_object(sampler),
            sigmas,
            denoise_mask=mask,
            callback=callback,
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=0,
        )
        check_sampled(samples)
        return {**latent, "samples": samples}

    def sigmas(self, model: Any, steps: int, scheduler: str) -> Tensor:
        """Return [steps + 1] descending noise levels that end in 0."""
        return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)

    def sampler(self, name: str) -> Any:
        """Return a SAMPLER by its name."""
        return comfy.samplers.sampler_object(name)

    def sigma_to_timestep(self, model: Any, sigma: float) -> float:
        """Return the training timestep of a noise level."""
        sampling = model.get_model_object("model_sampling")
        check_discrete(sampling, family_of(model).name)
        return float(sampling.timestep(torch.tensor([sigma]))[0])

    def timestep_to_sigma(self, model: Any, timestep: float) -> float:
        """Return the noise level of a training timestep."""
        sampling = model.get_model_object("model_sampling")
        check_discrete(sampling, family_of(model).name)
        return float(sampling.sigma(torch.tensor([timestep]))[0])

    def noise_unit(self, model: Any) -> float:
        """Return the standard deviation, in a LATENT's units, of noise of sigma 1."""
        if isinstance(model.get_model_object("model_sampling"), comfy.model_sampling.CONST):
            raise HostError(
                f"model: got {family_of(model).name}, a flow model, which mixes noise in instead of adding it; "
                "expected a Stable Diffusion model; load an SD1.5 checkpoint or the demo model."
            )
        latents = model.get_model_object("latent_format")
        if hasattr(latents, "latents_std"):
            raise HostError(
                f"model: got {family_of(model).name} with a scale of its own for each channel of latents (Playground "
                "v2.5); expected one for all; load another checkpoint of SDXL, or one of SD1.5."
            )
        return 1 / latents.scale_factor

    def encode_text(
        self, clip: Any, text: str, phrases: Sequence[str] = (), optional: Sequence[str] = ()
    ) -> tuple[Conditioning, Spans]:
        """Encode a prompt and find its phrases and the given ones."""
        found = {phrase: find_spans(clip, text, phrase) for phrase in (*phrases, *optional)}
        check_found(found, phrases, text)
        return clip.encode_from_tokens_scheduled(clip.tokenize(text)), phrase_spans(clip, text) | found

    def encode_without(self, clip: Any, text: str, places: Ranges) -> Conditioning:
        """Encode a prompt from which some tokens are taken out."""
        return clip.encode_from_tokens_scheduled(without_places(clip, text, places))

    def pool_text(self, clip: Any, text: str) -> Tensor:
        """Encode a text as one vector, as core's GLIGENTextBoxApply does."""
        return clip.encode_from_tokens(clip.tokenize(text), return_pooled="unprojected")[1]

    def encode(self, vae: Any, images: Tensor) -> Latent:
        """Encode [N, H, W, 3] to latents."""
        return {"samples": vae.encode(images[..., :3])}

    def compute_device(self) -> torch.device:
        """Return the device that models run on."""
        return comfy.model_management.get_torch_device()

    def progress(self, total: int, noun: str = "step") -> ComfyProgress:
        """Start a progress bar of the node that is running, which shows no words."""
        del noun
        return ComfyProgress(total)

    def check_interrupt(self) -> None:
        """Raise ComfyUI's own exception if the user cancelled."""
        comfy.model_management.throw_exception_if_processing_interrupted()

    def list_files(self, kind: str) -> list[str]:
        """Return the bundled files of a kind, then the user's."""
        if kind == INPUT_FOLDERS:
            return folders_in(Path(folder_paths.get_input_directory()))
        if kind not in folder_paths.folder_names_and_paths:
            raise ValueError(
                f"kind of file {kind!r}: ComfyUI has no such model folder; expected one it lists."
            )
        bundled = [name for name, path in BUNDLED.get(kind, {}).items() if path.exists()]
        own = names_of(kind, folder_paths.get_filename_list(kind))
        return [*bundled, *(name for name in own if name not in bundled)]

    def resolve(self, kind: str, name: str) -> Path:
        """Return the path of a listed file."""
        if kind == INPUT_FOLDERS:
            return folder_in(Path(folder_paths.get_input_directory()), name)
        bundled = BUNDLED.get(kind, {}).get(name)
        if bundled is not None:
            return bundled
        if name not in self.list_files(kind):
            raise ValueError(
                f"{kind}: got {name!r}, which is not among its files; expected one of the list; press R to refresh it."
            )
        path = folder_paths.get_full_path(kind, name)  # finds files alone
        if path is None:
            return Path(folder_paths.get_full_path_or_raise(kind, f"{name}/{CONFIG}")).parent
        return Path(path)

    def new_model(self, kind: str, prefix: str, extension: str) -> tuple[str, Path]:
        """Return the name and the path of a model file to write: in the first folder that ComfyUI has for its kind."""
        folder = Path(folder_paths.get_folder_paths(kind)[0])
        check_new_name(folder, kind, prefix)
        place, name, counter, _, _ = folder_paths.get_save_image_path(prefix, str(folder))
        path = Path(place) / f"{name}_{counter:05}_.{extension.lstrip('.')}"
        return str(path.relative_to(folder)), path

    def output_path(self, prefix: str, extension: str, width: int = 0, height: int = 0) -> Path:
        """Return a path for a new output file inside the output folder."""
        output = Path(folder_paths.get_output_directory())
        if not (output / prefix).resolve().is_relative_to(output.resolve()):
            raise ValueError(
                f"filename_prefix={prefix!r} leads out of the output folder; expected a name inside it."
            )
        folder, name, counter, _, _ = folder_paths.get_save_image_path(prefix, str(output), width, height)
        return Path(folder) / f"{name}_{counter:05}_.{extension.lstrip('.')}"

    def file_texts(self, node: type[io.ComfyNode]) -> Mapping[str, str]:
        """Return what core's savers put into a file."""
        if args.disable_metadata or node.hidden is None:
            return {}
        prompt = {} if node.hidden.prompt is None else {"prompt": node.hidden.prompt}
        texts = prompt | (node.hidden.extra_pnginfo or {})
        return {name: json.dumps(value) for name, value in texts.items()}

    def output_video(self, path: Path) -> tuple[InputImpl.VideoFromFile, ui.PreviewVideo]:
        """Return a video of the output folder, and what shows it."""
        subfolder = path.parent.relative_to(folder_paths.get_output_directory())
        name = "" if subfolder == Path() else str(subfolder)
        saved = ui.SavedResult(path.name, name, io.FolderType.output)
        return InputImpl.VideoFromFile(str(path)), ui.PreviewVideo([saved])

    def user_dir(self) -> Path:
        """Return the folder for the user's own settings."""
        return Path(folder_paths.get_user_directory()) / "frameloom"

    def run_jobs(self, recursion: Recursion, work: Work) -> None:
        """Do a recursion's jobs, one after another."""
        bar = self.progress(recursion.tree.local_jobs * work.steps)
        run_jobs(recursion, work, bar.update, self.check_interrupt)
