"""What nodes may ask of a host, and nothing else. Both hosts implement it and pass one shared contract test.

Values on sockets are ComfyUI's own: LATENT ``{"samples": [F, 4, H, W], ...}``, IMAGE ``[N, H, W, 3]`` in 0..1, MASK
``[N, H, W]``, CONDITIONING ``[[tokens, {...}], ...]``, SIGMAS a descending 1-D tensor. MODEL, CLIP and VAE are opaque.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..models.edits.edit import Edit
from ..models.long_video.nuwa_jobs import Recursion, Work
from ..models.motion.camera_ctrl import CameraWeights
from ..models.motion.checkpoint import MotionWeights
from ..models.motion.edit import Varying
from ..models.motion.lora import MotionLoRA, Strength
from ..models.motion.motion_ctrl import ModuleCamera
from ..models.motion.pictures import Picture
from ..models.motion.sparse_checkpoint import SparseWeights
from ..models.motion.sparse_control import SparseNetwork
from ..models.network.family import Family
from ..models.storyboard.phrases import Ranges
from ..models.training import Base, FrozenForward, Learner
from ..models.video.control_schedule import ControlSchedule
from ..models.video.prompt_shares import PromptShares

Conditioning = list[list[Any]]
Latent = dict[str, Any]
Spans = Mapping[str, Ranges]
Clips = Mapping[str, Tensor]
Curves = Mapping[str, Mapping[str, Sequence[float]]]


class Motion(Protocol):
    """A motion module the host has loaded: what a FRAMELOOM_MOTION socket carries. Immutable."""

    @property
    def weights(self) -> MotionWeights:
        """The module without LoRAs: as it was read, with room for a mask encoder where a LoRA has one."""
        ...

    @property
    def loras(self) -> Sequence[tuple[MotionLoRA, Strength]]:
        """The motion LoRAs on it, each fitted to it, with their strengths."""
        ...

    @property
    def varying(self) -> Varying | None:
        """How its strength changes; None: it stays."""
        ...

    @property
    def picture(self) -> Picture | None:
        """Picture that it is given; None: it has none."""
        ...

    @property
    def camera(self) -> ModuleCamera | None:
        """Camera that it reads; None: it has none."""
        ...

    def with_lora(self, lora: MotionLoRA, strength: Strength) -> Motion:
        """Return the same module with a motion LoRA stacked on it; this one stays as it is."""
        ...

    def with_weights(self, weights: MotionWeights) -> Motion:
        """Return a module of other weights, with the same LoRAs and strengths; this one stays as it is."""
        ...

    def with_varying(self, varying: Varying) -> Motion:
        """Return the same module with a strength that changes, in place of one it had; this one stays as it is."""
        ...

    def with_picture(self, picture: Picture) -> Motion:
        """Return the same module with a picture, in place of one it had; this one stays as it is."""
        ...

    def with_camera(self, camera: ModuleCamera) -> Motion:
        """Return the same module with a camera, in place of one it had; this one stays as it is."""
        ...


class ProgressBar(Protocol):
    """One bar; polling it is also where a cancel is noticed."""

    def update(self, done: int, preview: Tensor | None = None) -> None:
        """Show that ``done`` of the total are done. ``preview``: [H, W, 3] float, 0..1."""
        ...


class ClipEnds(Protocol):
    """How a model of video is given the first and the last picture of a clip."""

    @property
    def name(self) -> str:
        """What gives them, as keys of finished work have it."""
        ...

    @property
    def side(self) -> int:
        """What the sides of pictures must be a multiple of, in pixels."""
        ...

    def __call__(
        self, positive: Conditioning, negative: Conditioning, ends: Tensor, length: int
    ) -> tuple[Conditioning, Conditioning, Latent]:
        """Return conditions that have both pictures, and what to sample.

        ``ends``: [2, H, W, 3]; ``length``: frames of the clip. Latent frames behind the clip's are guides.
        """
        ...


class ShownClip(Protocol):
    """A clip that people will look at, handed over bit by bit."""

    def add(self, images: Tensor) -> None:
        """Take the next frames, [N, H, W, 3] float, 0..1."""
        ...

    def ui(self) -> dict[str, list[Any]]:
        """Return what ``Host.show_clips`` returns of it, once all frames are in."""
        ...


class Host(Protocol):
    """The port. A model is never changed: every method that edits returns a clone."""

    def family(self, part: Any) -> Family:
        """Return which family a MODEL, a CLIP or a VAE is of; of one that is not known, its class's name."""
        ...

    def install(self, model: Any, edit: Edit) -> Any:
        """Return a clone of the model with the edit added after those it has.

        Raises ValueError for a model that can't take it, by ``models.network.family.check_offered``.
        """
        ...

    def load_motion(self, weights: MotionWeights) -> Motion:
        """Build a motion module of this host's layers and place it under the host's memory management."""
        ...

    def load_sparse_control(self, weights: SparseWeights) -> SparseNetwork:
        """Build a SparseCtrl network of this host's layers and place it under the host's memory management."""
        ...

    def load_camera(self, weights: CameraWeights) -> Any:
        """Build CameraCtrl's network in the same way, as ``models.motion.camera_ctrl.CameraEdit`` has it."""
        ...

    def load_demo(self) -> tuple[Any, Any, Any]:
        """Build the bundled demo model: MODEL, CLIP, VAE."""
        ...

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
        progress: ProgressBar | None = None,
    ) -> Latent:
        """Run the host's own sampler over ``sigmas``.

        ``noise``: [F, 4, H, W]; ``mask``: [F or 1, 1, H, W], 1 where to generate. What it holds is what a motion
        module's mask encoder is told as given: ``latent``, clean.
        """
        ...

    def predict(self, model: Any, conditioning: Conditioning, latent: Latent, sigma: float) -> Tensor:
        """Return the denoised latents of one forward pass, [F, 4, H, W], in the units of ``latent["samples"]``."""
        ...

    def sigmas(self, model: Any, steps: int, scheduler: str) -> Tensor:
        """Return [steps + 1] descending noise levels that end in 0."""
        ...

    def sampler(self, name: str) -> Any:
        """Return a SAMPLER by ComfyUI's name."""
        ...

    def sigma_to_timestep(self, model: Any, sigma: float) -> float:
        """Return the training timestep (0..999) of a noise level."""
        ...

    def timestep_to_sigma(self, model: Any, timestep: float) -> float:
        """Return the noise level of a training timestep (0..999)."""
        ...

    def noise_unit(self, model: Any) -> float:
        """Return the standard deviation, in a LATENT's units, of noise of sigma 1.

        Raises HostError for a model whose noise is not simply added (flow models).
        """
        ...

    def encode_text(
        self, clip: Any, text: str, phrases: Sequence[str] = (), optional: Sequence[str] = ()
    ) -> tuple[Conditioning, Spans]:
        """Encode a prompt. Spans: for every comma-separated phrase, its [start, stop) token ranges in the output.

        ``phrases``: more of them to find, anywhere in the prompt: whole words side by side, in any case, weight syntax
        in them or around them. Raises ValueError for one that the prompt does not have. ``optional``: more that it may
        lack, or have within a longer token only, such as the comma of ``.,``: they have no ranges then.
        """
        ...

    def encode_without(self, clip: Any, text: str, places: Ranges) -> Conditioning:
        """Encode a prompt from which tokens are taken out, as if they had not been written; others keep their weights.

        ``places``: [start, stop) ranges among its tokens, as ``encode_text`` gives them. What stands behind one moves
        up within its chunk: ``models.storyboard.phrases.move_up``.
        """
        ...

    def pool_text(self, clip: Any, text: str) -> Tensor:
        """Encode a text as one vector, [1, D]: the state at its end, before any projection."""
        ...

    def select_frames(self, conditioning: Conditioning, frame_ids: Sequence[int]) -> Conditioning:
        """Return conditions for some frames of a clip: of what they have for each frame, these frames' part.

        That is tokens, ControlNet hints, masks and latents beside the noisy ones, picked by
        ``models.video.frames.pick_frames``. What shares a ControlNet still does.
        """
        ...

    def schedule_controls(
        self, sides: Sequence[Conditioning], schedule: ControlSchedule, *, every: bool
    ) -> list[Conditioning]:
        """Return conditions whose ControlNets' strength changes by a schedule, besides those that they have.

        ``every``: all ControlNets of a condition, not the last alone. What shares a ControlNet still does. Raises
        ValueError for a condition without one, HostError for one whose strengths are another pack's.
        """
        ...

    def read_by_frame(self, joined: Sequence[tuple[list[Any], PromptShares]]) -> Conditioning:
        """Return conditions of which a model of video reads, in each latent frame, the prompts that count there.

        A model call whose frames or tokens are others than the shares', or that reads its prompt otherwise than through
        the host's attention, raises HostError.
        """
        ...

    def describe(self, conditioning: Conditioning) -> list[Any]:
        """Return what stands for conditions in a key: tokens and options, as ``models.files.keys.plain`` has them.

        A ControlNet is a dict with ``hints``, [N, C, H, W], and the one before it as ``previous``.
        """
        ...

    def edits(self, model: Any) -> tuple[Edit, ...]:
        """Return the edits on a model, in their order."""
        ...

    def encode(self, vae: Any, images: Tensor) -> Latent:
        """Encode [N, H, W, 3] to latents."""
        ...

    def decode(self, vae: Any, latent: Latent) -> Tensor:
        """Decode latents to [N, H, W, 3] in 0..1, each frame by itself.

        Several at once are decoded whole or not at all: when memory runs out, the error is raised. Raises HostError
        for a VAE of video, whose frames depend on each other.
        """
        ...

    def clip_ends(self, model: Any, vae: Any, clip_vision: Any = None) -> ClipEnds:
        """Return how a model of video is given the ends of a clip.

        ``clip_vision``: looks at the pictures, for a model that reads what it sees. Raises ValueError for a model that
        takes no first and last picture, or whose ``clip_vision`` is missing.
        """
        ...

    def decode_clip(self, vae: Any, latents: Tensor, seed: int) -> Tensor:
        """Decode a clip of a model of video, [1, C, T, H, W], to [F, H, W, 3] in 0..1.

        ``seed``: of the noise that some VAEs (LTX-Video's) add, so that the same latents make the same pictures.
        Raises HostError for a VAE of pictures or of sound.
        """
        ...

    def compute_device(self) -> torch.device:
        """Return the device that models run on."""
        ...

    def progress(self, total: int, noun: str = "step") -> ProgressBar:
        """Start a progress bar of the node that is running; ``noun`` is what it counts, where a host says it."""
        ...

    def check_interrupt(self) -> None:
        """Raise the host's own exception if the user cancelled."""
        ...

    def list_files(self, kind: str) -> list[str]:
        """Return the names of the user's files of a kind (``animatediff_models``, ``checkpoints``, ...).

        Of kind ``llm``, a folder with a model's config is one name. Of kind ``input_folders``: the folders in the
        user's input folder.
        """
        ...

    def resolve(self, kind: str, name: str) -> Path:
        """Return the path of a listed file or folder. Raises ValueError for a name outside its folders."""
        ...

    def new_model(self, kind: str, prefix: str, extension: str) -> tuple[str, Path]:
        """Return the name and the path of a model file to write, numbered, in the user's folder of its kind.

        The folder exists, the file does not; once it does, it is listed by the name. ``prefix``: may hold a subfolder.
        Raises ValueError for one that leads out of the folder, or names nothing.
        """
        ...

    def output_path(self, prefix: str, extension: str, width: int = 0, height: int = 0) -> Path:
        """Return a path for a new output file inside the output folder; the folder exists, the file does not.

        ``width``, ``height``: of its pictures in pixels, for a prefix with ``%width%`` and ``%height%`` in it.
        """
        ...

    def file_texts(self, node: type) -> Mapping[str, str]:
        """Return what a file that a node saves carries, as JSON texts by name: the prompt, and the editor's extras.

        ``node``: the class whose ``execute`` runs. Nothing where the user wants no such texts.
        """
        ...

    def output_video(self, path: Path) -> tuple[Any, Any]:
        """Return a video of the output folder as a VIDEO, which reads it when asked, and the ``ui`` that shows it."""
        ...

    def show_clips(
        self, clips: Clips, fps: float = 8.0, curves: Curves | None = None
    ) -> dict[str, list[Any]]:
        """Return the ``ui`` by which people look at clips side by side, frame by frame; {} where there is no editor.

        ``clips``: pictures, [F, H, W, 3], or masks, [F, H, W], by title. ``curves``: numbers from the first frame on,
        by the chart's title and, within it, by the line's.
        """
        ...

    def show_clip(self, title: str, frames: int, fps: float) -> ShownClip:
        """Return what takes a clip of so many frames bit by bit, and shows it as ``show_clips`` does."""
        ...

    def user_dir(self) -> Path:
        """Return the folder for the user's own settings; who writes there makes it."""
        ...

    def run_jobs(self, recursion: Recursion, work: Work) -> None:
        """Do a recursion's jobs, one after another or on several machines; what is finished stays, whatever happens."""
        ...

    def base(self, model: Any) -> Base:
        """Return what a trainer must know of a model.

        Raises HostError for one that predicts neither noise nor velocity, ValueError for one that is not SD1.x's or
        SDXL's UNet, or reads more than noisy latents.
        """
        ...

    def train_forward(
        self, model: Any, frames: int, learner: Learner | None = None, *, save_memory: bool = False
    ) -> FrozenForward:
        """Return the UNet, with its edits, as a differentiable function outside inference mode, on clips of ``frames``.

        It is a copy, in float32, that nothing else uses. ``learner``: a motion module that learns in it, after the
        edits; the model may have none then. ``save_memory``: blocks are worked out again for gradients.
        """
        ...
