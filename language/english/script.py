"""Take a script apart for the rules: from Markdown and other notations to scenes of plain sentences.

Parts that are not sentences (headings, captions, speech, code, times) are left out, and the user is told. Scripts that
can't be sentences at all (JSON, templates, prompts by frame) are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

from ...models.files.json_text import read_json
from ..llm.model import Tell
from .noun_phrases import find_noun_phrase
from .tongue import find_tongue
from .vocabulary import PLACES, QUALITY

MAX_CHARACTERS = 20_000
MAX_SCENES = 64
SHOWN = 60  # characters of a sentence in a message
SHOWN_NOTES = 3  # parts that the error names if nothing remains
LONG = 40  # words; the rules mostly misread longer sentences

_HEADER = re.compile(
    r"(?im)(?:^[ \t]*|(?<=[.!?])[ \t]+(?=\w+[ \t]*#?\d+[ \t]*[:.)\-–]))"
    r"(?:scene|shot|frame|panel|clip)[ \t]*#?\d+[ \t]*[:.)\-–]?"
)
_THEN = re.compile(r"(?i)(?:[,;]\s*)?(?:\band\s+)?\bthen\b,?")
_SENTENCE = re.compile(r"(?<=[.!?;。！？])\s+")
_SLUG = re.compile(
    r"(?i)^\s*(?:\d+\s+)?(?:int|ext|i/e|int\.?/ext)[. ]+\s*(?P<place>[^-–—.]+?)\s*(?:[-–—.].*)?$"
)
_CUE = re.compile(r"^\s*[A-Z][A-Z '-]{1,30}(?:\(.*\))?\s*$")  # name of a speaker
_CUT = re.compile(r"^\s*(?:FADE|CUT|DISSOLVE|SMASH|MATCH|TITLE|THE END|CONTINUED)\b[^a-z]*$")
_BULLET = re.compile(r"^\s*(?:>\s*)*(?:[-*+•●▪◦·–—]\s+|\(?\d{1,3}[.)]\s+|[a-z]\)\s+)?(?:\[[ xX]?\]\s+)?")
_TIME = re.compile(
    r"^\s*[\[(]?\d{1,2}:\d{2}(?:[:.]\d+)?(?:\s*(?:[-–—]|to)\s*\d{1,2}:\d{2}(?:[:.]\d+)?)?[\])]?\s*[-–—:]?\s*"
)
_NAME = re.compile(r"^\s*\[(?P<name>[A-Z][\w .'-]{0,30})\]\s*")
_CODE = re.compile(
    r"""
    \w\s*[-+*/]?=(?![=>])\s*\w                                    # x = 1
    | ^\s*import\s+[\w.]+\s*$ | ^\s*from\s+[\w.]+\s+import\b
    | ^\s*(?:def|class|function|var|let|const)\s+\w+\s*[(=:{]
    | \b[a-z_]\w*\((?!e?s\))[^()]*\)\s*[:;{,]?\s*$                # print("hello")
    """,
    re.VERBOSE,
)
_REQUEST = re.compile(
    r"""
    ^(?:please\s+)?(?:can\ you\s+|i\ want\s+(?:you\ to\s+)?)?
    (?:make|create|generate|show|draw|render|animate|imagine|give)?\s*(?:me\s+)?
    (?:an?|the)\s+(?:\w+\s+)?(?:video|clip|scene|animation|movie|film)\s+(?:of|where|in\ which|with|showing)\s+
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Marks within a line: pattern, replacement, and what the user is told.
_INLINE: tuple[tuple[str, str, str], ...] = (
    (r"!\[[^\]]*\]\([^)]*\)", "", "a link to a picture is left out"),
    (r"\[([^\]]+)\]\([^)]*\)", r"\1", ""),
    (r"(?:https?://|www\.)\S+|[^\s@]{1,64}@[^\s@]{1,99}\.\w+", "", "an address is left out"),
    (r"\b(\w+)\((e?s)\)", r"\1\2", ""),
    (r"</?[A-Za-z][^<>]{0,200}>", "", ""),
    (r"\(([^():]+):\s*[\d.]+\)", r"\1", "weights of phrases are left out"),
    (r"(?:^|(?<=\s))--[a-z]+(?:\s+[\d:.]+)?(?=\s|$)", "", "options that begin with -- are left out"),
    (r"\*{1,3}|`+|~~|(?<![^\W_])_{1,3}|_{1,3}(?![^\W_])|(?<=\s)\*(?=\s)", "", ""),
    (r"[\"“„][^\"“”„]*[.!?,…][\"”“]", "", "speech is left out"),
    (r"(?<=[:,])(\s*)[\"“„][^\"“”„]*[\"”“]", r"\1", "speech is left out"),
    (r"(?i)(\b(?:says?|said|asks?|shouts?|whispers?)\s+)[\"“„][^\"“”„]*[\"”“]", r"\1", "speech is left out"),
)


_WIDE = {ord(wide): f"{plain} " for wide, plain in zip("。．！？，：；", "..!?,:;", strict=True)}


@dataclass
class Script:
    """A script, taken apart.

    Attributes:
        scenes: scenes, each of plain sentences.
        names: names of the persons who act, in small letters, where the script marks them.
    """

    scenes: list[str] = field(default_factory=list[str])
    names: set[str] = field(default_factory=set[str])


def read_scenes(script: str, tell: Tell = lambda sentence: None) -> Script:
    """Take a script apart, and leave out what is not English.

    Args:
        script: script as the user typed it.
        tell: callback that takes one sentence about what was left out.

    Raises:
        ValueError: there is nothing in it to be read, or too much, or most of it is not what the rules read.
    """
    _check(script)
    found = Script()
    lines = _Lines(script, found.names, tell)
    text = lines.read()
    if not re.search(r"[^\W_]", text) and lines.left_out:
        _refuse("no sentence", "; ".join(lines.left_out[:SHOWN_NOTES]))
    kept = 0
    lost: list[tuple[str, str]] = []
    for scene in split_scenes(text):
        whys = [(each, _why_not(each)) for each in _SENTENCE.split(scene)]
        lost += [(each, why) for each, why in whys if why]
        good = [each for each, why in whys if not why]
        kept += len(good)
        if good:
            found.scenes.append(" ".join(good).strip(" .,;"))
    if len(lost) > kept:
        count = len(lost) + kept
        _refuse(
            f"{show(lost[0][0])}, which {lost[0][1]}",
            f"{len(lost)} of {count} sentences" if count > 1 else "",
        )
    for sentence, why in lost:
        tell(f"{show(sentence)} is left out: it {why}")
    for sentence in found.scenes:
        if (words := max(len(part.split()) for part in re.split(r"[.!?;]", sentence))) > LONG:
            tell(
                f"{show(sentence)} has {words} words to a sentence: the rules read short ones, look at its boxes"
            )
    return found


def split_scenes(script: str) -> list[str]:
    """Cut a script into scenes: at ``Scene 2:``; or else at line breaks; or else at sentences. And at *then*.

    Under ``Scene 2:`` nothing else cuts.

    Examples:
        >>> split_scenes("A ball rolls left, then it falls. A dog sleeps.")
        ['A ball rolls left', 'it falls', 'A dog sleeps']
    """
    lines = [line for line in script.splitlines() if line.strip()]
    if _HEADER.search(script):
        parts = _HEADER.split(script)
    else:
        parts = lines if len(lines) > 1 else re.split(r"[.!?]+(?=\s|$)", script)
        parts = [piece for part in parts for piece in _THEN.split(part)]
    scenes = [" ".join(part.split()).strip(" .,;") for part in parts]
    scenes = [scene for scene in scenes if re.search(r"[^\W_]", scene)]
    if not scenes:
        raise ValueError(
            "script: got no words; expected sentences, such as 'A red circle moves to the right.'; write some."
        )
    if len(scenes) > MAX_SCENES:
        raise ValueError(
            f"script: got {len(scenes)} scenes; expected at most {MAX_SCENES}; split it into several."
        )
    return scenes


def show(text: str) -> str:
    """Return the beginning of a text in quotes, on one line."""
    line = " ".join(text.split())
    return repr(line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}...")


def _refuse(got: str, more: str = "") -> NoReturn:
    raise ValueError(
        f"script: got {got}{f' ({more})' if more else ''}; expected plain English sentences, such as 'A red circle "
        "moves to the right.'; write it so, or choose a language model as planner."
    )


def _check(script: str) -> None:
    """Refuse what is too long, what is no text for people, and what others fill in."""
    if len(script) > MAX_CHARACTERS:
        raise ValueError(
            f"script: got {len(script):,} characters; expected at most {MAX_CHARACTERS:,}; split it into several."
        )
    begun = script.lstrip()
    if begun.startswith(("{", "[{")):
        try:
            read_json(begun)
        except ValueError:
            pass
        else:
            _refuse("JSON", "Layout From Text reads storyboards")
    if re.search(r"(?m)^[ \t]*[\"']?\d+[\"']?[ \t]*:[ \t]*[\"']", script):
        _refuse("prompts by frame", "Prompt Travel reads them")
    if place := re.search(r"\{[^{}\n]{0,200}\}", script):
        _refuse(f"{show(place.group())}, a place in a template that nobody filled in")
    if place := re.search(r"(?m)^[ \t]*\[(?!NC\])[A-Z][\w .'-]*\][ \t]*(?i:an?|the)\s.*$", script):
        _refuse(f"{show(place.group())}, which says who somebody is and not what happens")


def _why_not(sentence: str) -> str | None:
    """Return the reason why a sentence is not read; None: it is read."""
    if not re.search(r"[^\W_]", sentence):
        return "has no words"
    return {
        "english": None,
        "foreign": "seems not to be English",
        "unknown": "has no word that the rules know; 'a dragon' is one thing, 'dragon' may be any word",
    }[find_tongue(sentence)]


class _Lines:
    """Reads a script line by line. A line becomes sentences, a header of a scene, or nothing."""

    def __init__(self, script: str, names: set[str], tell: Tell) -> None:
        self._names, self._tell = names, tell
        self.left_out: list[str] = []  # messages to the user so far
        script = script.replace("\r\n", "\n").replace("\r", "\n").translate(_WIDE)
        self._lines = self._without_code(script).split("\n")
        self._slugs = 0  # number of scene headings of a screenplay so far
        self._is_screenplay = any(_SLUG.match(line) for line in self._lines)
        self._in_speech = False

    def read(self) -> str:
        """Return the script without the parts that are not sentences."""
        return "\n".join(filter(None, map(self._read_line, self._lines)))

    def _note(self, words: str, line: str = "") -> str:
        """Tell the user once that something is left out, and return the empty text that replaces it."""
        note = f"{words}: {show(line)}" if line else words
        if note not in self.left_out:
            self.left_out.append(note)
            self._tell(note)
        return ""

    def _without_code(self, script: str) -> str:
        def inner(fence: re.Match[str]) -> str:
            plain = fence["language"].lower() in ("", "text", "txt", "md", "markdown")
            return fence["inner"] if plain else self._note("code is left out", fence["inner"])

        return re.sub(r"(?s)```(?P<language>\w*)[ \t]*\n(?P<inner>.*?)(?:```|\Z)", inner, script)

    def _read_line(self, line: str) -> str:
        line = " ".join(line.split())
        if line.startswith("|") and line.endswith("|"):
            return self._note("a table is left out")
        if self._is_screenplay and (read := self._read_screenplay(line)) is not None:
            return read
        if heading := re.fullmatch(r"#{1,6} (.*?)[ #]*|\*\*([^*.!?]+)\*\*", line):
            return self._read_heading(heading[1] or heading[2] or "")
        line = _BULLET.sub("", line, count=1)
        if not _TIME.fullmatch(line) and (time := _TIME.match(line)) and time.group():
            self._note("times of scenes are left out; all last as long")
            line = line[time.end() :]
        if (name := _NAME.match(line)) and name.end() == len(line):
            return self._note("a label is left out", line)
        if name:
            line = line[name.end() :] if name["name"] == "NC" else f"{name['name']} {line[name.end() :]}"
            self._names |= {name["name"].lower()} - {"nc"}
        elif _CODE.search(line) and "=>" not in line:
            return self._note("code is left out", line)
        return self._read_inline(line)

    def _read_heading(self, title: str) -> str:
        header = _HEADER.match(title)
        title = self._read_inline(title[header.end() :] if header else title)
        place = find_noun_phrase(re.findall(r"[^\W_]+", title.lower()), 0, ())
        if title and (place is None or place.noun not in PLACES):
            title = self._note("a heading is left out", title)
        return f"{header.group() if header else ''} {'in ' + title + '.' if title else ''}".strip()

    def _read_screenplay(self, line: str) -> str | None:
        """Read a heading, a speaker or a speech of a screenplay; None: it is none of them."""
        if slug := _SLUG.match(line):
            self._slugs, self._in_speech = self._slugs + 1, False
            return f"Scene {self._slugs}: in the {slug['place'].lower()}."
        if _CUT.match(line) or not line.strip():
            self._in_speech = False
            return ""
        self._in_speech |= _CUE.match(line) is not None
        return self._note("speech is left out") if self._in_speech else None

    def _read_inline(self, line: str) -> str:
        if caption := re.search(r"(?:(?<=\s)|^)#\s?[^\W\d_].*$", line):
            self._note("a caption is left out", caption.group())
            line = line[: caption.start()]
        for pattern, left, note in _INLINE:
            line, count = re.subn(pattern, left, line)
            if count and note:
                self._note(note)
        line = re.sub(r"(?i)\b(\d)(girl|boy)s?\b", r"\1 \2", line)
        parts = re.split(r"(?<=,)", line)
        plain = [part for part in parts if part.strip(" ,.()").lower() not in QUALITY]
        if len(plain) < len(parts):
            self._note("words for quality and style are left out")
        return _REQUEST.sub("", "".join(plain).strip())
