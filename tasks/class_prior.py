"""Stage 2: what the untouched base draws for the class alone, shared by all subjects of the class.

Prior preservation trains on these so that "a dog" stays a dog (Ruiz et al. 2023, arXiv:2208.12242, 3.3).

Picture i depends on the params without their number, and on i: it has its own seed and a fixed place in a
batch of fixed size. So a larger `num_class_images` keeps every old byte and draws only the new pictures, and
a killed run goes on where it stopped. Pictures that are black, that repeat an earlier one, or in which the
judge sees no such class are drawn again from further seeds.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from tasks.backbones import _warm as warm
from tasks.backbones.base import Backbone, SampleOptions
from tasks.guards import output
from tasks.guards.base import Context, Picture
from tasks.metrics._judges import TextJudge
from tasks.shared import cli, images, manifest, params, progress, prompts
from tasks.shared.class_pictures import Store
from tasks.shared.errors import UserError
from tasks.shared.folders import staged
from tasks.shared.settings import Settings
from tasks.shared.subject import Words

log = logging.getLogger(__name__)

ATTEMPT_STRIDE = 10_000_000  # attempt a of picture i has the seed `seed + i + a * ATTEMPT_STRIDE`
DUPLICATE_RMS = 2.0  # of 255, at 16 x 16 px: two pictures nearer than this are one
JUDGE_KNOWS = 0.5  # share of the first batch in which the judge must see the class to be listened to


class Params(SampleOptions):
    """Which class pictures, and how they are drawn."""

    prompt: str = Field(default="a {class}", description="what is drawn; {class} is the class word")
    num_class_images: int = Field(
        default=48, ge=1, le=10_000, description="pictures; more of them keep the old ones"
    )
    seed: int = Field(default=0, ge=0, lt=ATTEMPT_STRIDE, description="picture i starts from seed + i")
    batch_size: int = Field(
        default=16,
        ge=1,
        le=256,
        description="pictures drawn at once, less where memory ends; another size may change their last bit",
    )
    judge: str | None = Field(
        default="data/judges/clip",
        description="CLIPModel that looks for the class: folder or Hub id; null: nobody",
    )
    judge_revision: str = Field(
        default="main",
        description="Hub revision; for a folder `main` or the SHA-256 of its model.safetensors",
    )
    max_attempts: int = Field(
        default=8, ge=0, le=256, description="further seeds tried for a picture turned down"
    )


class ClassFile(params.Params):
    """class.yaml."""

    class_word: Words = Field(alias="class", description="the class as the base model knows it: dog, vase")


def run(class_file: Path, out: Path, settings: Settings) -> None:
    """Draw the class pictures into `out` as NNNN.png."""
    options, recipe = settings.section(Params, "class_prior"), settings.recipe("class_prior")
    word = params.validate(ClassFile, params.read_yaml(class_file), str(class_file)).class_word
    prompt = prompts.filled(options.prompt, {"class": word}, "class_prior.prompt")
    judge, base = _open_judge(options, settings), settings.base
    backbone = warm.take(base)
    key = {
        "recipe": recipe,
        "base": {**backbone.identity, "dtype": base.dtype},
        "prompt": prompt,
        "size_px": options.size_px or backbone.size_px,
        "judge": judge.identity if judge else None,
        **options.model_dump(
            mode="json", exclude={"prompt", "num_class_images", "size_px", "judge", "judge_revision"}
        ),
    }
    store = Store(out.parent / ".work" / "class_prior", key)
    store.adopt(out)
    without_class = " ".join(prompts.filled(options.prompt, {"class": ""}, "class_prior.prompt").split())
    check = ClassCheck(judge, prompt, without_class)
    Drawing(backbone, options, prompt, store, check).draw_missing()
    warm.give_back(base, backbone)
    entries = [store.entry(index) for index in range(options.num_class_images)]
    if not any(entry["file"] for entry in entries):
        raise UserError(f"class_prior: no usable picture for {prompt!r} ({'; '.join(entries[0]['reasons'])})")
    with staged(out) as folder:
        for entry in entries:
            if entry["file"]:
                shutil.copyfile(store.folder / entry["file"], folder / entry["file"])
        manifest.write(
            folder,
            "class_prior",
            recipe,
            params=options.model_dump(mode="json"),
            key=key,
            judge_knows_class=store.judge_knows_class,
            pictures=entries,
            **{"class": word, "prompt": prompt, "base": backbone.identity},
        )
    store.remove()


class ClassCheck:
    """Does the judge see the class? The prompt must fit better than the prompt without the class."""

    def __init__(self, judge: TextJudge | None, prompt: str, without_class: str):
        self.judge = judge
        if judge:
            self.texts = judge.embed_text([prompt, "", without_class])  # [3 d]

    def sees(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """[n] bool; all True without a judge."""
        if self.judge is None:
            return np.ones(len(pictures), bool)
        likeness = self.judge.embed(pictures) @ self.texts.T  # [n 3]
        return likeness[:, 0] > likeness[:, 1:].max(1)


class Drawing:
    """Draws what the store lacks, batch by batch, and settles the pictures one by one in their order."""

    def __init__(self, backbone: Backbone, options: Params, prompt: str, store: Store, check: ClassCheck):
        self.backbone, self.options, self.prompt, self.store, self.check = (
            backbone,
            options,
            prompt,
            store,
            check,
        )
        self.context = Context(
            facts={
                "stage": "class_prior",
                "base": backbone.identity,
                "method": None,
                "adapter": None,
                "sampler": {key: store.key[key] for key in ("size_px", *SampleOptions.model_fields)},
            }
        )
        self.thumbnails: dict[int, np.ndarray] = {}

    def draw_missing(self) -> None:
        """Finish every picture below `num_class_images`."""
        size, total = self.options.batch_size, self.options.num_class_images
        missing = [index for index in range(total) if not self.store.entry(index)]
        for index in set(range(total)) - set(missing):
            if name := self.store.entry(index)["file"]:
                self.thumbnails[index] = _thumbnail(images.read(self.store.folder / name))
        batches = sorted({index // size for index in missing})
        for number in progress.each(batches, f"drawing {self.prompt!r}, batches of {size}", len(batches)):
            indices = range(number * size, (number + 1) * size)
            pictures = self._draw([self.options.seed + index for index in indices])
            if self.store.judge_knows_class is None:
                self._look_at_the_first(pictures)
            for index, pixels in zip(indices, pictures, strict=True):
                if index in missing:
                    self._settle(index, pixels)

    def _draw(self, seeds: Sequence[int]) -> np.ndarray:
        """One batch of full size. [batch_size h w 3] uint8"""
        return self.backbone.sample([self.prompt] * len(seeds), seeds, self.options, self.options.batch_size)

    def _look_at_the_first(self, pictures: np.ndarray) -> None:
        """Is it worth going on, and does the judge know the class at all?

        Raises:
            UserError: the policy refuses the prompt, or the base draws nothing but black or blank pictures.
        """
        verdicts = [output.review(self._picture(0, 0, pixels), self.context) for pixels in pictures]
        if refused := [verdict for verdict in verdicts if verdict.word == "refused"]:
            raise UserError(f"class_prior.prompt: {self.prompt!r}: {'; '.join(refused[0].reasons)}")
        if all(verdict.word == "flagged" for verdict in verdicts):
            raise UserError(
                f"class_prior: {self.prompt!r} comes out {'; '.join(verdicts[0].reasons)} every time; "
                "check base.model, and base.dtype and class_prior.dtype (float32 is safe)"
            )
        share = float(self.check.sees(list(pictures)).mean())
        if share < JUDGE_KNOWS:
            log.warning(
                "class_prior: the judge sees %r in %.0f %% of the first pictures: it or the base does not "
                "know the class, so nothing is turned down for it",
                self.prompt,
                100 * share,
            )
        self.store.know(share >= JUDGE_KNOWS)

    def _settle(self, index: int, first: np.ndarray) -> None:
        """Accept the picture, or the first of its further attempts with nothing against it."""
        reasons = self._objections(index, first)
        if not reasons:
            return self._accept(index, 0, first, [])
        size, attempts = self.options.batch_size, self.options.max_attempts
        for start in range(1, attempts + 1, size):
            numbers = range(start, start + size)
            seeds = [self._seed(index, attempt) for attempt in numbers]
            for attempt, pixels in zip(numbers, self._draw(seeds), strict=True):
                if attempt <= attempts and not self._objections(index, pixels):
                    log.info("class_prior: picture %d was drawn again (%s)", index, "; ".join(reasons))
                    return self._accept(index, attempt, pixels, [])
        if reasons == [self._classless]:
            log.warning("class_prior: picture %d is kept after %d attempts: %s", index, attempts, reasons[0])
            return self._accept(index, 0, first, reasons)
        log.warning(
            "class_prior: picture %d is left out after %d attempts: %s", index, attempts, "; ".join(reasons)
        )
        return self.store.finish(index, file=None, seed=self._seed(index, 0), attempt=0, reasons=reasons)

    def _objections(self, index: int, pixels: np.ndarray) -> list[str]:
        reasons = output.review(self._picture(index, 0, pixels), self.context).reasons
        for other in sorted(self.thumbnails):
            if other < index and _distance(self.thumbnails[other], _thumbnail(pixels)) < DUPLICATE_RMS:
                reasons.append(f"repeats picture {other}")
                break
        if not reasons and self.store.judge_knows_class and not self.check.sees([pixels])[0]:
            reasons.append(self._classless)
        return reasons

    def _accept(self, index: int, attempt: int, pixels: np.ndarray, reasons: list[str]) -> None:
        picture = self._picture(index, attempt, pixels)
        output.release([picture], self.context)
        self.thumbnails[index] = _thumbnail(pixels)
        self.store.finish(index, file=picture.path.name, seed=picture.seed, attempt=attempt, reasons=reasons)

    def _picture(self, index: int, attempt: int, pixels: np.ndarray) -> Picture:
        return Picture(
            pixels, self.prompt, self._seed(index, attempt), self.store.folder / f"{index:04d}.png"
        )

    def _seed(self, index: int, attempt: int) -> int:
        return self.options.seed + index + attempt * ATTEMPT_STRIDE

    @property
    def _classless(self) -> str:
        return f"the judge does not see {self.prompt!r} in it"


def _open_judge(options: Params, settings: Settings) -> TextJudge | None:
    if options.judge is None:
        return None
    try:
        return TextJudge(options.judge, options.judge_revision, settings.project)
    except UserError as error:
        raise UserError(f"class_prior.judge: {error}") from error


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """[16 16 3] float"""
    return images.resize(pixels, 16).astype(np.float32)


def _distance(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.sqrt(np.square(left - right).mean()))


if __name__ == "__main__":
    cli.main(run)
