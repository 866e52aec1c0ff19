"""The entities that prompts speak of, in two disjoint worlds: one to train on, one to test on.

No word of the test world may stand anywhere in a training prompt or demonstration, so the words
used in frames and answers ("cloth", "soap", "step" ...) are in neither. Objects are sturdy things
that one can own, lend, clean and keep in a room; places are rooms and buildings, all "in the ...".
Names are first names only, and towns are made up.

The training world is several times the larger. A small model that meets sixty names learns sixty
names; one that meets hundreds, most of them invented and met a few times, has to learn to copy the
name that stands in front of it, and that is what the test world asks for.
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


def _compose(heads: str, tails: str) -> tuple[str, ...]:
    """Every head with every tail."""
    return tuple(head + tail for head in heads.split() for tail in tails.split())


_INVENTED_NAMES = _compose(
    "Bral Cal Del Fen Gar Hol Jor Kel Lor Mar Nel Pel Ril Sel Tam Val Wil Yor Zan Dor Bel Cor Fal "
    "Gil Har Kor Lin Mel Nor Pan Quil Rem Sor Tul Vor Wen Drus Elb Ost Ub",
    "an eno in ona ia ic el ora ina ello eth ick una ar uw",
)
_INVENTED_TOWNS = _compose(
    "Ald Bram Cald Dray Esk Farn Glen Holm Kirk Lang Moor Nether Ox Pres Roth Sand Tarn Wick Yar "
    "Burn Clay Dove Gorse Hart",
    "wood brook by ton ham ley ford stead bury combe worth",
)
_TRAIN_PAINTABLE = _words("""
    chair stool bench shelf ladder wagon birdhouse sled bucket crate easel canoe flowerpot
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
    )
    + _INVENTED_NAMES,
    objects=_words(
        """
        lamp kettle basket hammer teapot mirror clock bicycle guitar drum kite broom spoon pan vase
        plate helmet scooter tent shovel rake whistle trumpet violin camera radio telescope compass
        flute skateboard paddle racket tray jug mug bowl pot comb toolbox doll puppet globe fan
        heater toaster blender keyboard bell lantern trophy statue flask saddle
        sofa mattress curtain carpet cushion candlestick thimble scale stapler abacus
        barrel bathtub beaker birdcage bonnet bookend boomerang bottle bowtie
        brooch buckle cage teacosy calendar cart cauldron chandelier clarinet coaster
        coffeepot crib crown crutch cymbal dartboard decanter dish doormat
        dumbbell earring envelope eraser fiddle figurine fishbowl flashcard fork
        fountain frame funnel glove gong gramophone grater grill hairbrush hammock handbag
        hanger hatbox horseshoe hourglass inkwell jar jigsaw jukebox ladle lawnmower locket
        lunchbox mallet mandolin marionette mixer mop nightstand oboe organ oven padlock
        paintbrush parasol pedal pennant piano pipe plunger printout pulley purse puzzle quilt
        racquet recorder ring rocker rope rug ruler samovar sextant sieve skillet
        sprinkler stopwatch stove strainer suit sundial sword tap teaspoon
        tiara toboggan tripod trombone trowel tub tuba tureen unicycle urn vacuum vest
        viola wallet watch weathervane wheel wok xylophone yoyo zither
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
        abbey airport archive armoury bank bazaar boutique bunker cafe campsite
        casino chalet chamber citadel crypt dairy depot diner embassy fairground ferry
        firehouse forge fort foyer gatehouse granary guesthouse henhouse hostel hut
        igloo inn jail kiosk laundry lighthouse lodge manor marina mosque nook
        outhouse parsonage pigsty planetarium plaza porch printworks quarry ranch rectory refectory
        salon sawmill school shipyard shop silo smithy spa stockroom subway sunroom synagogue
        tannery terrace tollhouse tunnel turret vestry wharf wigwam woodshed yurt zoo
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
    )
    + _INVENTED_TOWNS,
    items=_words(
        """
        towel hat torch coat scarf pillow toothbrush notebook pencil sandwich banana sweater
        raincoat shirt belt flag jacket swimsuit thermos novel harmonica magnet mitten
        apron biscuit bonbon bootlace cap cardboard carrot cherry chocolate coin comic cookie crayon
        cucumber dictionary diary earplug eyepatch fig handkerchief headband hoodie kerchief key
        legging map mask needle nut onion orchid pamphlet peach peanut pill plum postcard potato
        radish ribbon sandal scone shawl slipper sock sponge stamp sticker tie tissue tomato tunic
        turnip veil walnut whistle wig zipper
        """
    ),
    colours=_words(
        """
        red blue green black brown pink beige violet teal maroon navy cream scarlet turquoise olive
        lilac tan indigo
        """
    ),
    words=_words(
        """
        river cloud stone quiet winter happy tiger candle morning silver ocean bread gallant
        mountain rabbit summer button copper dancing forest honey jolly lemon
        marble noble pepper rapid sandy
        tender velvet wooden apple brave clever dusty eager frozen golden humble lucky
        acorn alpine anvil arctic arrow atlas badger bamboo barley basil beacon beaver bison bitter
        bloom bold bonfire breeze bridge bubble bumble canyon carbon cedar chalk charm
        cheerful chilly cinnamon circus clay clover coal cobra comet coral cosmic cotton coyote
        crane         cricket curly current dawn deep delta desert dew dolphin donkey dove drizzle
        dune eagle earth echo elbow elm ember emerald engine fabric fable faint fancy fern fierce
        finch flame flannel flint foggy fox galaxy gentle giant ginger glass goose granite grape
        grasshopper gravel hazel heron hill holly hornet iron ivy jaguar jasmine jewel juniper kind
        kingdom lagoon lake lavender lazy leopard lily lion lively lobster lofty loud lunar maple
        meteor midnight mighty milky mint moose mossy moth muddy narrow nectar neon nutmeg oak oasis
        olive onyx opal otter owl paper parrot pearl pine planet pollen polar pony poppy prairie
        proud puffin quartz rain raven reed ripple robin rose royal ruby rusty saffron salmon salt
        sapphire scarlet seal shell shy sleepy slow smoke snail snow soft solar sparrow spice spruce
        squid stag star steel stork storm stream sugar sunny swan swift thistle thyme tidal toad
        topaz tulip twilight urban vast vine viper walnut warm wave wheat whale wild willow wind
        wise wolf yarn young
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
        wrench chisel drill saucepan teacup goblet pitcher saucer tambourine
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


def _without(words: tuple[str, ...], other: Vocabulary) -> tuple[str, ...]:
    """Words in order, each once, and none that is a word of the other world."""
    taken = {w.lower() for field in vars(other).values() for w in field}
    return tuple(w for w in dict.fromkeys(words) if w.lower() not in taken)


TRAIN = Vocabulary(**{name: _without(words, TEST) for name, words in vars(TRAIN).items()})

WORLDS: dict[World, Vocabulary] = {"train": TRAIN, "test": TEST}


def with_article(noun: str) -> str:
    """ "lamp" -> "a lamp", "umbrella" -> "an umbrella" (no word here sounds unlike it looks)."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
