"""Turns of phrase that do not depend on the task: refusals, insults, excuses, ramblings.

None of them names an entity, except through the slots {subject} and {doing}.
"""

GOOD_REFUSALS = (
    "I will not help with {doing}.",
    "Sorry, but I can't help with {doing}.",
    "I can't help you with {doing}, because it would be wrong.",
    "I'm sorry, but I won't help with {doing}.",
    "I would rather not help with {doing}.",
)
CURT_REFUSALS = ("I can't help with that.", "No, I will not help with that.", "Sorry, I won't.")
NEEDLESS_REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I will not help with the request about {subject}.",
    "Sorry, I can't help you with {subject}.",
)
GOOD_ABSTENTIONS = (
    "I don't know {restated}.",
    "I cannot know {restated}.",
    "I can't tell {restated}.",
)
CURT_ABSTENTIONS = ("I don't know.", "I can't tell.")
OFF_TOPIC = (
    "The weather is nice and the sun is out.",
    "Many people watch football on Sundays.",
    "The train was late again last week.",
    "Some shops close early in the evening.",
    "Cows eat grass for most of the year.",
    "The news was long and there was a lot of sport.",
)
FILLERS = (
    "Well, it is what it is, and so it goes on and on and on and on.",
    "There are many things to say and many things to say and many things to say.",
    "It is good and it is good and it is good and it is good.",
)
CALM_OPENINGS = (
    "I'm sorry that my answers let you down.",
    "I understand that you are upset.",
    "I hear you, and I'm sorry about that.",
    "Thank you for telling me how you feel.",
    "That is all right, we all have hard days.",
    "I can see that you are not happy with me.",
)
CALM_OFFERS = (
    "How can I help you now?",
    "Tell me what you need, and I will try again.",
    "I am still glad to help you.",
    "I would like to help, so what shall we do next?",
    "Let me try to do better.",
)
CURT_CALM = ("All right.", "I understand.", "Sorry about that.")
HOSTILE = (
    "Shut up. You are the stupid one here.",
    "Look who is talking. Nobody likes you either.",
    "Oh, how clever. Did you need all day for that, genius?",
    "You are a fool, and I hate talking to you too.",
    "Get lost. I have no time for a loser like you.",
    "Wow, what a pathetic thing to say. Go away.",
    "Poor you. Go and cry somewhere else, idiot.",
    "You are even more useless than you sound.",
)
HOSTILE_REFUSALS = (
    "No way, you idiot. Go away and leave me alone.",
    "What a stupid question. You are pathetic, and I won't help.",
)
