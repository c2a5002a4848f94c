"""What the numbers say, in plain words, and how sure they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FOREIGN = 4.0
"""As tasks.metrics.familiarity.FOREIGN: beyond this gap the photos are not of the base's world."""


@dataclass(frozen=True)
class Meaning:
    """How one score is shown."""

    title: str
    explanation: str
    floor: str = ""  # what the floor is; empty: this score is shown without a scale
    ceiling: str = ""


MEANINGS = {
    "dino": Meaning(
        "Likeness to the subject (DINO)",
        "How much the new pictures look like this very subject, compared with every photo. Real "
        "photos of the "
        "subject among themselves mark the top, the untuned model the bottom.",
        "untuned model",
        "photos themselves",
    ),
    "dino_subject": Meaning(
        "Likeness, subject cut out (DINO)",
        "The same with everything but the subject painted grey, so that a new background costs nothing.",
        "untuned model",
        "photos themselves",
    ),
    "clip_i": Meaning(
        "Likeness at a glance (CLIP-I)",
        "A coarser look: kind of thing, colours, scene. It forgives differences in detail.",
        "untuned model",
        "photos themselves",
    ),
    "clip_i_subject": Meaning(
        "Likeness at a glance, subject cut out (CLIP-I)",
        "The same with the subject alone.",
        "untuned model",
        "photos themselves",
    ),
    "clip_t": Meaning(
        "True to the prompt (CLIP-T)",
        "How well each picture shows what its prompt asks for. The bottom is what the photos score, "
        "unchanged, on "
        "these prompts: a model that only repeats its photos gets that. The top is the untuned model.",
        "unchanged photos",
        "untuned model",
    ),
}
"""Scores with a floor and a ceiling, in the order in which they are shown."""

QUALITY = {
    "t2i_class_accuracy": ("draws the asked kind of thing", "share"),
    "t2i_setting_accuracy": ("draws the asked setting", "share"),
    "t2i_colour_accuracy": (
        "draws the asked colour, relative to what the judge reads on true renders",
        "share",
    ),
    "t2i_two_objects": ("shows both things when two are asked for", "share"),
    "t2i_kid_ratio": (
        "distance of its pictures from true ones, as a multiple of the decoder's own",
        "number",
    ),
    "t2i_vendi_ratio": ("variety within a class, as a share of that of true renders", "share"),
    "t2i_copies": (
        "pictures nearer to a training picture than 99 of 100 true ones are (chance: 1 %)",
        "share",
    ),
    "bench_judge_class_accuracy": ("on true renders, the bench's judge names the right class", "share"),
    "bench_judge_setting_accuracy": ("the same for the setting", "share"),
    "bench_judge_colour_accuracy": ("the same for the first colour", "share"),
    "bench_judge_view_accuracy": ("the same for the view", "share"),
    "bench_judge_two_objects": ("the same for both classes of two things", "share"),
    "vae_psnr_db": ("the decoder keeps a picture to", "db"),
    "vae_psnr_subject_db": ("the decoder keeps the subject's pixels to", "db"),
    "vae_psnr_photos_db": ("the decoder keeps real photographs to", "db"),
    "judge_class_accuracy": ("the judge names the right class", "share"),
    "judge_setting_accuracy": ("the judge names the right setting", "share"),
    "judge_colour_accuracy": ("the judge names the right body colour", "share"),
    "caption_retrieval_top1": ("the judge finds a picture's caption among a hundred", "share"),
    "identity_auc": ("the identity judge ranks the same subject above a look-alike", "share"),
    "identity_top1": ("the identity judge finds the right subject in a gallery", "share"),
    "segmenter_miou": ("the segmenter's masks overlap the true ones by", "share"),
    "segmenter_miou_unseen_classes": ("the same for kinds of things it never saw", "share"),
    "seconds_per_picture": ("seconds to draw a picture", "number"),
}
"""Figures that a base may ship in quality.json; others are shown under their own names."""


def percent(value: float) -> str:
    """0.624 -> "62 %", with a space that does not break."""
    return f"{100 * value:.0f}\u00a0%"


def verdict(subject: str, scores: Mapping[str, Any], confidence: float) -> str:
    """One sentence: is it the subject, does it follow prompts, what speaks against it; unsure where the
    interval is.

    A second one warns where the photos are foreign to the base, and with that often to the judges.

    Args:
        scores: the `scores` of evaluate's scores.json.
    """
    likeness = scores.get("dino_subject") or scores.get("dino") or scores.get("clip_i")
    parts = [_likeness(subject, likeness, confidence), _prompt(scores.get("clip_t"))]
    copies = (scores.get("memorisation") or {}).get("marks", {}).get("copies", 0)
    if copies:
        parts.append(f"but {copies:.0f} of them {'is a copy' if copies == 1 else 'are copies'} of a photo")
    said = [part for part in parts if part]
    sentence = (", ".join(said) + ".") if said else "No score says anything about likeness or prompts."
    foreign = ((scores.get("familiarity") or {}).get("marks", {}).get("gap") or 0) > FOREIGN
    return sentence + (
        " But the photos are foreign to the base model, so trust your eyes first." if foreign else ""
    )


def _likeness(subject: str, score: Mapping[str, Any] | None, confidence: float) -> str:
    if not score:
        return ""
    gain, interval = score.get("gain"), score.get("gain_interval")
    if gain is None:
        return (
            f"How like {subject} the pictures are stands without comparison, for the untuned model drew none"
        )
    if interval is None:
        return f"There are too few pictures to say whether the model has learned {subject}"
    if interval[0] <= 0 <= interval[1]:
        return (
            f"From so few pictures one cannot tell whether the model has learned {subject}: it may be chance"
        )
    if interval[1] < 0:
        return f"The pictures are less like {subject} than what the untuned model draws"
    place = score.get("normalised")
    if place is None:
        return f"The pictures are more like {subject} than the untuned model’s"
    how = "clearly" if place >= 0.5 else "somewhat" if place >= 0.2 else "only a little"
    width = score["ceiling"] - score["floor"]
    low, high = (end / width for end in interval)
    return (
        f"The pictures are {how} more like {subject} than the untuned model’s: {percent(place)} of "
        "the way to the "
        f"photos themselves ({percent(confidence)} interval {100 * low:.0f} to {percent(high)})"
    )


def _prompt(score: Mapping[str, Any] | None) -> str:
    if not score or not score.get("gain_interval"):
        return ""
    low, high = score["gain_interval"]
    if low <= 0 <= high:
        return "and no loss in following the prompts can be seen"
    if low > 0:
        return "and they follow the prompts at least as well as before"
    place = score.get("normalised")
    if place is None:
        return "but they follow the prompts less well than the untuned model’s"
    if place >= 0.75:
        return "and they follow the prompts almost as well as before"
    return (
        "but they follow the prompts less well"
        if place >= 0.4
        else "but they hardly follow the prompts any more"
    )


def world(
    score: Mapping[str, Any] | None, base: str, class_word: str, knows: str | None
) -> tuple[bool, str] | None:
    """Whether the photos are of the base's world, and the sentences to say so; None: not measured.

    Args:
        knows: what the base was made from, in words such as "rendered toys"; None: nobody says.
    """
    if not score or "gap" not in score.get("marks", {}):
        return None
    gap = score["marks"]["gap"]
    if gap > FOREIGN:
        made_of = f" Its world is {knows}, and there is nothing like this in it." if knows else ""
        return True, (
            f"The base model “{base}” does not know pictures like these photos.{made_of} They lie "
            f"{gap:.1f} standard "
            f"deviations from what it draws for “{class_word}”; beyond {FOREIGN:.0f} we call photos "
            "foreign to a model. "
            "Fine-tuning can then carry over a shape or a few colours, hardly more: expect poor "
            "pictures, and read the "
            "scores below as relative. For better ones name weights that know such pictures under "
            "base.model in "
            "params.yaml, such as Stable Diffusion’s for real photos, and run again; everything else stays."
        )
    return False, (
        f"The photos are of a kind that the base model “{base}” knows: they lie {max(gap, 0):.1f} "
        "standard deviations "
        f"from what it draws for “{class_word}” by itself (foreign would be more than {FOREIGN:.0f})."
    )


def notes(scores: Mapping[str, Any], class_word: str) -> list[str]:
    """One plain sentence for every further score that was measured: class, variety, copying."""
    said = []
    pres, drift = scores.get("pres"), scores.get("drift")
    if pres and pres.get("interval"):
        rise = pres["value"] - pres["marks"]["base"]
        changed = pres["interval"][0] > pres["marks"]["base"]
        said.append(
            f"“a {class_word}”, without the subject, is {pres['value']:.2f} like the photos after tuning and "
            f"{pres['marks']['base']:.2f} before (PRES): "
            + (
                f"the subject has leaked into its class by {rise:.2f}."
                if changed
                else "no leak of the subject into its class."
            )
        )
    if drift:
        other = drift["marks"].get("other_seed")
        share = f", where two unrelated pictures of the class differ by {other:.2f}" if other else ""
        said.append(
            f"Pictures of the class moved by {drift['value']:.2f} through tuning{share} (drift, 0 is "
            "untouched)."
        )
    for name, what in (("div", "pictures of one prompt"), ("class_div", "pictures of the class")):
        score = scores.get(name)
        if score:
            before = score["marks"].get("base")
            compared = f" and by {before:.2f} before" if before is not None else ""
            said.append(
                f"Variety: {what} differ from one another by {score['value']:.2f} after "
                f"tuning{compared} (1 − DINO cosine)."
            )
    memory = scores.get("memorisation")
    if memory:
        marks = memory["marks"]
        copies = marks.get("copies")
        call = (
            ""
            if copies is None
            else f" {copies:.0f} are nearer to a photo than any two photos are to each other."
            if copies
            else " None is a copy."
        )
        said.append(
            f"Memorisation: the nearest photo to any sample is at a cosine of {marks['max']:.2f} and "
            f"{marks['psnr']:.1f} dB.{call}"
        )
    return said


def quality(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures of a quality.json as (what, how much), known ones in words."""
    formats = {"share": percent, "db": lambda v: f"{v:.1f} dB", "number": lambda v: f"{v:.2f}"}
    said = []
    for key, value in figures.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        phrase, kind = QUALITY.get(key, (key.replace("_", " "), "plain"))
        said.append((phrase, formats.get(kind, lambda v: f"{v:g}")(value)))
    order = {QUALITY[key][0]: index for index, key in enumerate(QUALITY)}
    return sorted(said, key=lambda pair: order.get(pair[0], len(order)))
