"""From photos somewhere to a subject's folder, all of it or nothing."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.lock import held
from flows.store import versions
from flows.workspace import SubjectFolder, Workspace, delete, prepare_prior, write_subject
from tasks.shared import params, settings
from tasks.shared.errors import UserError
from tasks.shared.prompts import spelled_out
from tasks.shared.subject import Subject, slug_of

CANDIDATE = ".subject.adding.yaml"


@dataclass(frozen=True)
class Added:
    """What `add` did."""

    subject: SubjectFolder
    new: bool
    accepted: int
    remarks: list[str]


def add(
    workspace: Workspace,
    sources: Sequence[Path],
    name: str | None = None,
    consent: Path | None = None,
    prompts: Sequence[str] | None = None,
    **identity: Any,
) -> Added:
    """Make a subject from photos, or give an existing one new photos; the old ones stay in the cache.

    Args:
        sources: one folder, one zip, or photo files.
        name: default: made from the name of the source.
        consent: record of consent to copy beside subject.yaml.
        prompts: what is drawn, for the subject's block `sample`; None leaves it as it is.
        identity: keys of subject.yaml such as class, identifier, method, kind; None leaves a key as it is.
    Raises:
        UserError: no photo can be used, or a value is wrong; nothing has changed then.
    """
    for source in sources:
        if not source.exists():
            raise UserError(f"{source}: no such file or folder")
    name = name or slug_of(sources[0].stem if sources[0].is_file() else sources[0].resolve().name)
    folder = workspace.subjects_folder / name
    new = not (folder / "subject.yaml").exists()
    told = {key: value for key, value in identity.items() if value is not None} | {"name": name}
    if "class" in told:
        told["class_folder"] = slug_of(told["class"])
    elif new:
        raise UserError(
            "--class: missing; say what the subject is in a word that the base knows, such as dog"
        )
    if consent is not None:
        told["consent"] = f"consent{consent.suffix or '.yaml'}"
    before = {} if new else params.read_yaml(folder / "subject.yaml")
    fields = {field.alias or key for key, field in Subject.model_fields.items()}
    params.validate(Subject, {k: v for k, v in before.items() if k in fields} | told, "dreamline add")
    if prompts is not None:
        told["sample"] = (before.get("sample") or {}) | {"prompts": list(prompts)}
    lock = workspace.state / "locks" / name if new else folder / ".work" / "lock"
    with held(lock, busy=f"{name}: a run of this subject is going on"):
        working = folder.with_name(f".{name}.adding") if new else folder
        if new:
            if folder.exists() and any(folder.iterdir()):
                raise UserError(
                    f"{folder}: exists but holds no subject.yaml; move it away or choose another --name"
                )
            shutil.rmtree(working, ignore_errors=True)
            working.mkdir(parents=True)
        try:
            _ingest(workspace, sources, working, told, consent)
            if new:
                if folder.exists():
                    folder.rmdir()
                working.rename(folder)
        finally:
            (working / CANDIDATE).unlink(missing_ok=True)
            if new:
                shutil.rmtree(working, ignore_errors=True)
    subject = workspace.subject(name)
    prepare_prior(workspace, subject.identity.class_word)
    subject.prepare()
    versions.add_photos(subject)
    accepted, remarks = _summary(folder / "photos" / "ingest.json")
    return Added(subject, new, accepted, remarks)


def _ingest(
    workspace: Workspace, sources: Sequence[Path], folder: Path, told: dict[str, Any], consent: Path | None
) -> None:
    """Fill photos/, then write subject.yaml: a failure before leaves the old ones, the consent record too."""
    from tasks import ingest

    candidate = folder / CANDIDATE
    if (folder / "subject.yaml").exists():
        shutil.copy(folder / "subject.yaml", candidate)
    write_subject(candidate, told)
    source = sources[0] if len(sources) == 1 else list(sources)
    with _consent_given(folder / str(told.get("consent")), consent):
        ingest.run(source, folder / "photos", settings.load(workspace.params_file, candidate))
        candidate.replace(folder / "subject.yaml")


@contextmanager
def _consent_given(record: Path, consent: Path | None) -> Iterator[None]:
    """The new record in place of the old one, which comes back where the photos are refused."""
    if consent is None:
        yield
        return
    before = record.read_bytes() if record.exists() else None
    try:
        shutil.copyfile(consent, record)
    except OSError as error:
        raise UserError(f"--consent {consent}: cannot be read ({error.strerror})") from error
    try:
        yield
    except BaseException:
        if before is None:
            record.unlink()
        else:
            record.write_bytes(before)
        raise


def _summary(path: Path) -> tuple[int, list[str]]:
    """How many photos were accepted, and a line per photo or set that ingest had something to say about."""
    content = json.loads(path.read_text(encoding="utf-8"))
    photos = content.get("photos", []) if isinstance(content, dict) else content
    remarks = [
        f"{photo.get('source', '?')}: {reason}"
        for photo in photos
        for reason in [*photo.get("reasons", []), *photo.get("warnings", [])]
    ]
    remarks += content.get("warnings", []) if isinstance(content, dict) else []
    return sum(bool(photo.get("accepted")) for photo in photos), remarks


def remove(subject: SubjectFolder) -> None:
    """Delete a subject's folder; recorded versions stay in cache and remote until `dvc gc`."""
    with held(subject.lock_file, busy=f"{subject.name}: a run of this subject is going on"):
        delete(subject.folder)


def unknown_words(workspace: Workspace, phrase: str) -> list[str]:
    """Words that the base's tokenizer breaks into letters; [] when the base is not on this machine."""
    folder = Path(settings.load(workspace.params_file).base.model) / "tokenizer"
    if not folder.is_dir():
        return []
    from transformers import CLIPTokenizer  # what every backbone has; AutoTokenizer imports PyTorch first

    return spelled_out(CLIPTokenizer.from_pretrained(folder), phrase)
