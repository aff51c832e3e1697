"""The command ``frameloom train``: the work of Train Motion Module, or of Train Layout Model, from a file.

Motion is trained on one device or several, a language model on one.

Its exit codes: 0 done, 1 failed, 2 bad usage or an invalid config (nothing started), 130 stopped, with a checkpoint.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...host import api
from ...models.files.whole_file import whole_file
from ...models.motion.save import save_motion
from ...training.board import Board, has_tensorboard
from ...training.loop import LoopSettings
from ...training.motion.run import MotionRun
from ...training.motion.training import CHECKPOINT
from ...training.team import ALONE, Accelerated, Team, check_shares, gather, launched
from .. import select_host
from ..port import HeadlessHost
from ..progress import StepBar, shown_log
from ..v3 import ui
from .config import ConfigError, LayoutModelConfig, RunConfig, TrainConfig, read_config

OK, FAILED, INVALID, STOPPED = 0, 1, 2, 130
CONFIG, PREVIEW, CURVE, BOARD, MODEL = "config.toml", "dataset.png", "curve.png", "tensorboard", "model"


class StoppedError(Exception):
    """The user asked to stop."""


def train(options: argparse.Namespace) -> int:
    """Run the command and return its exit code.

    Args:
        options: options of the command line: config, settings, models, device, traceback.
    """
    started = time.perf_counter()
    with _signals() as stop:
        try:
            team, device = _find_team(options.device)
            port = HeadlessHost(device, "input", "output", options.models)
            select_host(port)
            config = read_config(options.config, options.settings)
            _check_board(config)
            _check_team(config, team)
        except ValueError as error:
            return _say(INVALID, error)
        stop.is_told = team.rank == 0
        try:
            with shown_log() if team.rank == 0 else nullcontext():
                is_motion = isinstance(config, TrainConfig)
                lines = _train(config, team, stop) if is_motion else _tune(config, stop)
        except (StoppedError, KeyboardInterrupt):
            return _say(STOPPED, _describe_stop(config)) if team.rank == 0 else STOPPED
        except (ArithmeticError, OSError, RuntimeError, ValueError) as error:
            if options.traceback:
                traceback.print_exception(error)
            return _say(FAILED, f"failed: {error}")
    if team.rank == 0:
        print("\n".join([*lines, f"{time.perf_counter() - started:.1f} seconds"]))
    return OK


class _Stop:
    """Whether the user asked to stop, and whether this process is the one that says so."""

    asked, is_told = False, True


@contextmanager
def _signals() -> Iterator[_Stop]:
    """Take the first Ctrl-C or SIGTERM as a wish to stop; the second ends at once."""
    stop = _Stop()

    def ask(number: int, _frame: object) -> None:
        if stop.asked:
            signal.signal(number, signal.SIG_DFL)  # the third does not even ask Python
            raise KeyboardInterrupt
        stop.asked = True
        if stop.is_told:
            print("stopping after this step; once more ends at once.", file=sys.stderr, flush=True)

    before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _find_team(device: str | None) -> tuple[Team, str | torch.device | None]:
    """Return the processes that train together, and this one's device."""
    if launched() == 1:
        return ALONE, device
    if device not in (None, "cpu"):
        raise ConfigError(
            f"--device {device}: got one for {launched()} processes; expected cpu, or none: each takes its own."
        )
    try:
        team = Accelerated(on_cpu=device == "cpu")
    except ImportError as error:
        raise ConfigError(
            f"got {launched()} processes without accelerate ({error}); expected it to be installed; "
            'pip install ".[train]" in Frameloom\'s folder.'
        ) from error
    return team, team.device


def _check_team(config: TrainConfig | LayoutModelConfig, team: Team) -> None:
    if isinstance(config, TrainConfig):
        check_shares(config.train["accumulation"], team)
    elif launched() > 1:
        raise ConfigError(
            f"layout_model: got {launched()} processes; expected one, which tunes a language model by itself."
        )
    elif (config.folder / MODEL).exists():
        raise ConfigError(
            f"output.folder: got {config.folder}, which holds a tuned model; expected none; choose another folder, or "
            f"delete {config.folder / MODEL}."
        )


def _check_board(config: RunConfig) -> None:
    if config.output["tensorboard"] and not has_tensorboard():
        raise ConfigError(
            "output.tensorboard: got true without TensorBoard; expected it to be installed; pip install "
            '".[train]" in Frameloom\'s folder, or set it to false.'
        )


def _describe_stop(config: RunConfig) -> str:
    if any(config.folder.glob(f"**/{CHECKPOINT}")):
        return f"stopped; {config.folder} holds a checkpoint, from which the command that made it goes on."
    return "stopped before the first checkpoint; clips that were encoded are kept."


def _train(config: TrainConfig, team: Team, stop: _Stop) -> list[str]:
    """Train, and return what to say of the result."""
    from ...nodes.training.train_motion import draw_curve, make_job

    parts, motion = _load_model(config), _load_start(config)
    dataset, report, preview = _load_dataset(config)
    if team.rank == 0:
        print(report, file=sys.stderr)
    job = make_job(**config.train)
    show = _Show(config, job.settings.loop, len(dataset), preview, team, stop)
    try:
        trained = MotionRun(api.port(), parts, dataset, job, motion, show, team).train(
            lambda key: config.folder
        )
    finally:
        show.close()
    path = config.folder / config.output["file"]
    if team.rank == 0:
        save_motion(path, trained.learned, config.output["dtype"])
        ui.write_png(config.folder / CURVE, draw_curve(trained.losses))
    return [
        str(path),
        f"loss {trained.losses[-1]:.5f} in the last of {len(trained.losses)} steps" if trained.losses else "",
        f"the base is unchanged, SHA-256 {trained.base} before and after",
    ]


def _tune(config: LayoutModelConfig, stop: _Stop) -> list[str]:
    """Tune a language model, and return what to say of it."""
    from ...nodes.training.train_layout_model import Tuning, tune_model

    steps = config.layout_model["steps"]
    bar = StepBar(steps, "step")
    board = Board(config.folder / BOARD) if config.output["tensorboard"] else None

    def on_step(step: int, loss: float) -> None:
        bar.update(step + 1)
        if board is not None:
            board.add(step, loss=loss)
        if stop.asked:
            raise StoppedError

    result = config.folder / MODEL
    try:
        said = tune_model(Tuning(**config.layout_model), result, config.folder, on_step)
    finally:
        if board is not None:
            board.close()
    with whole_file(config.folder / CONFIG) as part:
        part.write_text(config.to_toml(), "utf-8")
    return [str(result), said]


def _load_model(config: TrainConfig) -> tuple[Any, Any, Any]:
    """Return MODEL, CLIP and VAE."""
    from ...nodes.zero_shot.latents import CrossFrameAttnPatch
    from ..core_nodes.engine import engine

    table = config.model
    model, clip, vae = (
        engine().load_demo() if table["demo"] else engine().load_checkpoint(table["checkpoint"])
    )
    for lora in table["loras"]:
        model = engine().load_lora(model, lora["file"], lora["strength"])
    if "cross_frame_attention" in table:
        model = CrossFrameAttnPatch.execute(model, **table["cross_frame_attention"])[0]
    return model, clip, vae


def _load_start(config: TrainConfig) -> Any:
    """Return the MOTION to begin with, if any."""
    from ...nodes.motion.modules import MotionLoRALoader, MotionModuleLoader

    if not config.start["motion"]:
        return None
    motion = MotionModuleLoader.execute(config.start["motion"])[0]
    for lora in config.start["loras"]:
        motion = MotionLoRALoader.execute(motion, **lora)[0]
    return motion


def _load_dataset(config: TrainConfig) -> tuple[Any, str, Tensor]:
    """Return the clips, what was found, and a sheet of them."""
    from ...nodes.training.video_dataset import FOLDER, VideoDataset
    from ..core_nodes.engine import engine

    table = dict(config.dataset)
    if table["source"] == FOLDER:
        folder = Path(table["folder"]).expanduser().resolve()
        engine().input_dir, table["folder"] = folder.parent, folder.name
    dataset, report, preview = VideoDataset.execute(**table)[0:3]
    return dataset, report, preview


class _Show:
    """Bars of clips and of steps, TensorBoard, and the user's wish to stop, which all processes heed at once."""

    def __init__(
        self, config: TrainConfig, loop: LoopSettings, clips: int, preview: Tensor, team: Team, stop: _Stop
    ) -> None:
        self._config, self._loop, self._preview = config, loop, preview
        self._team, self._stop = team, stop
        is_main = team.rank == 0
        self._bar = StepBar(clips, "clip") if is_main else None
        with_board = is_main and config.output["tensorboard"]
        self._board = Board(config.folder / BOARD) if with_board else None
        self._since, self._is_begun = time.perf_counter(), not is_main

    def clip(self, done: int) -> None:
        """Show that clips are encoded."""
        self._since = time.perf_counter()
        if self._bar is not None:
            self._bar.update(done)
        if self._stop.asked:
            raise StoppedError

    def step(self, step: int, losses: Sequence[float]) -> None:
        """Show a step; the first tells that the folder's checkpoint, if there is one, is of this run."""
        if not self._is_begun:
            self._begin()
        now = time.perf_counter()
        if self._board is not None:
            rate = self._loop.rate(step)
            self._board.add(step, loss=losses[-1], learning_rate=rate, seconds_a_step=now - self._since)
        self._since = now
        if self._bar is not None:
            self._bar.update(step + 1)
        if any(asked for (asked,) in gather(self._team, self._stop.asked)):
            raise StoppedError

    def sample(self, strip: Tensor) -> None:
        """Show a sample."""
        if self._board is not None:
            self._board.picture("sample", strip)

    def close(self) -> None:
        """Write what is still in memory."""
        if self._board is not None:
            self._board.close()

    def _begin(self) -> None:
        """Write down what is run, and on what; count steps from now on."""
        self._bar = StepBar(self._loop.steps, "step")
        folder = self._config.folder
        with whole_file(folder / CONFIG) as part:
            part.write_text(self._config.to_toml(), "utf-8")
        ui.write_png(folder / PREVIEW, self._preview)
        self._is_begun = True


def _say(code: int, message: object) -> int:
    print(message, file=sys.stderr)
    return code
