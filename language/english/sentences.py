"""Read a script in plain English: the things in each scene, what they do, and where they are.

It uses tables of words and their order, and no model. It leaves out what it does not understand. ``rules`` then decides
where things are drawn.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ..llm.model import Tell
from . import vocabulary as v
from .noun_phrases import DESCRIBING, VERBS, NounPhrase, find_noun_phrase, participle, singular
from .script import read_scenes, show

MAX_THINGS = 8  # things in one scene

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[.,;:!?]")


@dataclass
class Motion:
    """The motion of a thing in a scene.

    Attributes:
        verb: verb that was read; empty if there was none, and then the thing stands still.
        step: direction in unit steps, (right, down).
        start: column and row from which the thing comes, -1..1.
        goal: id of the thing that it moves to.
        place: column and row to which it moves.
        across: True if it moves from one side of the picture to the other.
        grow: sign of a change in size: 1 grows, -1 shrinks, 0 stays.
        away: True if it moves away from its goal.
    """

    verb: str = ""
    step: tuple[int, int] = (0, 0)
    start: tuple[int | None, int | None] | None = None
    goal: str = ""
    place: tuple[int | None, int | None] | None = None
    across: bool = False
    grow: int = 0
    away: bool = False


@dataclass
class Thing:
    """A thing in one scene. ``id`` and ``text`` are the same in all scenes; ``side`` is its box's, 0 if not said."""

    id: str
    text: str
    words: tuple[str, ...]
    head: str
    side: float = 0.0
    column: int | None = None
    row: int | None = None
    motion: Motion = field(default_factory=Motion)
    action: str = ""
    is_object: bool = False


@dataclass
class Reading:
    """One scene.

    Attributes:
        things: things in the order in which the text names them.
        background: background without its preposition.
        setting: background with its preposition.
        relations: relations as (id, kind, id). With *drives* the first sends or follows the second.
        text: sentence as the user wrote it.
    """

    things: list[Thing] = field(default_factory=list[Thing])
    background: str = ""
    setting: str = ""
    relations: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    text: str = ""


def read_script(script: str, tell: Tell = lambda sentence: None) -> list[Reading]:
    """Read every scene; the same thing keeps its id, and the background stays until another is named.

    Args and errors are those of ``script.read_scenes``; it is also an error if nothing can be drawn.
    """
    known: list[Thing] = []
    readings: list[Reading] = []
    parts = read_scenes(script, tell)
    for text in parts.scenes:
        reader = _Reader(text, known, parts.names)
        reading = reader.read()
        for lost in reader.lost:
            tell(f"{show(lost)} is left out: nothing in it can be drawn")
        for name in dict.fromkeys(reader.crowd):
            tell(f"{show(name)} is left out: a scene holds {MAX_THINGS} things at most")
        if not reading.things and not reading.background:
            continue
        if readings and not reading.background:
            reading.background, reading.setting = readings[-1].background, readings[-1].setting
        readings.append(reading)
    if not readings:
        raise ValueError(
            f"script: got {show(script)}, in which nothing can be drawn; expected things and what they do, such as "
            "'A red circle moves to the right.'; write some."
        )
    return readings


_SHOWN = {"sit", "sleep", "stand", "lie", *v.ACTING}  # verbs that a still picture can show
_PREPOSITIONS = {"on", "at", "in", "near", "from", "to", "towards", "toward", "into"}
_SETTING = set(
    "in at on inside outside through across along against into over around past down up under".split()
)
# These may stand before any place, also an unknown one.
_OPEN_SETTING = set("in inside against through across along around".split())


class _Reader:
    """Reads one scene from left to right. Each ``_read_*`` reads one kind of phrase at the current place."""

    def __init__(self, text: str, known: list[Thing], names: Collection[str] = ()) -> None:
        self.tokens = _WORD.findall(text.lower().replace("’", "'"))
        self.at = 0
        self.known, self.names = known, names
        self.reading = Reading(text=text)
        self.crowd: list[str] = []  # things beyond ``MAX_THINGS``
        self.lost: list[str] = []  # sentences that were not understood
        # Place where the sentence begins, and whether something of it was read.
        self.began, self.useful = 0, False
        self._begin_clause()

    def read(self) -> Reading:
        readers = (
            self._read_break,
            self._read_relation,
            self._read_place,
            self._read_setting,
            self._read_direction,
            self._read_verb,
            self._read_pronoun,
            self._read_thing,
        )
        while self.at < len(self.tokens):
            if not any(reader() for reader in readers):
                self.at += 1
        self._end_sentence()
        return self.reading

    def _end_sentence(self) -> None:
        words = self.tokens[self.began : self.at]
        if not self.useful and any(word[0].isalnum() for word in words):
            self.lost.append(_joined(words))
        self.began, self.useful = self.at + 1, False

    def _begin_clause(self) -> None:
        self.subjects: list[Thing] = []
        self.movers: list[Thing] = []  # things that the verb's directions move
        self.latest: list[Thing] = []
        self.verb = ""
        self.said = False  # True: a verb or a place of the subjects was read
        self.joined = True  # True: a new thing may follow
        self.pending = ""  # relation whose second thing follows
        self.negated = False
        self.expected: list[tuple[str, list[Thing]]] = []  # relations whose first thing follows
        self.place: tuple[int | None, int | None] | None = None  # place of the thing that follows
        self.between = False  # True: the second of the two things around follows

    def _word(self, offset: int = 0) -> str:
        place = self.at + offset
        return self.tokens[place] if 0 <= place < len(self.tokens) else ""

    def _read_break(self) -> bool:
        word = self._word()
        if word in (".", ";", "!", "?", ":"):
            self._begin_clause()
            if word in (".", "!", "?"):
                self._end_sentence()
        elif word in (",", "and", "while", "but", "as"):
            self.joined = True
        else:
            return False
        self.at += 1
        return True

    def _read_relation(self) -> bool:
        for words, kind in v.RELATIONS.items():
            parts = words.split()
            if self.tokens[self.at : self.at + len(parts)] != parts:
                continue
            after = self.at + len(parts)
            phrase = self._phrase(after)
            pronoun = after < len(self.tokens) and self.tokens[after] in v.SINGULAR | v.PLURAL
            if pronoun or (
                phrase and not self._is_setting(phrase, parts[0]) and phrase.noun not in v.PICTURE
            ):
                self.pending, self.at, self.said = kind, after, True
                return True
        if self._word() == "between" and self._phrase(self.at + 1):
            self.pending, self.between, self.said = "right of", True, True
            self.at += 1
            return True
        return False

    def _read_place(self) -> bool:
        """Take ``on the left``, ``in the top right corner``, ``from the left``, ``to the center``."""
        at = self.at
        preposition = self.tokens[at] if self.tokens[at] in _PREPOSITIONS else ""
        at += bool(preposition)
        while at < len(self.tokens) and self.tokens[at] in ("the", "far", "very", "its", "their"):
            at += 1
        column = row = None
        first = at
        while at < len(self.tokens):
            word = self.tokens[at]
            if word in v.COLUMNS:
                column = v.COLUMNS[word]
            elif word in v.ROWS:
                row = v.ROWS[word]
            elif word not in v.MIDDLE:
                break
            at += 1
        if at == first or (
            not preposition and at - first == 1 and self.tokens[first] in v.STEPS and self.verb
        ):
            return False
        if self.tokens[first] in v.MIDDLE and column is None and row is None:
            column, row = 0, 0
        at = self._skip_picture(at)
        self._put((column, row), preposition)
        self.at = at
        return True

    def _skip_picture(self, at: int) -> int:
        """Skip ``side``, ``corner``, ``of the picture``."""
        while at < len(self.tokens) and self.tokens[at] in v.EDGES:
            at += 1
        rest = self.tokens[at : at + 3]
        if rest[:1] == ["of"] and rest[-1] in v.PICTURE:
            at += len(rest)
        return at

    def _put(self, place: tuple[int | None, int | None], preposition: str) -> None:
        going = self.verb in v.GOING
        if preposition == "from":
            for thing in self.movers:
                thing.motion.start = place
                thing.motion.verb = thing.motion.verb or "move"
                if thing.motion.step == (0, 0):
                    thing.motion.step = (-(place[0] or 0), -(place[1] or 0))
            self.verb = self.verb or "move"
        elif going and preposition in ("to", "towards", "toward", "into", ""):
            for thing in self.movers:
                column, row = place
                thing.motion.step = (column or 0, row or 0)
                start = thing.motion.start or (None, None)
                thing.motion.across |= any(a and b and a == -b for a, b in zip(start, place, strict=True))
                if (column, row) == (0, 0) or None not in place:
                    thing.motion.place = place
        elif not self.subjects:
            self.place = place
        else:
            # The place is the latest thing's; after a verb it is the subjects'.
            self._stand(self.latest if self._word(-1) not in VERBS and self.latest else self.subjects, place)
        self.said = True

    @staticmethod
    def _stand(things: list[Thing], place: tuple[int | None, int | None]) -> None:
        for thing in things:
            thing.column = place[0] if place[0] is not None else thing.column
            thing.row = place[1] if place[1] is not None else thing.row

    def _read_setting(self) -> bool:
        """Take ``in a kitchen``, ``on a navy background``; and a background without a preposition."""
        preposition = self._word() if self._word() in _SETTING else ""
        phrase = self._phrase(self.at + bool(preposition))
        if not phrase or not self._is_setting(phrase, preposition):
            return False
        text = " ".join(phrase.words)
        if phrase.words == [phrase.noun] and phrase.noun in v.BACKDROPS:
            following = self.tokens[phrase.end : phrase.end + 2]
            if len(following) < 2 or following[0] not in ("is", "was"):
                return False
            text, phrase.end, phrase.determiner = f"{following[1]} {text}", phrase.end + 2, "a"
        backdrop = phrase.noun in v.BACKDROPS
        shown = preposition if preposition in ("in", "at", "on", "inside", "outside", "against") else "in"
        determiner = "the" if phrase.determiner in v.THAT | v.OWNED else phrase.determiner
        if backdrop:
            shown, determiner = "on", determiner or "a"
        self.useful = True
        self.reading.background = text
        self.reading.setting = " ".join(part for part in (shown, determiner, text) if part)
        self.at, self.said = phrase.end, self.said or bool(self.subjects)
        return True

    def _is_setting(self, phrase: NounPhrase, preposition: str) -> bool:
        noun = phrase.noun
        if noun in v.BACKDROPS:
            return True
        if not preposition or any(thing.head == noun for thing in self.known) or noun in v.PICTURE:
            return False
        if noun in v.PLACES:
            return preposition in _SETTING
        return preposition in _OPEN_SETTING and noun not in v.CONTAINERS | v.GARMENTS

    def _read_direction(self) -> bool:
        word = self._word()
        motions = [thing.motion for thing in self.movers]
        going = self.verb in v.GOING
        if word in v.STEPS:
            for motion in motions if going else ():
                step = v.STEPS[word]
                motion.step = step[0] or motion.step[0], step[1] or motion.step[1]
        elif word == "diagonally":
            for motion in motions:
                motion.step = motion.step[0] or 1, motion.step[1] or 1
        elif word in ("bigger", "larger", "closer", "nearer", "smaller", "farther", "further"):
            for motion in motions:
                motion.verb, motion.grow = "grow", -1 if word[0] in "sf" else 1
        elif word in ("across", "past", "through") and self.verb:
            for motion in motions:
                motion.across = word == "across"
        elif word == "away":
            for motion in motions:
                motion.away = True
        elif word == "not" or word.endswith("n't") or word == "never":
            self.negated = True
        elif word == "still":
            for motion in motions:
                motion.verb = "stay"
        else:
            return False
        self.at += 1
        return True

    def _read_verb(self) -> bool:
        word = self._word()
        base = VERBS.get(word, "")
        if not base and self._looks_like_verb(word):
            base = word
        if not base:
            return False
        # ", then falls": the thing that was named last falls.
        if self.at == 0 and word != base and self.known:
            self._take([self._here(self.known[-1])])
        self.at += 1
        if base in ("be", "have", "do", "there", "show", "see"):
            return True
        self.verb, self.said, self.movers = base, bool(self.subjects), self.subjects
        self.joined = False
        for thing in self.subjects:
            if not self.negated and base in {*v.GOING, *v.GROWING, *v.SHRINKING, *v.APPEARING, *v.VANISHING}:
                thing.motion.verb = base
                down_up = (base in v.FALLING) - (base in v.RISING)
                thing.motion.step = thing.motion.step[0], thing.motion.step[1] or down_up
                thing.motion.grow = (base in v.GROWING) - (base in v.SHRINKING)
            elif not self.negated and (base in _SHOWN or base == word):
                thing.action = participle(base) if word in VERBS else word
        if base in v.SENDING:
            for thing in self.subjects:
                thing.motion = Motion()
        self.negated = False
        return True

    def _looks_like_verb(self, word: str) -> bool:
        """Tell whether an unknown word right behind a subject is its verb."""
        ends = word.endswith(("ing", "ed")) or (word.endswith("s") and not word.endswith(("ss", "us")))
        return bool(self.subjects) and not self.said and not self.joined and ends and word not in DESCRIBING

    def _read_pronoun(self) -> bool:
        word = self._word()
        if word not in v.SINGULAR | v.PLURAL or (word == "both" and self._phrase(self.at + 1)):
            return False
        here = self.reading.things
        pool = [thing for thing in (here or self.known) if thing not in self.subjects] or here or self.known
        one = pool[:1] if here else self.known[-1:]
        found = one if word in v.SINGULAR else pool if here else pool[-2:]
        self.at += 1
        if found:
            self._take([self._here(thing) for thing in found])
        self.joined = False
        return True

    def _read_thing(self) -> bool:
        phrase = self._phrase(self.at)
        if not phrase or (not phrase.determiner and not (self.joined or self.said or self.pending)):
            return False
        if phrase.words[0] == "camera" and phrase.determiner not in v.ONE:
            self._skip_camera()
            return True
        previous = self._word(-1)
        self.at = phrase.end
        if phrase.noun in v.PICTURE:
            return True
        things = self._resolve(phrase)
        towards = previous in v.TOWARDS and self.verb in v.GOING
        if self.verb in v.APPROACHING or towards or (previous == "from" and self.verb):
            for motion in [thing.motion for thing in self.movers]:
                motion.goal = things[0].id if things else ""
                motion.away = motion.away or previous == "from"
        else:
            self._take(things)
        return True

    def _skip_camera(self) -> None:
        """Skip a motion of the camera, which boxes can't show."""
        began = self.at
        while self._word() not in ("", ",", "and", "while", "but", "as", ".", ";", "!", "?", ":"):
            self.at += 1
        self.lost.append(_joined(self.tokens[began : self.at]))
        self.useful = True  # the user is told

    def _take(self, things: list[Thing]) -> None:
        """Give things their part in the clause: subject, object, or one side of a relation."""
        if not things:
            return
        self.useful = True
        if self.pending and not self.subjects:
            self.expected.append((self.pending, things))
        elif self.pending:
            self._relate(
                self.latest if self.latest and not self.verb else self.subjects, self.pending, things
            )
            if self.between:
                self.between, self.pending = False, "left of"
                return
        elif not self.subjects or (self.joined and self.said):
            self.subjects = self.movers = list(things)
            self.verb, self.said = "", False
            for kind, others in self.expected:
                self._relate(self.subjects, kind, others)
            if self.place:
                self._stand(self.subjects, self.place)
            self.expected, self.place = [], None
        elif self.joined:
            self.subjects += [thing for thing in things if thing not in self.subjects]
        else:
            self._take_objects(things)
        if not self.pending:
            self.latest = self.subjects if things[0] in self.subjects else things
        self.pending, self.joined = "", False
        for thing in self.subjects:
            self._remember(thing.id)

    def _take_objects(self, things: list[Thing]) -> None:
        things = [thing for thing in things if thing not in self.subjects]
        for thing in things:
            thing.is_object = True
        if self.verb in v.FOLLOWING:
            for thing in things:
                thing.motion = self.subjects[0].motion
        if self.verb in v.SENDING:
            self.movers = things
            for thing in things:
                thing.motion = Motion(verb=self.verb)
        kind = "drives" if self.verb in (*v.FOLLOWING, *v.SENDING) else "next to"
        self._relate(self.subjects, kind, things)

    def _relate(self, firsts: list[Thing], kind: str, seconds: list[Thing]) -> None:
        self.reading.relations += [
            (first.id, kind, second.id) for first in firsts for second in seconds if first is not second
        ]

    def _phrase(self, at: int) -> NounPhrase | None:
        return find_noun_phrase(self.tokens, at, {*self.names, *(thing.head for thing in self.known)})

    def _resolve(self, phrase: NounPhrase) -> list[Thing]:
        """Return the things that a phrase means, known or new."""
        core = phrase.words[: phrase.head]
        many = phrase.count > 1
        noun = singular(phrase.noun) if many else phrase.noun
        words = (*core, noun, *phrase.words[phrase.head + 1 :])
        here = {thing.id for thing in self.reading.things}
        if phrase.determiner in v.ONE or (many and phrase.determiner not in v.THAT):
            found = [thing for thing in self.known if thing.words == words and thing.id not in here]
            found = [] if phrase.determiner == "another" else found[: phrase.count]
        else:
            nouns = {noun, singular(noun)}
            found = [t for t in self.known if t.head in nouns and set(core) <= set(t.words)]
            wanted = phrase.count if many else len(found) if noun not in {t.head for t in found} else 1
            found = found[-wanted:] if found else []
        while len(found) < (phrase.count if many else 1) and len(self.known) < 1000:
            found.append(self._new(phrase.determiner, words, noun))
        fits = [thing for thing in found if len(self.reading.things) < MAX_THINGS or thing.id in here]
        self.crowd += [thing.text for thing in found if thing not in fits]
        return [self._here(thing) for thing in fits]

    def _new(self, determiner: str, words: tuple[str, ...], head: str) -> Thing:
        article = "an" if words[0][0] in "aeiou" else "a"
        kept = {"the": "the", "this": "the", "that": "the", "some": "some", "": ""}
        text = " ".join(part for part in (kept.get(determiner, article), *words) if part)
        name = "_".join(words)
        taken = {thing.id for thing in self.known}
        ids = [name, *(f"{name}_{number}" for number in range(2, len(taken) + 3))]
        side = next((v.SIZES[word] for word in words if word in v.SIZES), 0.0)
        thing = Thing(next(each for each in ids if each not in taken), text, words, head, side)
        self.known.append(thing)
        return thing

    def _here(self, thing: Thing) -> Thing:
        """Return a known thing as it is in this scene, and remember it as the latest."""
        for each in self.reading.things:
            if each.id == thing.id:
                return each
        own = Thing(thing.id, thing.text, thing.words, thing.head, thing.side)
        self.reading.things.append(own)
        self._remember(thing.id)
        return own

    def _remember(self, name: str) -> None:
        """Make a thing the latest: a pronoun then means it."""
        place = next(number for number, each in enumerate(self.known) if each.id == name)
        self.known.append(self.known.pop(place))


def _joined(tokens: Sequence[str]) -> str:
    return re.sub(r" (?=[.,;:!?])", "", " ".join(tokens))
