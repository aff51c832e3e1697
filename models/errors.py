"""The exceptions of the pack. Every message says what, got, expected, and what to do."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A weight file is unreadable or is not what was asked for."""


class HostError(RuntimeError):
    """The host lacks something we need, or something of ours was displaced in it."""


class PredictionError(ArithmeticError):
    """A prediction holds NaN or infinity; the run was stopped rather than saved."""


class LanguageModelError(RuntimeError):
    """A language model gave no answer, or none that could be used."""


class ClipError(ValueError):
    """A clip can't be used. The message says why, and goes behind the file's name."""
