"""Layouts as tokens: there and back, exactly on the grid, and nothing else is read."""

from __future__ import annotations

import contextlib
import random

import pytest
from frameloom.models.layout_prior.sequence import (
    BYTES,
    CLOSE,
    END,
    FIRST_LINE,
    FIRST_TIME,
    LINES,
    NAMED,
    OPEN,
    PADDING,
    SELDOM,
    START,
    VOCABULARY,
    Words,
    count_tokens,
    count_words,
    decode_scene,
    encode_names,
    encode_scene,
    tracks_of,
)
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene

NAMES = ["a red ball", "ball", "ball", "café 猫", "x"]


def random_box(rng):
    left, top = rng.randrange(LINES), rng.randrange(LINES)
    return tuple(
        each / LINES for each in (left, top, rng.randint(left + 1, LINES), rng.randint(top + 1, LINES))
    )


def random_scene(rng):
    frames = rng.randint(1, 129)
    ids, entities = ["a_red_ball", "ball", "ball_2", "café_猫", "x"], []
    for name, text in rng.sample(list(zip(ids, NAMES, strict=True)), rng.randint(0, 5)):
        count = rng.randint(0, min(frames, 6))
        keys = [
            BoxKey(f=frame, box=random_box(rng) if rng.random() < 0.8 else None)
            for frame in sorted(rng.sample(range(frames), count))
        ]
        entities.append(Entity(id=name, text=text, track=tuple(keys), hold=rng.random() < 0.5))
    if [entity.id for entity in entities if entity.text == "ball"] in (["ball_2"], ["ball_2", "ball"]):
        return random_scene(rng)  # ids are given in order
    return Scene(id=1, prompt="a dog, and ünïcode", frames=frames, entities=tuple(entities))


WORDS = Words([" a", " dog", " ball", " 猫"])


@pytest.mark.parametrize(("words", "vocabulary"), [(BYTES, VOCABULARY), (WORDS, VOCABULARY + 4)])
def test_scenes_on_the_grid_come_back_exactly(words, vocabulary):
    rng = random.Random(0)
    for _ in range(100):
        scene = random_scene(rng)
        tokens = encode_scene(scene, words)
        assert max(tokens) < vocabulary
        assert decode_scene(tokens, scene.frames, words) == scene
        assert decode_scene([*tokens, PADDING, PADDING], scene.frames, words) == scene


def test_a_word_is_the_same_token_at_the_start_and_within_and_all_else_is_bytes():
    a, dog = VOCABULARY, VOCABULARY + 1
    assert WORDS.encode("a dog, a dog") == [a, dog, *b",", a, dog]
    assert WORDS.encode("dog") == [dog]
    assert WORDS.encode("a dogma-dog") == [a, *b" dogma-dog"]


def test_any_text_comes_back_from_words_and_bytes():
    rng = random.Random(3)
    for _ in range(500):
        text = "".join(
            rng.choices(["a", "dog", "ball", "猫", "é", " ", "  ", ",", "\n", "x"], k=rng.randint(0, 8))
        )
        assert WORDS.decode(WORDS.encode(text)) == text


def test_words_are_those_that_are_said_often_the_commonest_first():
    texts = ["a dog"] * SELDOM + ["ball, a"] * (SELDOM - 1)
    assert count_words(texts) == (" a", " dog")
    assert count_words([*texts, "ball"]) == (" a", " dog", " ball")


def test_what_a_caption_says_of_a_thing_is_few_words_away_from_its_name():
    caption = "a red circle moving left and a blue cross at the top on a black background"
    words = Words(count_words([caption] * SELDOM))
    assert len(words.encode(caption)) == len(caption.split())


def there_and_back(box):
    scene = Scene(
        id=1, frames=4, entities=(Entity(id="x", text="x", track=(BoxKey(f=3, box=box),), hold=True),)
    )
    (entity,) = decode_scene(encode_scene(scene), 4).entities
    assert (entity.track[0].f, entity.hold) == (3, True)
    return entity.track[0].box


def test_other_boxes_move_by_half_a_line_at_most():
    rng = random.Random(1)
    for _ in range(300):
        left, top = rng.random() * (1 - 1 / LINES), rng.random() * (1 - 1 / LINES)
        box = (left, top, rng.uniform(left + 1 / LINES, 1), rng.uniform(top + 1 / LINES, 1))
        moved = [abs(a - b) for a, b in zip(box, there_and_back(box), strict=True)]
        assert max(moved) <= 0.5 / LINES + 1e-9


@pytest.mark.parametrize("at", [0.0, 0.4999, 0.5, 0.502, 1 - 1e-6])
def test_a_box_smaller_than_a_line_keeps_an_area(at):
    left, top, right, bottom = there_and_back((at, at, at + 1e-6, at + 1e-6))
    assert 0 <= left < right == left + 1 / LINES <= 1
    assert 0 <= top < bottom == top + 1 / LINES <= 1


def test_long_scenes_keep_their_first_and_last_keyframes():
    keys = tuple(BoxKey(f=frame, box=(0, 0, 0.5, 0.5)) for frame in range(1000))
    scene = Scene(id=1, frames=1000, entities=(Entity(id="x", text="x", track=keys),))
    frames = [key.f for key in decode_scene(encode_scene(scene), 1000).entities[0].track]
    assert (frames[0], frames[-1], len(frames)) == (0, 999, 129)


def test_a_layout_is_the_same_sequence_whatever_its_length():
    def scene(frames):
        keys = tuple(BoxKey(f=frame, box=(0, 0, 0.5, 0.5)) for frame in (0, (frames - 1) // 2, frames - 1))
        return Scene(id=1, frames=frames, entities=(Entity(id="x", text="x", track=keys),))

    assert encode_scene(scene(17)) == encode_scene(scene(65))


def test_the_sequence_begins_with_all_names():
    scene = Scene(id=1, prompt="hi", frames=2, entities=(Entity(id="x", text="x"), Entity(id="y", text="y")))
    assert encode_scene(scene) == [
        START, *b"hi", NAMED, *b"x", NAMED, *b"y", OPEN, *b"x", CLOSE, OPEN, *b"y", CLOSE, END
    ]  # fmt: skip


@pytest.mark.parametrize("words", [BYTES, WORDS])
def test_the_length_of_a_sequence_is_known_before(words):
    grammar = tracks_of(NAMES, 16, 3, words)
    tokens = encode_names("hi", NAMES, words)
    allowed = next(grammar)
    try:
        while True:
            tokens.append(allowed[-1])
            allowed = grammar.send(tokens[-1])
    except StopIteration:
        assert len(tokens) == count_tokens("hi", NAMES, 3, words)


@pytest.mark.parametrize(("frames", "keyframes"), [(4, 5), (500, 130), (4, 0)])
def test_more_keyframes_than_frames_are_refused(frames, keyframes):
    with pytest.raises(ValueError, match=rf"keyframes={keyframes} of frames={frames}; expected 1 to"):
        tracks_of(["x"], frames, keyframes)


X = [START, NAMED, *b"x", OPEN, *b"x"]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], r"token 0: got 263 of 0 tokens; expected 256"),
        ([START], r"token 1: got 263 of 1 tokens; expected 262"),
        ([START, 0xFF, END], r"token 1: got 255 of 3 tokens; expected UTF-8"),
        ([START, NAMED, *b"x", OPEN, *b"y", CLOSE, END], r"token 4: got 121 .* expected the name 'x'"),
        ([*X, FIRST_TIME, FIRST_LINE, CLOSE, END], r"expected a box"),
        ([*X, FIRST_TIME, *[FIRST_LINE + 3] * 4, CLOSE, END], r"expected a box with left < right"),
        ([*X, *[FIRST_TIME, 259] * 2, CLOSE, END], r"frames f that rise"),
        ([*X, CLOSE, OPEN, END], r"token 6: got 258 of 8 tokens; expected 262"),
        ([*X, -5, VOCABULARY + 3], r"token 5: got -5"),
    ],
)
def test_what_is_no_sequence_is_an_error_that_says_where(tokens, message):
    with pytest.raises(ValueError, match=message):
        decode_scene(tokens, 4)


def test_random_tokens_are_an_error_or_a_scene():
    rng = random.Random(2)
    for _ in range(300):
        tokens = encode_scene(random_scene(rng))
        for _ in range(rng.randint(1, 3)):
            tokens[rng.randrange(len(tokens))] = rng.randrange(-1, VOCABULARY + 1)
        with contextlib.suppress(ValueError):
            assert isinstance(decode_scene(tokens[: rng.randint(1, len(tokens))], 129), Scene)
