"""Scripts of many kinds: each is read rightly, or refused in words; what is left out is named."""

from __future__ import annotations

import contextlib

import pytest
from frameloom.language.english.rules import plan_by_rules
from frameloom.language.english.script import MAX_CHARACTERS
from frameloom.language.english.tongue import ENGLISH, FOREIGN, find_tongue
from frameloom.tools.evidence.scripts import HELD_OUT, IN_VIEW

# Kind: script, the things and the background of each scene, and what is told.
READ: dict[str, tuple[str, ...]] = {
    "mixed": (
        "A red ball rolls right. Der Hund schläft.",
        "a red ball",
        "'Der Hund schläft' is left out: it seems not to be English",
    ),
    "md headings": (
        "# My Film\n\n## Scene 1: The park\nA red ball rolls to the right.\n\n## Scene 2: The sea\n"
        "A boat floats.",
        "a red ball | park / a boat | sea",
        "a heading is left out: 'My Film'",
    ),
    "md bold": ("**A red ball** rolls to the *right*. A `blue` cross _falls_.", "a red ball / a blue cross"),
    "md code text": ("```\nA red ball rolls to the right.\n```", "a red ball"),
    "md link": (
        "A [red ball](http://example.com/ball.png) rolls to the right. ![pic](a.png)",
        "a red ball",
        "a link to a picture is left out",
    ),
    "bold scene": ("**Scene 1:** A red ball rolls left.\n**Scene 2:** A dog sleeps.", "a red ball / a dog"),
    "html": ("<p>A red ball rolls to the <b>right</b>.</p>", "a red ball"),
    "quote": ('A girl says "hello" and walks to the left.', "a girl", "speech is left out"),
    "storydiffusion": (
        "[Bob] wakes up in the bed #He slept well\n[Bob] walks to the right #On his way\n"
        "[NC] a river in a forest",
        "bob | bed / bob | bed / a river | forest",
        "a caption is left out: '#He slept well'",
        "a caption is left out: '#On his way'",
    ),
    "names": ("Bob walks to the left. Alice follows him.", "bob / alice"),
    "weights": (
        "(a red ball:1.2) rolls to the right, ((masterpiece)), best quality",
        "a red ball",
        "weights of phrases are left out",
        "words for quality and style are left out",
    ),
    "sd tags": (
        "masterpiece, best quality, 1girl, solo, long hair, school uniform",
        "girl, long hair, school uniform",
        "words for quality and style are left out",
    ),
    "numbers": ("3 balls roll to the left. 2 dogs sleep.", "a ball, a ball, a ball / a dog, a dog"),
    "caps": ("A RED BALL ROLLS TO THE RIGHT. THEN IT FALLS.", "a red ball / a red ball"),
    "no verbs": ("Red circle, blue cross. Navy background.", "red circle, blue cross / | navy background"),
    "question": ("Does a red ball roll to the right? Where is the dog?", "a red ball / the dog"),
    "requests": (
        "Make a video of a red ball that rolls left\nPlease create a scene where two cats play in a garden.",
        "a red ball / a cat, a cat | garden",
    ),
    "long": (
        "A small red ball, which had been lying on the old wooden table since the morning "
        "when the children left for school, slowly rolls to the right across the table while "
        "a fat cat on a chair watches it and a dog sleeps below the table in the quiet kitchen.",
        "a small red ball, the old wooden table, the morning, the children, school, a fat cat, a chair, a dog "
        "| quiet kitchen",
        "'A small red ball, which had been lying on the old wooden ...' has 50 words to a sentence: "
        "the rules read short ones, look at its boxes",
    ),
    "emoji": (
        "🐶 runs to the right 🎉🎉. A cat ✨ sleeps.",
        "a cat",
        "'runs to the right' is left out: nothing in it can be drawn",
    ),
    "arrows": ("A red ball -> right. A dog => left.", "a red ball / a dog"),
    "quotes typographic": ("“A red ball” rolls to the right — then it ‘falls’…", "a red ball / a red ball"),
    "marks only lines": ("A red ball rolls left.\n***\n___\n---\nA dog sleeps.", "a red ball / a dog"),
    "timestamps": (
        "0:00-0:03 A red ball rolls left\n0:03-0:06 A dog sleeps",
        "a red ball / a dog",
        "times of scenes are left out; all last as long",
    ),
    "sentence lost": (
        "A red ball rolls left. Suddenly! However, meanwhile, never. A dog sleeps.",
        "a red ball / a dog",
        "'suddenly' is left out: nothing in it can be drawn",
        "'however, meanwhile, never' is left out: nothing in it can be drawn",
    ),
    "semicolons": ("A red ball rolls left;\nA dog sleeps;", "a red ball / a dog"),
    "bold heading": ("**The Park**\n\nA red ball rolls left.", "| park / a red ball | park"),
    "named camera": (
        "A dog runs to the left while the camera follows it.",
        "a dog",
        "'the camera follows it' is left out: nothing in it can be drawn",
    ),
    "crowd": (
        "A dog, a cat, a cow, a pig, a hen, a fox, a bear, a frog and a duck are in a field.",
        "a dog, a cat, a cow, a pig, a hen, a fox, a bear, a frog | field",
        "'a duck' is left out: a scene holds 8 things at most",
    ),
    "parenthesis": ("A girl (in a red dress) walks to the left.", "a girl in a red dress"),
    "plural s": ("A man with apple(s) walks to the left.", "a man with apples"),
    "full width": ("A dog runs to the right。A cat sleeps。", "a dog / a cat"),
    "curly apostrophe": ("A boy’s dog doesn’t move.", "a boy's dog"),
    "frames list": ("0: A red ball\n16: A blue cross", "a red ball / a blue cross"),
    "lyrics": (
        "[Verse 1]\nA girl walks to the left\n[Chorus]\nA dog sleeps",
        "a girl / a dog",
        "a label is left out: '[Verse 1]'",
        "a label is left out: '[Chorus]'",
    ),
    "email": ("Write to me@example.com about a dog.", "a dog", "an address is left out"),
    "lists": (
        "- A red ball rolls left\n* A dog sleeps\n+ A cat sits\n1. A bird flies\n2) A cow stands\n"
        "  - [x] A pig runs\n• A hen walks\n– A fox waits\n> A bear stands",
        "a red ball / a dog / a cat / a bird / a cow / a pig / a hen / a fox / a bear",
    ),
    "accents": (
        "A woman named Señora García walks to the left. A café terrace at night.",
        "a woman named señora garcía / a café terrace | night",
    ),
    "numbered scenes": (
        "Shot 1: A red ball rolls left. Shot 2: A dog sleeps.\nFrame 3: A cat sits",
        "a red ball / a dog / a cat",
    ),
    "screenplay": (
        "INT. KITCHEN - NIGHT\n\nJOHN\n(angry)\nWhere is my hat?\n\nA chef cooks.\n\nCUT TO:\n\n"
        "EXT. PARK - DAY\n\nA dog runs to the left. A cat sleeps.\n\nFADE OUT.",
        "a chef | kitchen / a dog, a cat | park",
        "speech is left out",
    ),
    "ends of lines": ("\tA red ball rolls left\r\n\tA dog sleeps", "a red ball / a dog"),
    "odd spaces": ("A\u200b red\xa0ball rolls left", "a red ball"),
}
# Kind: script, and why it is refused.
REFUSED = {
    "german": ("Ein roter Ball rollt nach rechts. Dann fällt er.", "seems not to be English"),
    "french": ("Un chien court dans le parc. Le chat dort.", "seems not to be English"),
    "french, clipped": ("L'oiseau s'envole.", "seems not to be English"),
    "spanish": ("Un perro corre por el parque. El gato duerme.", "seems not to be English"),
    "portuguese": ("O cachorro corre no parque e o gato dorme.", "seems not to be English"),
    "italian": ("Il cane corre nel parco. La palla rossa cade.", "seems not to be English"),
    "dutch": ("Een rode bal rolt naar rechts. De hond slaapt.", "seems not to be English"),
    "swedish": ("En röd boll rullar till höger.", "seems not to be English"),
    "polish": ("Pies biegnie w parku. Czerwona piłka spada.", "seems not to be English"),
    "turkish": ("Köpek parkta koşuyor ve top sağa yuvarlanıyor.", "seems not to be English"),
    "finnish": ("Koira juoksee puistossa.", "has no word that the rules know"),
    "indonesian": ("Seekor anjing berlari di taman.", "seems not to be English"),
    "vietnamese": ("Một con chó chạy trong công viên.", "seems not to be English"),
    "chinese": ("一只狗在公园里跑。", "seems not to be English"),
    "russian": ("Собака бежит в парке. Красный мяч падает.", "seems not to be English"),
    "hinglish": ("Ek ladka park mein daud raha hai aur ball kick karta hai.", "seems not to be English"),
    "md table": (
        "| scene | action |\n|---|---|\n| 1 | a red ball rolls |\n| 2 | a dog sleeps |",
        "a table is left out",
    ),
    "md code": ("```python\nprint('hello')\nfor i in range(3): pass\n```", "code is left out"),
    "json": ('{"version": 1, "scenes": []}', "JSON"),
    "code": ("for i in range(10): x = i * 2", "code is left out"),
    "dialogue": ('Anna: "Where are you?"\nBob: "I am here."', "has no word that the rules know"),
    "storydiffusion defs": (
        "[Bob] A man, wearing a black suit\n[Alice] a woman, wearing a white shirt",
        "'[Bob] A man, wearing a black suit', which says who somebody is and not what happens",
    ),
    "prompt template": (
        "{prompt} cinematic --ar 16:9 --v 5",
        "'{prompt}', a place in a template that nobody filled in",
    ),
    "numbers only": ("1 2 3 4", "has no word that the rules know"),
    "no thing": ("Love conquers all.", "has no word that the rules know"),
    "noun": ("dragon", "has no word that the rules know"),
    "nothing": ("", "no words"),
    "emoji only": ("🐶🏃➡️🌳", "no words"),
    "underscore": ("___", "no words"),
    "travel": ('"0": "a red ball",\n"16": "a dog"', "prompts by frame"),
    "abstract": ("Time passes. Everything changes.", "in which nothing can be drawn"),
    "lorem": ("Lorem ipsum dolor sit amet, consectetur adipiscing elit.", "seems not to be English"),
    "danish": ("En rød bold ruller til højre.", "seems not to be English"),
    "norwegian": ("En hund løper i parken og en katt sover.", "seems not to be English"),
    "czech": ("Pes běží v parku.", "seems not to be English"),
    "romanian": ("Un câine aleargă în parc.", "seems not to be English"),
    "chinese with english": ("一只 dog 在 park 里跑", "seems not to be English"),
    "heading only": ("# My Film\n## Part two", "a heading is left out"),
}


@pytest.mark.parametrize("kind", READ)
def test_a_script_is_read_and_what_is_left_out_is_told(kind):
    script, scenes, *told = READ[kind]
    notes = []
    board = plan_by_rules(script, frames=9, tell=notes.append)
    found = []
    for scene in board.scenes:
        things = ", ".join(each.text for each in scene.entities)
        found.append(f"{things} | {scene.background}".removesuffix(" | ").strip())
    assert " / ".join(found) == scenes
    assert notes == told


@pytest.mark.parametrize(("script", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_a_script_that_the_rules_cannot_read_is_refused_in_words(script, why):
    with pytest.raises(ValueError, match=r"^script: got .*; expected .*; write ") as caught:
        plan_by_rules(script, frames=9)
    assert why in str(caught.value)


def test_the_scripts_of_the_evidence_are_english():
    for case in (*IN_VIEW, *HELD_OUT):
        assert find_tongue(case.script) == "english", case.script


def test_no_small_word_of_another_language_outweighs_an_article():
    """A short sentence of English with such a word in it stays English."""
    for word in FOREIGN & ENGLISH:
        assert find_tongue(f"the {word} moves") == "english"
    assert find_tongue("A van drives to La Paz") == "english"


def test_what_a_script_says_of_ways_survives_its_marks():
    plain = plan_by_rules("A red ball rolls to the right. A dog runs to the left.", frames=9)
    marked = plan_by_rules(
        "1. **A red ball** rolls to the *right*\n2. A `dog` runs to the left #fast", frames=9
    )
    assert marked == plain


@pytest.mark.parametrize(
    "part", ["(a", "a ", "[A", "<a", '"a.', "a@", "|", "\n", "#", "# a", "`", "_", "and then "]
)
def test_twenty_thousand_characters_of_anything_are_read_in_time(part):
    with contextlib.suppress(ValueError):
        plan_by_rules("A dog runs. INT. " + part * ((MAX_CHARACTERS - 20) // len(part)), frames=2)


@pytest.mark.parametrize(
    "mark", [*"•●▪◦·–—*+-§¶†‡→⇒➡️★☆✓✗🐶🎉🏃♪…«»„“”‘’©®™", "--", "***", "~~~", "|", "\u200b", "\ufeff"]
)
def test_a_mark_is_no_word(mark):
    plain = plan_by_rules("A red ball rolls to the right", frames=9)
    for script in (f"{mark} A red ball rolls to the right", f"A red ball rolls to the right {mark}"):
        assert plan_by_rules(script, frames=9) == plain
    with pytest.raises(ValueError, match="script: got no"):
        plan_by_rules(mark, frames=9)
