"""Run a row of ToyBench: `python -m bench.toybench ROW... [--split small|full]`, or `make toybench METHOD=ROW`.

Rows stand in settings.yaml; `base` (the class name alone), `base_caption` (with its colour named) and `ceiling` (true pictures
through the autoencoder) are always there. What is finished is not run again. Results go to bench/toybench/results/, the page
docs/scoreboard.md is made anew.
"""

import argparse
import resource
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import provenance
from bench.eye import digest, open_eye
from bench.toybench import fleet, photos, results, scoreboard, settings
from bench.toybench.measure import Bench, Row, of_subject
from bench.toybench.prompts import asked_of
from bench.toybench.toys import toy
from flows import timings
from flows.workspace import Workspace
from tasks.backbones._warm import take
from tasks.evaluate import Params as EvaluateParams
from tasks.metrics._judges import ImageJudge, Judges, TextJudge
from tasks.sample import SEED_OFFSET
from tasks.sample import Params as SampleParams
from tasks.shared import plugins
from tasks.shared.errors import UserError
from tasks.shared.settings import Base, Settings, find_project, load


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="+", choices=[*settings.UNTRAINED, *settings.names()])
    parser.add_argument("--split", choices=list(settings.SPLITS), default="small")
    parser.add_argument(
        "--backbone", help="other weights: Hub id, folder or file; default: base of params.yaml"
    )
    parser.add_argument("--revision", default="main", help="of --backbone")
    parser.add_argument("--size_px", type=int, help="side of crops, the backbone's native size")
    parser.add_argument(
        "--photos", type=Path, help="DreamBench's folder: its subjects and prompts instead of the toys"
    )
    parser.add_argument(
        "--work", type=Path, help="the bench's own fleet; default: .work/toybench, or -photos"
    )
    given, project = parser.parse_args(), find_project(Path.cwd())
    names, seeds = settings.SPLITS[given.split]
    changes: dict[str, Any] = {}
    if given.backbone:
        changes["base"] = {"model": given.backbone, "revision": given.revision}
    if given.size_px:
        changes["segment"] = {"size_px": given.size_px}
    work = given.work or project / ".work" / ("toybench-photos" if given.photos else "toybench")
    home_of = partial(fleet.home_of, project, work, changes)
    if given.photos:
        return on_photos(project, home_of, given.rows, photos.entries(given.photos), seeds)
    plain = fleet.workspace(project, work, changes)
    told = load(plain.params_file)
    bench = judges_of(project, told)
    failed = []
    for name in given.rows:
        if name in settings.UNTRAINED:
            says = settings.UNTRAINED[name]
            rows = untrained(bench, told, name, names, seeds)
            per_subject, broken = dict[str, Any](), dict[str, Any]()
            used = fleet.used(plain)
        else:
            setting = settings.read(name)
            says, home = setting.says, home_of(setting)
            rows, per_subject, broken = trained(bench, home, setting, names, seeds)
            used = fleet.used(home, home.subject(fleet.folder_name(setting, names[0])))
        content = {
            "name": name,
            "says": says,
            "split": given.split,
            "harness": harness_of(bench),
            "eye": digest(),
            "base": bench.backbone.identity,
            "params": used,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "failed": broken,
            **provenance.of_tree(project),
            **results.summary(rows, per_subject),
        }
        print(results.write(given.split, name, content, bool(broken)), flush=True)
        failed += list(broken)
    scoreboard.write(project / "docs" / "scoreboard.md")
    return 1 if failed else 0


def on_photos(
    project: Path,
    home_of: Callable[[settings.Setting], Workspace],
    rows: Sequence[str],
    entries: Sequence[fleet.Entry],
    seeds: Sequence[int],
) -> int:
    """Rows on photographs; returns the exit code."""
    failed = 0
    for name in rows:
        if name in settings.UNTRAINED:
            raise UserError(
                f"{name}: floor and ceiling of photographs stand beside each score; give a trained row"
            )
        setting = settings.read(name)
        home = home_of(setting)
        broken = fleet.failures(fleet.run(home, setting, entries, seeds))
        done = [entry for entry in entries if fleet.folder_name(setting, entry.name) not in broken]
        told = load(home.params_file)
        judges = told.section(EvaluateParams, "evaluate").model_dump_json()
        content = {
            "name": name,
            "says": setting.says,
            "harness": results.harness([judges], results.OF_PHOTOS),
            "base": told.section(Base, "base").model_dump(),
            "params": fleet.used(home, home.subject(fleet.folder_name(setting, entries[0].name))),
            "failed": broken,
            **provenance.of_tree(project),
            **photos.summary(
                {
                    entry.name: photos.of_subject(home.subject(fleet.folder_name(setting, entry.name)))
                    for entry in done
                }
            ),
        }
        print(results.write("photos", name, content, bool(broken)), flush=True)
        failed += len(broken)
    return 1 if failed else 0


def judges_of(project: Path, told: Settings) -> Bench:
    """The judges of `evaluate`, the bench's own eye, the segmenter and the untuned base."""
    options = told.section(EvaluateParams, "evaluate")
    judges = Judges(
        ImageJudge(options.dino, options.dino_revision, project, options.batch_size),
        TextJudge(options.clip, options.clip_revision, project, options.batch_size),
    )
    module, chosen = plugins.configure(
        "segmenters", options.segmenter or {"name": "sam"}, "evaluate.segmenter"
    )
    return Bench(judges, open_eye(), module.Segmenter(chosen, project), take(told.base))


def harness_of(bench: Bench) -> str:
    """Digest of the harness with its judges."""
    digests = [str(judge.identity["revision"]) for judge in (bench.judges.dino, bench.judges.clip)]
    return results.harness([*digests, str(bench.segmenter.identity)])


def untrained(
    bench: Bench, told: Settings, name: str, names: Sequence[str], seeds: Sequence[int]
) -> list[Row]:
    """Floor and ceiling: no subject is trained for them."""
    rows: list[Row] = []
    for subject in names:
        if name == "ceiling":
            rows += bench.rows(subject, bench.ceiling(subject))
            continue
        identity, asked = toy(subject).identity, asked_of(subject)
        word = identity.cls if name == "base" else f"{identity.primary} {identity.cls}"
        sampler = told.section(SampleParams, "sample")
        plan = [(one, SEED_OFFSET + seed) for one in asked for seed in seeds]
        texts = [one.text.replace("{subject}", identity.cls if one.colour else word) for one, _ in plan]
        pictures = bench.backbone.sample(texts, [seed for _, seed in plan], sampler, sampler.batch_size)
        rows += bench.rows(
            subject,
            [bench.one(one, seed, pixels) for (one, seed), pixels in zip(plan, pictures, strict=True)],
        )
    return rows


def trained(
    bench: Bench, home: Workspace, setting: settings.Setting, names: Sequence[str], seeds: Sequence[int]
) -> tuple[list[Row], dict[str, dict[str, float]], dict[str, str]]:
    """Run a row's fleet and measure what it drew; a failed subject is named with its reason."""
    broken = fleet.failures(fleet.run(home, setting, fleet.toys(home, names), seeds))
    took = timings.Timings(home)
    rows: list[Row] = []
    per_subject = {}
    for subject in names:
        folder = home.subject(fleet.folder_name(setting, subject))
        if folder.name in broken:
            continue
        rows += bench.rows(subject, bench.sampled(subject, setting, folder))
        per_subject[subject] = of_subject(folder)
        for stage in ("fine_tune", "sample"):
            per_subject[subject][f"{stage}_s"] = round(took.about_s(folder.name, [stage]) or 0.0, 1)
    return rows, per_subject, broken


if __name__ == "__main__":
    sys.exit(main())
