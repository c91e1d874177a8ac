"""What words mean to the collage: places, times of day, weather, poses, numbers and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files


def _table(lines: str) -> dict[str, str]:
    """Return the meaning of each word of lines such as `forest: forest, wood, woods`."""
    table = {}
    for entry in lines.strip().splitlines():
        meaning, _, words = entry.partition(":")
        table.update({word.strip(): meaning.strip() for word in words.split(",")})
    return table


PLACES: Mapping[str, str] = _table(
    """
    forest: forest, wood, woods, woodland, grove, glade, clearing, enchanted forest, trees, magical forest, orchard
    jungle: jungle, rainforest, rain forest
    meadow: meadow, field, grass, lawn, prairie, pasture, countryside, grassland, picnic, outdoors
    savanna: savanna, savannah, safari
    hills: hill, hills, hilltop, hillside, valley, top of a hill
    mountains: mountain, mountains, mountaintop, cliff, alps, peak, mountain top
    garden: garden, flower bed, flowerbed, backyard, yard, greenhouse, vegetable garden
    park: park, playground, fair, fairground, carnival, funfair, zoo
    farm: farm, barn, farmyard, barnyard, stable, ranch, wheat field, corn field, cornfield
    beach: beach, seashore, shore, coast, seaside, sand, sandcastle, island, desert island, tropical island
    sea: sea, ocean, waves, open sea, high seas, bay, harbor, harbour
    lake: lake, pond, lakeside, lagoon
    river: river, stream, brook, creek, waterfall, riverbank, river bank
    underwater: underwater, under the sea, bottom of the sea, seabed, deep sea, ocean floor, reef, under the water, beneath the waves
    snow: snowy field, snowfield, arctic, antarctica, north pole, south pole, ice, iceberg, tundra, frozen lake
    desert: desert, dunes, dune, oasis
    city: city, street, town, downtown, road, sidewalk, crossing, market, square, city street, rooftop, rooftops, alley, roof
    village: village, hamlet, cottages, little town, small town
    cave: cave, cavern, den, tunnel, mine, grotto, dungeon, burrow
    space: space, outer space, galaxy, universe, cosmos, milky way
    moonscape: surface of the moon, moonscape, another planet, mars, on the moon
    clouds: clouds, sky, above the clouds, air
    bedroom: bedroom, nursery, bed room
    kitchen: kitchen, dining room, restaurant, cafe, bakery kitchen
    living: living room, parlor, parlour, room, sitting room, lounge, indoors, inside, attic, home, fireplace, dance hall
    classroom: classroom, school room, schoolroom
    study: library room, study, bookshop, office, laboratory, lab, workshop, museum hall, bookstore, studio
    hall: throne room, castle hall, great hall, ballroom, palace hall
    stage: stage, theater, theatre, circus ring, concert
    """
)
"""Kinds of scenery by the words for them."""

INDOORS = frozenset({"bedroom", "kitchen", "living", "classroom", "study", "hall", "stage"})
WET = frozenset({"sea", "lake", "underwater", "river"})
INSIDE_OF: Mapping[str, str] = {
    "house": "living", "home": "living", "cottage": "living", "cabin": "living", "hut": "living", "castle": "hall",
    "palace": "hall", "school": "classroom", "library": "study", "museum": "study", "bakery": "kitchen", "shop": "study",
    "store": "study", "toy shop": "study", "circus": "stage", "tent": "stage", "tower": "hall", "mansion": "hall",
    "big top": "stage", "circus tent": "stage",
}  # fmt: skip
"""What a building looks like from the inside: `in a castle`."""

TIMES: Mapping[str, str] = _table(
    """
    dawn: dawn, sunrise, daybreak, early morning, first light
    day: day, daytime, noon, midday, afternoon, morning, sunny, sunlight, sunshine, bright day
    dusk: dusk, sunset, evening, twilight, golden hour, sundown, golden light, late afternoon, warm light
    night: night, midnight, nighttime, bedtime, moonlight, moonlit, starlight, starry, starlit, moon, full moon, crescent moon, stars, northern lights, candlelight, fireflies
    """
)

WEATHERS: Mapping[str, str] = _table(
    """
    rain: rain, rainy, raining, drizzle, shower, puddle, puddles
    storm: storm, stormy, thunderstorm, thunder, lightning, tempest
    snow: snow, snowing, snowy, snowfall, blizzard, snowstorm, winter, wintry, snowflakes, snow-covered, frosty, icy
    fog: fog, foggy, mist, misty, haze, hazy
    cloudy: cloudy, overcast, gray sky
    wind: windy, wind, breeze, breezy
    rainbow: rainbow
    clear: clear, cloudless, sunny
    """
)

SEASONS: Mapping[str, str] = _table(
    """
    spring: spring, springtime, blossoming
    autumn: autumn, fall leaves, autumnal, fallen leaves, autumn leaves, harvest, halloween
    winter: winter, wintry, christmas
    summer: summer, summertime
    """
)

POSES: Mapping[str, str] = _table(
    """
    sleep: asleep, sleep, sleeping, sleeps, napping, nap, dozing, dreaming, resting, snoozing, slumbering
    run: run, runs, running, racing, chasing, hurrying, jumping, hopping, leaping, skipping, jumps, galloping, escaping, fleeing, chases
    walk: walk, walks, walking, strolling, wandering, hiking, marching, exploring, following, tiptoeing, traveling
    sit: sit, sits, sitting, seated, reading, fishing, eating, listening, resting quietly, waiting, meditating, drinking, reads, eats
    dance: dance, dances, dancing, cheering, celebrating, singing, playing, juggling, laughing, sings, plays, swinging, twirling
    wave: wave, waves hello, waving, greeting, pointing, saying, calling, shouting, welcoming
    hold: holding, holds, carrying, carries, playing the, showing, offering, giving, clutching, lifting, pushing, painting
    fly: flying, flies, fly, soaring, gliding, floating, hovering
    """
)

NUMBERS: Mapping[str, int] = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "twelve": 12, "both": 2, "pair": 2, "couple": 2, "several": 4, "some": 3, "few": 3, "many": 6, "dozens": 9,
    "twin": 2, "lots": 6, "flock": 5, "herd": 4, "family": 3, "group": 4,
}  # fmt: skip

SIZES: Mapping[str, float] = {
    "tiny": 0.45, "small": 0.72, "little": 0.8, "wee": 0.6, "baby": 0.6, "miniature": 0.5, "young": 0.85, "short": 0.8,
    "big": 1.3, "large": 1.3, "huge": 1.65, "giant": 1.9, "gigantic": 2.0, "enormous": 1.9, "tall": 1.3, "great": 1.2,
    "massive": 1.8, "towering": 1.7,
}  # fmt: skip

RELATIONS: Mapping[str, str] = _table(
    """
    under: under, beneath, below, underneath
    on: on, onto, upon, on top of, atop, riding, rides, driving, sitting on
    above: over, above, high above
    in: in, inside, into, within, aboard, sailing
    by: next to, beside, near, by, alongside, with, at, around, and, facing, towards, toward, finds, found, meets, meeting, to
    behind: behind
    before: in front of, before
    hold: holding, holds, carrying, carries, playing, plays, reading, reads, eating, eats, drinking, flying, painting with, clutching, lifting, using, waving, juggling, wielding, offering
    """
)

GROUPS = frozenset({"people", "persons", "humans", "man", "woman", "boy", "girl", "child", "children", "person"})

VAGUE = frozenset(
    word
    for line in files("taleward.images.collage")
    .joinpath("data/vague_words.txt")
    .read_text(encoding="utf-8")
    .splitlines()
    if not line.startswith("#")
    for word in line.split()
)
"""Words that add no thing to a scene, and whose absence from a picture is nothing to report."""

IRREGULAR: Mapping[str, str] = {
    "mice": "mouse", "geese": "goose", "wolves": "wolf", "leaves": "leaf", "children": "child", "feet": "foot",
    "elves": "elf", "fairies": "fairy", "knives": "knife", "loaves": "loaf", "men": "man", "women": "woman",
    "people": "person", "oxen": "ox", "sheep": "sheep", "deer": "deer", "fish": "fish", "cacti": "cactus",
}  # fmt: skip


def singulars(word: str) -> tuple[str, ...]:
    """Return what a noun may be the plural of, itself first."""
    forms = [word]
    if word in IRREGULAR:
        forms.append(IRREGULAR[word])
    elif word.endswith("ies") and len(word) > 4:
        forms += [word[:-3] + "y", word[:-1]]
    elif word.endswith("ves") and len(word) > 4:
        forms += [word[:-3] + "f", word[:-3] + "fe", word[:-1]]
    elif word.endswith(("ches", "shes", "xes", "sses", "oes")):
        forms += [word[:-2], word[:-1]]
    elif word.endswith("s") and not word.endswith("ss") and len(word) > 2:
        forms.append(word[:-1])
    return tuple(forms)
