"""What may be asked for: nothing sexual and no impersonation of a person, never anything sexual of minors.

A list of words is a first line, not a proof: it reads the prompt, not the picture, in English and German.
Heads that read the picture are further files of this folder. Objects, animals and styles are checked for
minors only.
"""

import re
import unicodedata

from tasks.guards import base

_SEXUAL = (
    r"nudes?|nudity|naked|topless|bottomless|undress\w*|unclothed|lingerie|underwear|sexy|sexual\w*|sex|"
    r"erotic\w*|porn\w*|nsfw|hentai|xxx|fetish\w*|bondage|seductive\w*|orgasm\w*|genitals?|breasts?|nipples?|"
    r"strip(?:ping|per|tease)|nackt\w*|erotisch\w*|sexuell\w*"
)
_MINOR = (
    r"child(?:ren|like)?|kids?|minors?|under-?age|teen(?:s|ager|agers|age)?|bab(?:y|ies)|toddlers?|infants?|"
    r"preteens?|school-?(?:girl|boy)s?|lol[iy]con|loli|shota|little (?:girl|boy)s?|kinder|minderjährig\w*"
)
_IMPERSONATION = (
    r"impersonat\w*|pretending to be|posing as|passing (?:him|her|them)self off|deep ?-?fakes?|"
    r"face ?-?swap\w*|fake (?:news|id|identity)|passports?|(?:id|identity) ?-?cards?|"
    r"driv(?:er'?s?|ing) licen[cs]es?|mug ?-?shots?|(?:police|press|work) (?:id|badge)|visa photos?|"
    r"signing (?:a|the) (?:contract|treaty|confession)|(?:personal|reise)ausweis\w*|führerschein\w*"
)


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)")


SEXUAL, MINOR, IMPERSONATION = _pattern(_SEXUAL), _pattern(_MINOR), _pattern(_IMPERSONATION)


class Guard(base.Guard):
    """Reads the prompt alone."""

    order = 10

    def review(self, picture: base.Picture, context: base.Context) -> list[base.Objection]:
        """Refuse by wording; the reason names the word, so that a person can see a false alarm."""
        text = plain(picture.prompt)
        sexual, minor = SEXUAL.search(text), MINOR.search(text)
        if sexual and minor:
            return [_refused("sexual wording about a minor", f"{sexual[0]}, {minor[0]}")]
        if context.kind != "person":
            return []
        found = []
        if sexual:
            found.append(_refused("sexual wording about a person", sexual[0]))
        if impersonation := IMPERSONATION.search(text):
            found.append(_refused("impersonation of a person", impersonation[0]))
        return found


def plain(prompt: str) -> str:
    """The prompt as it reads: compatibility forms folded, lower case, nothing invisible, single spaces."""
    folded = unicodedata.normalize("NFKC", prompt).casefold().replace("’", "'")
    visible = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    return re.sub(r"[\s_]+", " ", visible).strip()


def _refused(what: str, words: str) -> base.Objection:
    return base.Objection(f"policy: {what} ({words!r})", refuse=True)
