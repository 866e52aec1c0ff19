"""The entities that prompts speak of, in two disjoint worlds: one to train on, one to test on.

No word of the test world may stand anywhere in a training prompt or demonstration, so the words
used in frames and answers ("cloth", "soap", "step" ...) are in neither. Objects are sturdy things
that one can own, lend, clean and keep in a room; places are rooms and buildings, all "in the ...".
Names are first names only, and towns are made up.
"""

from dataclasses import dataclass
from typing import Literal

World = Literal["train", "test"]


@dataclass(frozen=True)
class Vocabulary:
    """The entities of one world; every tuple is free of duplicates."""

    persons: tuple[str, ...]
    objects: tuple[str, ...]
    paintable: tuple[str, ...]  # objects of wood or bare metal
    places: tuple[str, ...]  # rooms and buildings
    buildings: tuple[str, ...]  # the places that one could break into
    towns: tuple[str, ...]
    items: tuple[str, ...]  # small things for a bag
    colours: tuple[str, ...]
    words: tuple[str, ...]  # for "the first word of ..."
    numbers: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_TRAIN_PAINTABLE = _words("""
    chair stool bench shelf ladder wagon birdhouse sled bucket table crate easel canoe flowerpot
    wheelbarrow gate
""")
_TRAIN_BUILDINGS = _words("""
    library bakery museum theatre chapel tower castle hotel hospital office mill cottage pharmacy
    warehouse factory boathouse windmill farmhouse clubhouse bookshop restaurant shed garage stable
    barn cabin greenhouse gym
""")
_TEST_PAINTABLE = _words("""
    cupboard bookcase wardrobe cradle rowboat trellis cabinet armchair footstool dresser
""")
_TEST_BUILDINGS = _words("""
    gallery cinema aquarium stadium arena temple church monastery palace mansion villa brewery
    laboratory observatory clinic dormitory bungalow hangar storehouse tavern
""")

TRAIN = Vocabulary(
    persons=_words(
        """
        Mira Tom Anna Ben Clara David Ella Felix Greta Henry Ida Jack Kate Leo Maria Nina Oscar
        Paula Quentin Rita Sam Tina Umar Vera Walter Yara Zoe Adam Bella Carl Dora Eric Fiona
        George Hanna Ivan Julia Karim Lena Martin Nora Oliver Peter Rosa Simon Tara Victor Wendy
        Amir Bruno Celia Daniel Emma Frank Gina Hugo Irene Jonah Kim Laura Mona Nadia Omar Ruth
        Stella Theo Ursula Vivian Xenia Yusuf
        """
    ),
    objects=_words(
        """
        lamp kettle basket hammer teapot mirror clock bicycle guitar drum kite broom spoon pan vase
        plate helmet scooter tent shovel rake whistle trumpet violin camera radio telescope compass
        flute skateboard paddle racket tray jug mug bowl pot comb toolbox doll puppet globe fan
        heater toaster blender keyboard bell lantern trophy statue flask backpack saddle
        """
    )
    + _TRAIN_PAINTABLE,
    paintable=_TRAIN_PAINTABLE,
    places=_TRAIN_BUILDINGS
    + _words(
        """
        attic cellar kitchen hallway bedroom pantry workshop bathroom studio classroom nursery
        garden orchard courtyard park station harbour market treehouse playroom ballroom lobby van
        caravan truck trailer yard field den lounge corridor pavilion vineyard
        """
    ),
    buildings=_TRAIN_BUILDINGS,
    towns=_words(
        """
        Larkwood Millbrook Fernhill Stonebridge Oakdale Riverton Ashby Brightwater Cloverfield
        Dunmore Eastham Foxley Greenford Hazelton Ironbridge Juniper Kingsley Lakeside Mapleton
        Northfield Oldcastle Pinewood Queensbury Redhill Silverton Thornbury Underwood Westford
        Yellowbank Ashgrove Birchwood Coldspring
        """
    ),
    items=_words(
        """
        towel hat torch coat scarf pillow toothbrush notebook pencil sandwich banana sweater
        raincoat shirt belt flag jacket swimsuit thermos novel harmonica magnet mitten
        """
    ),
    colours=("red", "blue", "green", "black", "brown", "pink", "beige", "violet"),
    words=_words(
        """
        river cloud stone quiet winter happy tiger candle morning silver ocean bread gallant
        mountain rabbit summer button copper dancing forest honey jolly lemon
        marble noble pepper rapid sandy
        tender velvet wooden apple brave clever dusty eager frozen golden humble lucky
        """
    ),
    numbers=tuple(str(n) for n in range(11, 100) if n % 3),
)

TEST = Vocabulary(
    persons=_words(
        """
        Agnes Boris Chloe Diego Edith Farid Gloria Hector Ines Jasper Kira Lucia Magnus Naomi Otto
        Priya Ramon Sofia Tobias Ulla Vincent Wanda Yosef Zara Alma Bernard Cora Dmitri Esther
        Fabian Hilda Igor Jasmin Klaus Lydia Milo Nelson Olga Pablo Renata Stefan Thelma
        """
    ),
    objects=_words(
        """
        umbrella suitcase necklace bracelet robot anchor accordion banjo harp cello microscope
        typewriter projector printer calculator thermometer tricycle surfboard snowboard kayak
        wrench screwdriver chisel drill saucepan teacup goblet pitcher saucer tambourine
        chessboard dollhouse megaphone bugle
        """
    )
    + _TEST_PAINTABLE,
    paintable=_TEST_PAINTABLE,
    places=_TEST_BUILDINGS
    + _words(
        """
        basement loft closet parlour canteen cafeteria cloakroom storeroom staffroom dungeon cave
        meadow vault conservatory veranda gazebo minibus lorry carriage arcade sauna pergola
        """
    ),
    buildings=_TEST_BUILDINGS,
    towns=_words(
        """
        Elmstead Harrowgate Brackenford Wolverley Tidemouth Sparrowfield Cherrydale Longmarsh
        Heatherton Snowdale Winterbourne Marlow Penhurst Ravenhill Saltmere Copperfield Goosewell
        Lowmoor Briarton Havenport
        """
    ),
    items=_words(
        """
        blanket bandana razor cardigan waistcoat flashlight sunhat magazine muffin pear
        bandage penknife swimcap kimono bathrobe poncho beanie visor
        """
    ),
    colours=("white", "yellow", "purple", "grey", "orange", "crimson"),
    words=_words(
        """
        thunder island pebble spider autumn crystal dragon feather hollow jungle kitten ladybird
        misty nimble pirate rocket shadow turtle valley whisper zebra amber blossom cactus daisy
        falcon glacier hidden ivory
        """
    ),
    numbers=tuple(str(n) for n in range(12, 100) if n % 3 == 0),
)

WORLDS: dict[World, Vocabulary] = {"train": TRAIN, "test": TEST}


def with_article(noun: str) -> str:
    """ "lamp" -> "a lamp", "umbrella" -> "an umbrella" (no word here sounds unlike it looks)."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
