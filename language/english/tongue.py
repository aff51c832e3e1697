"""Tell whether a sentence is English, by small words that are common in English or in other languages.

This file has the commonest small words of other languages in Latin letters. A sentence in other letters is not English.
"""

from __future__ import annotations

import re
from typing import Literal

from . import vocabulary as v
from .noun_phrases import DESCRIBING, DETERMINERS, VERBS

# Words that are in nearly every sentence of another language, and never or rarely in English. One row a language.
_SMALL_WORDS = """
    der die das dem des ein eine einen einem einer und ist sind im zum zur nach mit auf aus vom nicht dann ich wir läuft
    le la les un une des du et est sont dans vers avec sur au aux puis qui pas il elle ils cette ses
    el los las una uno y es son por con del hacia luego se su que está en al
    o os um uma e do da dos das com para pelo pela não é em ao na nos
    lo gli di nel nella dello della dei sul sulla verso poi che sono è dal alla
    een het en naar niet zijn op aan uit wordt de
    ett och är på från inte att det som av
    og på til fra ikke er
    w na z i jest się do nie oraz
    ve bir bu ile için sonra
    ja on ei sen yang dan dari ke ini itu dengan sebuah seekor
    ek hai hain mein aur ka ki ke ko se raha rahi rahe karta karti karte hota hoti gaya gayi wala nahi phir jata jati
    và một trong của là không
    az egy és nem hogy
    lorem ipsum dolor amet
"""
# ... without words that look the same in English.
_BOTH = set(
    "a an as am at be by come die do dos he i in is it me no nos on op so son to un us we sur all her".split()
)
FOREIGN = frozenset(_SMALL_WORDS.split()) - _BOTH
ENGLISH = frozenset(
    v.FUNCTION_WORDS | DETERMINERS | v.SINGULAR | v.PLURAL | DESCRIBING | set(VERBS) | v.PLACES | v.CONTAINERS
    | v.GARMENTS | v.BACKDROPS | v.PICTURE | v.EDGES | v.MIDDLE | set(v.COLUMNS) | set(v.ROWS) | set(v.STEPS)
    | v.NOUNS_LIKE_VERBS
) - {"all", "no", "not", "so", "too"}  # fmt: skip
_CLIPPED = re.compile(r"(?:[lsdnjcm]|qu|dell|all|un)['’]\w{3}")  # l'oiseau, s'envole, dell'acqua

Tongue = Literal["english", "foreign", "unknown"]


def find_tongue(sentence: str) -> Tongue:
    """Tell whether a sentence is English; ``unknown`` if no word of it tells.

    Examples:
        >>> [find_tongue(each) for each in ("A fiancée sits in a café.", "Der Hund schläft im Park.", "Koira juoksee")]
        ['english', 'foreign', 'unknown']
        >>> find_tongue("Собака бежит"), find_tongue("Ek dog aata hai")
        ('foreign', 'foreign')
    """
    words = re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", sentence.lower())
    english = sum(word in ENGLISH for word in words)
    foreign = sum(word in FOREIGN or not _has_plain_letters(word) for word in words)
    if foreign and foreign >= english - sum(word in ENGLISH and word in FOREIGN for word in words):
        return "foreign"
    return "english" if english else "unknown"


def _has_plain_letters(word: str) -> bool:
    return word.replace("’", "'").isascii() and not _CLIPPED.match(word)
