"""One poisoned subject of twenty, in each stage in turn: `python -m bench.fleet.isolation`.

The poison is a failure that no other attempt helps, in the stage of one subject only, with a photo that nobody else has: what
another has made of the same photos would be taken from DVC's run cache. A night passes when all others are up to date and the
one is explained in the report.
"""

import argparse
import os
import tempfile
from pathlib import Path

from bench.fleet import record, standins

POISONS = ("mistake", "defect", "half")  # a UserError, an exception of any kind, an output without a manifest


def main() -> None:
    """Poison, run, print, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="subjects")
    count = parser.parse_args().count
    from flows import execution, prefect_api
    from flows.store import versions

    with standins.importable(), tempfile.TemporaryDirectory() as folder:
        from tasks.shared import manifest
        from tests.flows.conftest import STAGES, new_subject, new_workspace, write_photo

        os.environ.pop("PREFECT_API_URL", None)
        workspace = new_workspace(Path(folder) / "project")
        first = new_subject(workspace, standins.name_of(0))
        execution.bring_up_to_date(first)
        names = [first.name, *standins.clones(workspace, first, count)]
        seen: dict[str, str] = {}
        with prefect_api.connection(workspace) as wait:
            from flows import nightly, personalize

            with personalize.settings(wait()):
                for number, stage in enumerate(STAGES):
                    _make_stale(workspace.params_file, stage)
                    victim = workspace.subject(names[(number + 1) * 3 % count])
                    write_photo(victim.folder / "photos" / "00.png", seed=1000 + number)
                    manifest.write(victim.folder / "photos", "ingest", 1)
                    versions.add_photos(victim)
                    work = victim.folder / ".work"
                    work.mkdir(exist_ok=True)
                    (work / f"poison_{stage}").write_text(POISONS[number % len(POISONS)])
                    night = nightly.run(workspace, names)
                    (work / f"poison_{stage}").unlink()
                    failed = night.of("failed")
                    alone = [row.subject for row in failed] == [victim.name] and bool(failed[0].reason)
                    done = len(night.of("changed"))
                    reason = failed[0].reason.replace(f"{workspace.root}/", "") if failed else ""
                    seen[stage] = f"{done} done, {len(failed)} explained: {reason}"
                    print(f"{stage}: {seen[stage]}", flush=True)
                    seen[stage] = ("ok: " if alone and done == count - 1 else "WRONG: ") + seen[stage]
    held = [told for told in seen.values() if told.startswith("ok")]
    record.record(
        "isolation",
        f"{len(held)} of {len(seen)} stages: {count - 1} done, 1 explained",
        "1 poisoned subject of 20 in each stage: 19 done, 1 explained",
        len(held) == len(seen) and count >= 20,
        stages=seen,
    )


def _make_stale(params: Path, stage: str) -> None:
    """Raise the recipe of a stage: the whole fleet has it to run."""
    text = params.read_text()
    version = int(text.split("recipe:")[1].split(f"{stage}: ")[1].split(",")[0].split("}")[0])
    head, recipe = text.split("recipe:", 1)
    params.write_text(f"{head}recipe:" + recipe.replace(f"{stage}: {version}", f"{stage}: {version + 1}", 1))


if __name__ == "__main__":
    main()
