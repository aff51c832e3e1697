"""The demo model, headless, and the one way that evidence samples from it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch
from frameloom.headless import select_host
from frameloom.headless.engine.motion import LoadedMotion
from frameloom.headless.port import HeadlessHost
from frameloom.headless.weights.model import Model
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.edit import motion_edit
from frameloom.models.motion.lora import read_motion_lora
from frameloom.tools.evidence.rows import SEED, Row
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "assets" / "demo"
ADAPTER_FILE = "mask_adapter.safetensors"
MODEL, MOTION, LORA = (
    ASSETS / name for name in ("model.safetensors", "motion.safetensors", "pan_left.safetensors")
)
MOVING = (MODEL, MOTION)
ADAPTED_FILES = (*MOVING, ASSETS / ADAPTER_FILE)
CPU = "CPU"
STEPS, CFG, SAMPLER, SCHEDULER = 12, 3.0, "ddim", "normal"
LATENT_SIDE = shapes.IMAGE_SIZE // 8

_Drawn = TypeVar("_Drawn")


class Studio:
    """The demo model, headless, and the one way this folder samples from it.

    Args:
        device: device by torch's name; half precision if it is not the CPU.
        workers: processes that share what ``each`` draws, every one with a model of its own.
    """

    def __init__(self, device: str = "cpu", workers: int = 1) -> None:
        self._device, self._workers = device, workers
        self.host = HeadlessHost(device, ROOT, ROOT / "output", ROOT)
        self.model, self.clip, self.vae = self.host.load_demo()
        weights = read_motion_weights(ASSETS / "motion.safetensors")
        self.motion = self.host.load_motion(weights)
        self.schedule = weights.beta_schedule

    def select(self) -> None:
        """Let nodes ask this host; node files can be imported then."""
        select_host(self.host)

    @property
    def device(self) -> str:
        """What the figures were drawn on, in words."""
        kind = self.host.device
        return torch.cuda.get_device_name(kind) + ", half precision" if kind.type == "cuda" else CPU

    def each(self, name: str, count: int, draw: Callable[[Studio, int], _Drawn]) -> list[_Drawn]:
        """Return what is drawn for each number from 0, in their order.

        Args:
            name: name of what is drawn, for the progress that is printed.
            count: number of draws.
            draw: function of a studio and a number, in a module. Its result is on the CPU.
        """
        drawn = []
        for one in self._share(count, draw):
            drawn.append(one)
            if len(drawn) % 8 == 0:
                print(f"{name}: {len(drawn)}/{count}", flush=True)
        return drawn

    def _share(self, count: int, draw: Callable[[Studio, int], _Drawn]) -> Iterator[_Drawn]:
        if self._workers == 1:
            yield from (draw(self, number) for number in range(count))
            return
        with ProcessPoolExecutor(
            self._workers, get_context("spawn"), initializer=_open, initargs=(self._device,)
        ) as crew:
            yield from crew.map(_draw, [draw] * count, range(count))

    def animated(self, lora_strength: float = 0.0) -> Model:
        """Return the model with the motion module, and the motion LoRA on it if its strength is not 0."""
        motion = self.motion
        if lora_strength:
            motion = motion.with_lora(read_motion_lora(ASSETS / "pan_left.safetensors"), lora_strength)
        return self.with_motion(motion)

    def with_motion(self, motion: LoadedMotion) -> Model:
        """Return the model with a motion module, or one with motion LoRAs on it, sampled as the demo's."""
        return self.host.install(self.model, motion_edit("evidence", motion, self.schedule))

    @property
    def adapted_motion(self) -> LoadedMotion:
        """The motion module with the mask adapter on it."""
        return self.motion.with_lora(read_motion_lora(ASSETS / ADAPTER_FILE), 1.0)

    def sample(self, model: Model, prompt: str, frames: int, seed: int, negative: str = "") -> Tensor:
        """Sample and decode one prompt. Returns [F, 3, H, W] in -1..1."""
        return self.decode(self.denoise(model, prompt, draw_noise(frames, seed), negative=negative))

    def denoise(
        self,
        model: Model,
        prompt: str | list[Any],
        noise: Tensor,
        *,
        latent: Tensor | None = None,
        sigmas: Tensor | None = None,
        negative: str = "",
        mask: Tensor | None = None,
        sampler: str = SAMPLER,
        cfg: float = CFG,
    ) -> Tensor:
        """Sample a prompt or a condition, from an empty latent over all noise levels unless they are given.

        ``latent``, ``noise``: [F, 4, h, w]. Returns latents like them.
        """
        positive = self.host.encode_text(self.clip, prompt)[0] if isinstance(prompt, str) else prompt
        return self.host.sample(
            model,
            positive,
            self.host.encode_text(self.clip, negative)[0],
            {"samples": torch.zeros_like(noise) if latent is None else latent},
            noise=noise,
            sigmas=self.host.sigmas(model, STEPS, SCHEDULER) if sigmas is None else sigmas,
            sampler=sampler,
            cfg=cfg,
            mask=mask,
        )["samples"]

    def decode(self, latent: Tensor) -> Tensor:
        """Decode latents to pictures, [F, 3, H, W] in -1..1."""
        return self.host.decode(self.vae, {"samples": latent}).movedim(-1, 1) * 2 - 1


def draw_noise(frames: int, seed: int) -> Tensor:
    """Draw what a clip starts from, [F, 4, h, w]."""
    return torch.randn(frames, 4, LATENT_SIDE, LATENT_SIDE, generator=step_generator(SEED, seed))


def watched(name: str, items: Sequence[_Drawn]) -> Iterator[_Drawn]:
    """Yield items, and say after every sixteenth how many are done."""
    for done, item in enumerate(items, 1):
        yield item
        if done % 16 == 0:
            print(f"{name}: {done}/{len(items)}", flush=True)


_own: list[Studio] = []  # of a worker's process


def _open(device: str) -> None:
    torch.set_num_threads(1)
    _own.append(Studio(device))


def _draw(draw: Callable[[Studio, int], _Drawn], number: int) -> _Drawn:
    return draw(_own[0], number)


@dataclass(frozen=True)
class Section:
    """A part of the evidence. Every file of this folder offers its own as ``SECTIONS``, by their names.

    Attributes:
        rows: measures it.
        files: all that it measures, which its rows are keyed by.
        note: remark that a reader must know.
    """

    rows: Callable[[Studio, int], list[Row]]
    files: tuple[Path, ...]
    note: str = ""

    @property
    def key(self) -> str:
        """Hash of its files."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]
