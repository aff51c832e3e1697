"""What clips a motion module for SDXL was trained on, and what is said of others; nothing is changed.

Source: sizes of https://github.com/guoyww/AnimateDiff, branch ``sdxl``, and clips of
https://github.com/hotshotco/Hotshot-XL.
"""

from __future__ import annotations

from ..edits.call import Plan

CELL = 8  # pixels of a side of a latents' cell
AREA, NARROWEST = (
    1024**2,
    768 / 1344,
)  # pixels of AnimateDiff-SDXL's pictures, and the shorter side over the longer
NEAR = 0.05  # share of the area by which its sizes differ
HOTSHOT_FRAMES = 8


def misfit(name: str, family: str, plan: Plan) -> str | None:
    """Return what clips of a run are that a module was not trained on, and what would be right; None: nothing.

    Args:
        name: name of the module's file.
        family: kind of module, as ``checkpoint.Family``.
        plan: the run.
    """
    if family == "animatediff_sdxl" and plan.size is not None and not _is_known(*plan.size):
        height, width = (CELL * side for side in plan.size)
        return (
            f"{name} was trained on pictures of 1024 x 1024 pixels in all, from 1344 x 768 to 768 x 1344; got {width} "
            f"x {height}; expected one of their sizes, such as 1024 x 1024; set it in Empty Latent Image."
        )
    frames = plan.frames if plan.together is None else plan.together
    if family == "hotshotxl" and frames != HOTSHOT_FRAMES:
        return (
            f"{name} was trained on clips of {HOTSHOT_FRAMES} frames; got {frames} at once; expected "
            f"{HOTSHOT_FRAMES}; set batch_size of Empty Latent Image to it, or for longer clips the length of "
            "Context Windows."
        )
    return None


def _is_known(height: int, width: int) -> bool:
    """Tell whether latents are of a size that AnimateDiff-SDXL was trained on, or near it."""
    area, narrowness = height * width * CELL**2, min(height, width) / max(height, width)
    return abs(area / AREA - 1) <= NEAR and narrowness >= NARROWEST * (1 - NEAR)
