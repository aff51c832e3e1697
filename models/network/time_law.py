"""The time law of a model of video: which frames of a clip each frame of its latents stands for.

The encoders of such models are causal: the first latent frame is the first frame alone, and every other one is the next
``stride`` frames. With F frames of a clip and T of its latents,

    T = (F - 1) // stride + 1,        latent frame t stands for stride (t - 1) + 1 ... stride t,        0 for frame 0

so clips of stride n + 1 frames lose none. A stride of 1 is the law of models of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeLaw:
    """The time law of a model.

    Attributes:
        stride: frames of the clip that every latent frame but the first stands for.
    """

    stride: int = 1

    def latents(self, frames: int) -> int:
        """Return T, the number of latent frames of a clip.

        Examples:
            >>> [TimeLaw(4).latents(frames) for frames in (1, 4, 5, 8, 9, 81)]
            [1, 1, 2, 2, 3, 21]
        """
        return (frames - 1) // self.stride + 1

    def first(self, latent: int) -> int:
        """Return the first frame of the clip that a latent frame stands for.

        Examples:
            >>> [TimeLaw(4).first(latent) for latent in range(4)]
            [0, 1, 5, 9]
        """
        return max(self.stride * (latent - 1) + 1, 0)

    def frames(self, latent: int) -> range:
        """Return all frames of the clip that a latent frame stands for.

        Examples:
            >>> list(TimeLaw(4).frames(2))
            [5, 6, 7, 8]
        """
        return range(self.first(latent), self.stride * latent + 1)
