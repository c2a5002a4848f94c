"""What the report shows of a subject: photos, masks, scenes, class pictures, looks during the training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.reporting import pictures
from tasks.shared import images, params, samples
from tasks.shared.subject import Subject


class Params(params.Params):
    """How much the page shows."""

    picture_px: int = Field(
        default=768, ge=64, le=4096, description="longest side of a picture on the page, px"
    )
    max_prompts: int = Field(
        default=40, ge=1, le=1000, description="prompts that are shown; scores count all"
    )
    max_class_images: int = Field(default=16, ge=0, le=1000, description="class images that are shown")
    max_validation: int = Field(
        default=12, ge=0, le=1000, description="validation pictures shown, evenly spaced"
    )


class Shown:
    """Brings pictures into the report's folder, with a text for each that stands in for the picture."""

    def __init__(self, folder: Path, options: Params, subject: Subject):
        self.folder, self.options, self.subject = folder, options, subject

    def _picture(self, source: Path, name: str, alt: str, **more: Any) -> dict[str, Any]:
        return {
            "file": pictures.copied(source, self.folder, name, self.options.picture_px),
            "alt": alt,
            **more,
        }

    def photos(self, folder: Path) -> list[dict[str, Any]]:
        return [
            self._picture(path, f"photos/{index:02d}", f"Photo {index + 1} of {self.subject.name}")
            for index, path in enumerate(sorted(folder.glob("*.png")))
        ]

    def masks(self, segment: Path) -> list[dict[str, Any]]:
        found = []
        for index, path in enumerate(sorted((segment / "images").glob("*.png"))):
            mask = segment / "masks" / path.name
            laid_over = self.folder / "pictures" / "masks" / f"{index:02d}.png"
            images.save(laid_over, pictures.outlined(images.read(path), images.read_mask(mask)))
            name = laid_over.relative_to(self.folder).as_posix()
            found.append(
                {"file": name, "alt": f"Crop {index + 1}, the subject outlined, everything else faded"}
            )
        return found

    def class_images(self, prior: Path) -> list[dict[str, Any]]:
        chosen = sorted(prior.glob("*.png"))[: self.options.max_class_images]
        return [
            self._picture(
                path, f"class/{index:04d}", f"{self.subject.class_word}, as the base model draws it"
            )
            for index, path in enumerate(chosen)
        ]

    def scenes(self, sample: Path) -> list[dict[str, Any]]:
        """One entry a prompt: for each seed the tuned picture and the base's, or why there is none."""
        by_prompt: dict[str, dict[int, dict[str, Any]]] = {}
        for entry in samples.read(sample):
            if entry["kind"] in ("subject", "base"):
                seeds = by_prompt.setdefault(str(entry["prompt"]), {})
                seeds.setdefault(int(entry["seed"]), {})[entry["kind"]] = entry
        scenes = []
        for place, (prompt, seeds) in enumerate(list(by_prompt.items())[: self.options.max_prompts]):
            pairs = []
            for seed, kinds in sorted(seeds.items()):
                tuned, untuned = (
                    self._drawn(sample, kinds.get(kind), f"{kind}/p{place:02d}_s{seed:02d}", whose)
                    for kind, whose in (("subject", "tuned model"), ("base", "untuned model"))
                )
                pairs.append({"seed": seed, "tuned": tuned, "untuned": untuned})
            scenes.append({"prompt": prompt, "pairs": pairs})
        return scenes

    def class_moved(self, sample: Path) -> list[dict[str, Any]]:
        """Pictures of the class alone, before and after, by seed."""
        by_seed: dict[int, dict[str, Any]] = {}
        for entry in samples.read(sample):
            if entry["kind"] in ("class_tuned", "class_base"):
                by_seed.setdefault(int(entry["seed"]), {})[entry["kind"]] = entry
        return [
            {
                "seed": seed,
                "tuned": self._drawn(
                    sample, kinds.get("class_tuned"), f"class_tuned/s{seed:02d}", "tuned model"
                ),
                "untuned": self._drawn(
                    sample, kinds.get("class_base"), f"class_base/s{seed:02d}", "untuned model"
                ),
            }
            for seed, kinds in sorted(by_seed.items())
        ]

    def validation(self, fine_tune: Path, curve: list[dict[str, float]]) -> list[dict[str, Any]]:
        likeness = {row["step"]: row["dino"] for row in curve if "dino" in row}
        paths = sorted((fine_tune / "validation").glob("*.png"))
        most = self.options.max_validation
        if len(paths) > most:  # first and last always
            paths = [paths[round(i * (len(paths) - 1) / max(most - 1, 1))] for i in range(most)]
        found = []
        for path in paths:
            digits = "".join(letter for letter in path.stem if letter.isdigit())
            step = int(digits) if digits else 0
            alt = f"What the model draws after {step} training steps"
            found.append(
                self._picture(path, f"validation/{path.stem}", alt, step=step, likeness=likeness.get(step))
            )
        return found

    def _drawn(
        self, sample: Path, entry: Mapping[str, Any] | None, name: str, whose: str
    ) -> dict[str, Any] | None:
        if entry is None:
            return None
        source = sample / str(entry["file"])
        if source.is_file() and source.resolve().is_relative_to(sample.resolve()):
            alt = f"“{entry['prompt']}”, seed {entry['seed']}, drawn by the {whose}"
            return self._picture(source, name, alt)
        word, reasons = verdict_of(entry)
        return {"file": None, "alt": "; ".join(reasons) or word or "missing"}


def verdict_of(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Word and reasons of a gate's verdict, which may stand as one word or as a mapping."""
    verdict = entry.get("verdict") or ""
    if isinstance(verdict, Mapping):
        return str(verdict.get("word", "")), [str(reason) for reason in verdict.get("reasons", [])]
    return str(verdict), [str(reason) for reason in entry.get("reasons", [])]
