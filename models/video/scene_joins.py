"""Join the pictures of several scenes to one video, by hard cuts or cross-fades.

In a cross-fade of n frames the last n of a scene, x_k, and the first n of the next, y_k, lie over each other:
(1 - p_k) x_k + p_k y_k, with p_k = k / (n + 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .shapes import Images


def join_scenes(scenes: Sequence[Images], cross_fade: int = 0) -> Images:
    """Put scenes one after the other, each of a length of its own, on the first one's device.

    The video is n frames shorter for each cross-fade; 0 is a hard cut.

    Raises:
        ValueError: there is no scene, or one without frames, or sizes differ, or a scene is shorter than its fades.

    Examples:
        >>> join_scenes([torch.zeros(3, 1, 1, 1), torch.ones(2, 1, 1, 1)], cross_fade=1).flatten()
        tensor([0.0000, 0.0000, 0.5000, 1.0000])
    """
    _check(scenes, cross_fade)
    n, last = cross_fade, scenes[0]
    parts: list[Images] = []
    p = torch.arange(1, n + 1).view(-1, 1, 1, 1).to(last) / (n + 1)
    for scene in scenes[1:]:
        scene, cut = scene.to(last), len(last) - n
        parts += [last[:cut], torch.lerp(last[cut:], scene[:n], p)]
        last = scene[n:]
    return torch.cat([*parts, last]) if parts else last


def _check(scenes: Sequence[Images], cross_fade: int) -> None:
    if not scenes:
        raise ValueError("images: got no scenes; expected at least one; connect the list of pictures.")
    first = scenes[0].shape[1:]
    for number, scene in enumerate(scenes, 1):
        if scene.shape[1:] != first:
            (height, width, *channels), (high, wide, *more) = scene.shape[1:], first
            raise ValueError(
                f"images: scene {number} of {len(scenes)} is {width} x {height} with {channels[0]} channels; expected "
                f"{wide} x {high} with {more[0]} as the first; make all of one size, or scale them before."
            )
        if not len(scene):
            raise ValueError(
                f"images: scene {number} of {len(scenes)} has no frames; expected one at least; lower skip."
            )
        fades = (number > 1) + (number < len(scenes))
        if len(scene) < fades * cross_fade:
            raise ValueError(
                f"cross_fade={cross_fade}: scene {number} of {len(scenes)} has {len(scene)} frames; expected at least "
                f"{fades * cross_fade}, a fade at {'either' if fades == 2 else 'one'} end; lower cross_fade, or make "
                "the scene longer."
            )
