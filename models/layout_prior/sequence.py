"""Layouts as sequences of tokens, which a layout prior is trained on and samples: the format, and its grammar.

    start caption (name text)* ([ text (time left top right bottom | time absent)* ] )* end

after VisorGPT's second style, ``[ person xmin 12 ymin 40 xmax 200 ymax 480 ]``, with keyframes. All names come first,
so that the place of one can depend on what else there will be; then each entity's name and, right after it, its track.

Words that a prior's corpus often says are a token each; all other text is UTF-8 bytes, a token each. So every name can
be said and is read back as it was, and what a caption says of a thing is few tokens away from its name, where a small
prior finds it; in bytes alone it does not.

A coordinate is one token, a line k / 128 of the picture's side, edges included: half a cell of the latents of a
512-pixel picture, finer than anything that is conditioned on it, and exact in binary. A keyframe's time is one token
too, a share k / 128 of the scene, so that a layout doesn't depend on how many frames it is spread over; scenes of up to
129 frames come back exactly.

Not in the sequence: backgrounds, keypoints, reference pictures, ids.

Source: Xie et al. 2023, VisorGPT, https://arxiv.org/abs/2305.13777.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from ..storyboard.scenes import Box, BoxKey, Entity, Ids, Scene
from .prior import Grammar

NAME = "bytes, 128 lines, 1"  # of the format, in a prior's header
LINES = 128
SMALLEST = 8  # lines: side of a sampled box, a cell of the latents of the demo's 128-pixel picture

START, NAMED, OPEN, ABSENT, CLOSE, HOLD, END, PADDING = range(256, 264)
FIRST_LINE = 264
FIRST_TIME = FIRST_LINE + LINES + 1
VOCABULARY = FIRST_TIME + LINES + 1  # without words, which come after it

MOST_WORDS, SELDOM = 1024, 4  # of a list; a word that is said less often has nothing to be learned from
_PIECE = re.compile(r" ?\w+|\W")


class Words:
    """The words that are tokens of their own."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        self._tokens = {word: VOCABULARY + place for place, word in enumerate(words)}
        self._bytes = {token: word.encode() for word, token in self._tokens.items()}

    def encode(self, text: str) -> list[int]:
        """Return text as tokens. A word has the space before it in it, which the text's first word is given.

        Examples:
            >>> Words([" ball", " red"]).encode("red ball, x")
            [523, 522, 44, 32, 120]
        """
        tokens: list[int] = []
        for piece in _PIECE.findall(text):
            word = self._tokens.get(piece if tokens else f" {piece}")
            tokens += piece.encode() if word is None else [word]
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; UnicodeDecodeError where their bytes are no UTF-8."""
        text = b"".join(self._bytes.get(token) or bytes([token]) for token in tokens)
        return text[bool(tokens) and tokens[0] in self._bytes :].decode()

    def __contains__(self, token: int) -> bool:
        """Return whether a token is text."""
        return 0 <= token < START or token in self._bytes


BYTES = Words()


def count_words(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the words that texts say often, the commonest first, each with the space before it.

    Examples:
        >>> count_words(["a red ball", "a ball"] * 3)
        (' a', ' ball')
    """
    counts = Counter(piece for text in texts for piece in _PIECE.findall(f" {text}") if piece[1:])
    return tuple(word for word, count in counts.most_common(MOST_WORDS) if count >= SELDOM)


def encode_scene(scene: Scene, words: Words = BYTES) -> list[int]:
    """Return a scene as tokens; boxes move to the nearest lines, at least one apart.

    Of keyframes that fall on the same share of a scene of more than 129 frames, the last stays.

    Examples:
        >>> ball = Entity(id="ball", text="ball", track=(BoxKey(f=0, box=(0, 0.5, 0.25, 1)),), hold=True)
        >>> encode_scene(Scene(id=1, prompt="a", frames=4, entities=(ball,)))[-12:]
        [258, 98, 97, 108, 108, 393, 264, 328, 296, 392, 261, 262]
    """
    tokens = encode_names(scene.prompt, [entity.text for entity in scene.entities], words)
    for entity in scene.entities:
        tokens += [OPEN, *words.encode(entity.text)]
        keys = {_time(key.f, scene.frames): key.box for key in entity.track}
        for time, box in keys.items():
            tokens += [time, *(_lines(box) if box else (ABSENT,))]
        tokens.append(HOLD if entity.hold else CLOSE)
    return [*tokens, END]


def encode_names(caption: str, names: Sequence[str], words: Words = BYTES) -> list[int]:
    """Return what a sequence begins with: a caption and what is in the scene."""
    tokens = [START, *words.encode(caption)]
    for name in names:
        tokens += [NAMED, *words.encode(name)]
    return tokens


def count_tokens(caption: str, names: Sequence[str], keyframes: int, words: Words = BYTES) -> int:
    """Return the length of a sequence of these entities, each with so many boxes."""
    blocks = sum(len(words.encode(name)) + 2 + 5 * keyframes for name in names)
    return len(encode_names(caption, names, words)) + blocks + 1


def tracks_of(names: Sequence[str], frames: int, keyframes: int, words: Words = BYTES) -> Grammar:
    """Return the grammar of what follows ``encode_names``: these entities, each with a track over the whole scene.

    Every entity has boxes at the first frame, at the last, and at frames that rise between them; with one keyframe it
    stands still. Boxes lie in the picture and are at least ``SMALLEST`` lines wide and high.

    Args:
        names: name of each entity.
        frames: length of the scene.
        keyframes: boxes of each entity.
        words: words that are tokens.

    Raises:
        ValueError: there are more keyframes than frames, or than 129.
    """
    most = min(frames, LINES + 1)
    if not 1 <= keyframes <= most:
        raise ValueError(
            f"keyframes={keyframes} of frames={frames}; expected 1 to {most}; lower keyframes or raise frames."
        )
    return _tracks([words.encode(name) for name in names], frames, keyframes)


def _tracks(names: Sequence[Sequence[int]], frames: int, keyframes: int) -> Grammar:
    times = sorted({_time(frame, frames) for frame in range(frames)})
    for name in names:
        for token in (OPEN, *name):
            yield [token]
        time = yield times[:1]
        yield from _box()
        for following in reversed(range(keyframes - 1)):
            between = times[times.index(time) + 1 : len(times) - following]
            time = yield between if following else times[-1:]
            yield from _box()
        yield [HOLD if keyframes == 1 else CLOSE]
    yield [END]


def _box() -> Grammar:
    """Yield the lines that a box's left, top, right and bottom may lie on."""
    first = range(FIRST_LINE, FIRST_LINE + LINES + 1 - SMALLEST)
    left = yield first
    top = yield first
    yield range(left + SMALLEST, FIRST_LINE + LINES + 1)
    yield range(top + SMALLEST, FIRST_LINE + LINES + 1)


def decode_scene(tokens: Sequence[int], frames: int, words: Words = BYTES) -> Scene:
    """Return the scene that tokens say, with ids made of its names.

    Args:
        tokens: sequence from ``START`` to ``END``; padding after it is left out.
        frames: length of the scene.
        words: words that are tokens.

    Raises:
        ValueError: the tokens are no such sequence; says where.
    """
    reader = _Reader(tokens, words)
    reader.expect(START)
    prompt = reader.text()
    names: list[str] = []
    while reader.take(NAMED):
        names.append(reader.text())
    ids = Ids()
    entities: list[Entity] = []
    for number, name in enumerate(names):
        reader.expect(OPEN)
        reader.same(name)
        keys: list[BoxKey] = []
        while (time := reader.number(FIRST_TIME)) is not None:
            frame = _frame(time, frames)
            keys.append(BoxKey(f=frame, box=None if reader.take(ABSENT) else reader.box()))
        hold = reader.take(HOLD)
        if not hold:
            reader.expect(CLOSE)
        entities.append(Entity(id=ids.of(number, name), text=name, track=tuple(keys), hold=hold))
    reader.expect(END)
    return Scene(id=1, prompt=prompt, frames=frames, entities=tuple(entities))


class _Reader:
    """A place in a sequence."""

    def __init__(self, tokens: Sequence[int], words: Words) -> None:
        self._tokens, self._words, self._at = [*tokens, PADDING], words, 0

    def take(self, token: int) -> bool:
        """Step over a token if it is the next."""
        found = self._tokens[self._at] == token
        self._at += found
        return found

    def expect(self, token: int) -> None:
        """Step over a token."""
        if not self.take(token):
            raise self._error(f"{token}")

    def number(self, first: int) -> int | None:
        """Step over one of the tokens from ``first`` on that are 0 to ``LINES``; None: there is none."""
        value = self._tokens[self._at] - first
        if not 0 <= value <= LINES:
            return None
        self._at += 1
        return value

    def text(self) -> str:
        """Step over text."""
        start = self._at
        while self._tokens[self._at] in self._words:
            self._at += 1
        try:
            return self._words.decode(self._tokens[start : self._at])
        except ValueError as error:
            self._at = start
            raise self._error("UTF-8") from error

    def same(self, name: str) -> None:
        """Step over a name that was given before."""
        start = self._at
        if self.text() != name:
            self._at = start
            raise self._error(f"the name {name!r}")

    def box(self) -> Box:
        """Step over a box."""
        edges = [self.number(FIRST_LINE) for _ in range(4)]
        left, top, right, bottom = (-1 if edge is None else edge for edge in edges)
        if not (0 <= left < right and 0 <= top < bottom):
            raise self._error("a box with left < right and top < bottom before it")
        return left / LINES, top / LINES, right / LINES, bottom / LINES

    def _error(self, expected: str) -> ValueError:
        return ValueError(
            f"layout sequence, token {self._at}: got {self._tokens[self._at]} of {len(self._tokens) - 1} tokens; "
            f"expected {expected}; train or sample it with this version's grammar."
        )


def _time(frame: int, frames: int) -> int:
    return FIRST_TIME + round(frame * LINES / max(frames - 1, 1))


def _frame(time: int, frames: int) -> int:
    return round(time * (frames - 1) / LINES)


def _lines(box: Box) -> list[int]:
    left, top, right, bottom = (round(edge * LINES) for edge in box)
    left, top = min(left, LINES - 1), min(top, LINES - 1)
    return [FIRST_LINE + line for line in (left, top, max(right, left + 1), max(bottom, top + 1))]
