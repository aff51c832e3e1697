"""English words: the forms of a verb, the singular of a noun, and phrases that name a thing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from . import vocabulary as v


def _forms(base: str) -> set[str]:
    """Return the forms of a regular verb, and some that do not exist."""
    stem = base[:-1] if base.endswith("e") else base
    stems = {stem, base + base[-1]} if base[-1] not in "ewy" else {stem}
    past = base[:-1] + "i" if base.endswith("y") else stem
    endings = {part + ending for part in stems for ending in ("ing", "ed")}
    return {base, base + "s", base + "es", past + "es", past + "ed"} | endings


VERBS = {
    form: base
    for group in (v.ACTING, v.STANDING, v.APPEARING, v.VANISHING, v.GROWING, v.SHRINKING, v.GOING)
    for base in group
    for form in _forms(base)
} | v.IRREGULAR
del VERBS["left"]  # mostly a place and not a verb

DETERMINERS = v.ONE | v.THAT | v.OWNED | set(v.NUMBERS) | {"some", "several", "many", "an"}
MOST_DETERMINERS = 4  # in a row, as in "both the other two"
DESCRIBING = v.COLORS | v.ADJECTIVES | set(v.SIZES)


@dataclass
class NounPhrase:
    """A noun phrase: determiner, words, the place of the head among the words, number of things, and end."""

    determiner: str
    words: list[str]
    head: int
    count: int
    end: int

    @property
    def noun(self) -> str:
        """The head, which names the kind of thing."""
        return self.words[self.head]


def find_noun_phrase(tokens: Sequence[str], at: int, known: Collection[str]) -> NounPhrase | None:
    """Return the noun phrase that begins at a place, with its descriptions. ``known``: nouns of things so far."""
    phrase = _core(tokens, at, known)
    if phrase:
        _extend(phrase, tokens, known)
    return phrase


def _core(tokens: Sequence[str], at: int, known: Collection[str]) -> NounPhrase | None:
    determiner, count = "", 1
    if tokens[at : at + 1] == ["that"] and VERBS.get("".join(tokens[at + 1 : at + 2])) not in (
        None,
        *tokens[at + 1 : at + 2],
    ):
        return None  # "that rolls" names nothing
    first = at
    while at < len(tokens) and tokens[at] in DETERMINERS and at - first < MOST_DETERMINERS:
        word = tokens[at]
        determiner = determiner if determiner in v.THAT else word
        count = v.NUMBERS.get(word, count)
        at += 1
    words: list[str] = []
    while at < len(tokens) and not _ends(tokens[at], words, determiner, known):
        words.append(tokens[at])
        at += 1
    if not words or all(word in DESCRIBING for word in words):
        return None
    return NounPhrase(determiner, words, len(words) - 1, count, at)


def _ends(word: str, words: list[str], determiner: str, known: Collection[str]) -> bool:
    if not word[0].isalnum() or word in v.FUNCTION_WORDS | DETERMINERS | v.SINGULAR | v.PLURAL | v.MIDDLE:
        return True
    if word in v.COLUMNS or len(words) >= 5 or word.endswith("n't"):
        return True
    named = any(each not in DESCRIBING for each in words)
    if not words and not any(letter.isalpha() for letter in word):
        return True  # a number alone names no thing
    if not named:
        bare = not determiner and word not in DESCRIBING
        return bare and (word in VERBS or word.endswith("ly")) and word not in v.NOUNS_LIKE_VERBS
    if word in v.NOUNS_LIKE_VERBS:
        return False
    if word in VERBS or word.endswith(("ing", "ed", "ly")):
        return True
    single = determiner in v.ONE or (determiner in ("the", "") and words[-1] in known)
    return single and word.endswith("s") and not word.endswith(("ss", "us"))


def _extend(phrase: NounPhrase, tokens: Sequence[str], known: Collection[str]) -> None:
    """Add descriptions of the thing: ``of water``, ``in green``, ``in a red dress``, ``with a hat``, ``named Ann``."""
    following = tokens[phrase.end] if phrase.end < len(tokens) else ""
    if following not in ("of", "in", "with", "wearing", "named", "called"):
        return
    start = phrase.end + 1
    stop = start
    while stop < len(tokens) and tokens[stop] in v.COLORS:
        stop += 1
    inner = _core(tokens, start, known)
    if following == "in" and (not inner or inner.noun not in v.GARMENTS):
        if stop == start or (inner and inner.end > stop):
            return
        end = stop
    elif inner and inner.noun not in v.PICTURE | v.BACKDROPS:
        end = inner.end
    else:
        return
    phrase.words = [*phrase.words, *tokens[phrase.end : end]]
    phrase.end = end


def participle(base: str) -> str:
    """Return a verb's form in -ing."""
    doubled = base in ("sit", "chop", "cut", "dig", "put", "clap")
    stem = base[:-2] + "y" if base.endswith("ie") else base[:-1] if base.endswith("e") else base
    return f"{stem}{stem[-1] if doubled else ''}ing"


def singular(word: str) -> str:
    """Return a noun's singular."""
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us")) else word
