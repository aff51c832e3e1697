"""Tables of the English words that the rules planner knows. It takes all other words for things."""

from __future__ import annotations

NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "2": 2, "3": 3, "4": 4, "5": 5}
ONE = {"a", "an", "another", "one"}  # determiners of one thing, which may be new
THAT = {"the", "this", "that", "these", "those", "both", "same"}  # determiners of things that may be known
OWNED = {"his", "her", "its", "their", "my", "our", "your"}
SINGULAR = {"it", "he", "she", "him"}
PLURAL = {"they", "them", "both", "everything", "everyone", "everybody"}

SIZES = {
    "tiny": 0.16,
    "little": 0.24,
    "small": 0.28,
    "big": 0.45,
    "large": 0.45,
    "huge": 0.6,
    "giant": 0.6,
    "enormous": 0.6,
}
COLORS = set(
    "red green blue yellow purple orange white cyan black gray grey navy brown pink golden gold silver beige violet "
    "magenta teal turquoise crimson dark light bright pale colorful striped".split()
)
ADJECTIVES = set(
    "old young tall short long round square fat thin happy sad wooden metal plastic wild furry fluffy shiny heavy fast "
    "slow beautiful empty full new flying running rolling sleeping smiling paper hot cold".split()
)

COLUMNS = {"left": -1, "right": 1}
ROWS = {"top": -1, "upper": -1, "bottom": 1, "lower": 1}
MIDDLE = {"center", "centre", "middle"}
EDGES = {"corner", "side", "edge", "half", "part", "hand"}
PICTURE = {"frame", "picture", "image", "screen", "scene", "view", "shot", "canvas", "video"}

STEPS = {  # unit steps, x to the right and y down
    word + ending: step
    for word, step in {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}.items()
    for ending in ("", "ward", "wards")
}

# Relations of the thing before to the thing after; a longer phrase comes before one that it begins with.
RELATIONS = {
    phrase: kind
    for kind, phrases in (
        ("left of", "to the left of, on the left of, left of"),
        ("right of", "to the right of, on the right of, right of"),
        ("above", "on top of, above, over, on, onto, behind"),
        ("below", "in front of, below, under, underneath, beneath"),
        ("next to", "close to, next to, beside, near, by"),
    )
    for phrase in phrases.split(", ")
}
TOWARDS = {"towards", "toward", "to", "at", "into", "onto"}

# Verbs, by the motion of their subject.
MOVING = (
    "move walk roll run drive fly slide travel go glide swim ride sail crawl drift float march ski skate hop bounce "
    "stroll race rush dash wander trot gallop head jog hurry come creep sweep speed zoom cruise row paddle"
).split()
RISING = "rise climb ascend jump leap lift".split()
FALLING = "fall drop sink descend plunge tumble dive".split()
GROWING = "grow expand swell inflate enlarge".split()
SHRINKING = "shrink contract deflate".split()
ENTERING = "enter arrive".split()
LEAVING = "leave exit depart".split()
APPEARING = "appear emerge".split()
VANISHING = "vanish disappear".split()
FOLLOWING = "chase follow push pull carry lead drag".split()  # the object moves along
SENDING = "throw kick toss launch shoot hit".split()  # the object moves alone
APPROACHING = "approach".split()
GOING = [*MOVING, *RISING, *FALLING, *ENTERING, *LEAVING, *FOLLOWING, *SENDING, *APPROACHING, "float"]
STANDING = (
    "stay stand sit rest remain lie wait sleep hover hang be have see show there hold look watch stop spin rotate turn "
    "float"
).split()
ACTING = (
    "cook chop bake eat drink read write sing dance play talk speak smile laugh wave stir cut wash clean open close "
    "paint draw build dig graze bark meow shine burn glow fish juggle type work point clap cry pour serve mix fry "
    "catch pick put take give make bring cast blow study teach dream wake say"
).split()
IRREGULAR = {
    form: base
    for form, _, base in (
        pair.partition("/")
        for pair in (
            "went/go ran/run flew/fly fell/fall rose/rise grew/grow left/leave came/come swam/swim rode/ride "
            "drove/drive shrank/shrink threw/throw sat/sit stood/stand is/be are/be am/be been/be being/be does/do "
            "did/do had/have was/be were/be has/have lies/lie lying/lie"
        ).split()
    )
}

PLACES = set(
    "kitchen beach park forest street road room garden desert city town village field meadow sea ocean lake river sky "
    "mountain mountains hill hills valley office classroom school shop store market station stadium farm barn jungle "
    "wood woods cave castle library museum restaurant cafe bar bathroom bedroom hallway corridor stage lawn grass snow "
    "sand water ice playground court pitch track highway path trail bridge roof floor space moon island harbor "
    "harbour pool garage yard backyard square alley house home hospital church theater theatre gym cellar attic tunnel "
    "sunset night rain fog storm zoo airport runway sidewalk pavement pond stream shore coast dunes swamp".split()
)
CONTAINERS = set(
    "box basket bowl cup glass bottle bag cage vase pot pan car boat bus truck cart chair nest".split()
)
GARMENTS = set(
    "hat dress coat suit shirt jacket apron uniform scarf cap robe armor armour skirt cape sweater helmet boots gown "
    "costume jeans clothes cloak hoodie".split()
)
BACKDROPS = {"background", "backdrop"}

# Words of prompts between commas that are neither a thing nor a place.
QUALITY = {
    "masterpiece", "best quality", "high quality", "highest quality", "highly detailed", "ultra detailed", "detailed",
    "intricate details", "4k", "8k", "hd", "uhd", "hdr", "high resolution", "highres", "absurdres", "sharp focus",
    "photorealistic", "realistic", "cinematic", "cinematic lighting", "award winning", "trending on artstation", "solo",
}  # fmt: skip

# Words that end the name of a thing.
FUNCTION_WORDS = set(
    "and or but while as with without in on at of to from into onto through across along past around over under above "
    "below beneath underneath behind beside near by between against toward towards away off out up down then when "
    "where who which that here again also too very not no slowly quickly now suddenly finally meanwhile later next "
    "still first back forward together inside outside for during before after until so diagonally we you i there "
    "alone everywhere once twice always never straight halfway for all front top since although though because if "
    "however therefore will would could should might must please nothing about".split()
)
# Nouns that look like verbs or adverbs.
NOUNS_LIKE_VERBS = set(
    "building ring king string wing ceiling painting morning evening spring thing red bed shed sled seed reed "
    "butterfly family jelly lily fly belly dragonfly bus cross glass grass dress octopus walrus cactus tennis compass "
    "bass princess waitress actress mattress virus circus duckling pudding lighting clothing wedding hundred".split()
)
