"""The stage report: opens offline, shows every picture, escapes everything, equal bytes each time."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tasks import report
from tasks.shared import images, manifest, settings
from tasks.shared.errors import UserError
from tasks.shared.subject import Subject

HOSTILE = (
    "<script>document.title='taken'</script>\"><img src=x onerror=\"document.title='taken'\">"
    " {{ 7*7 }} & so on"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
]
STAGES = ("photos", "segment", "prior", "fine_tune", "sample", "evaluate")


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """The folders of a finished subject, with hostile text wherever a person or a file name can put text."""
    random = np.random.default_rng(0)
    folders = {name: tmp_path / "in" / name for name in STAGES}

    def save(path: Path, side: int = 24) -> None:
        images.save(path, random.integers(0, 256, size=(side, side, 3), dtype=np.uint8))

    def write(path: Path, content: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")

    for index in range(3):
        save(folders["photos"] / f"{index:02d}.png", side=100)
        save(folders["segment"] / "images" / f"{index:02d}.png")
        images.save(folders["segment"] / "masks" / f"{index:02d}.png", np.tri(24, dtype=bool))
        save(folders["prior"] / f"{index:04d}.png")
    write(
        folders["photos"] / "ingest.json",
        {"summary": "3 of 4 files kept", "photos": [{"source": f"{HOSTILE}.jpg", "reasons": ["blurred"]}]},
    )
    write(
        folders["fine_tune"] / "curve.json",
        [{"step": s, "loss": 1 / s, "instance": 1 / s, "prior": 0.5} for s in (1, 2, 9)],
    )
    save(folders["fine_tune"] / "validation" / "step_0009.png")
    (folders["fine_tune"] / "kohya.safetensors").write_bytes(b"weights")
    entries = []
    for kind in ("subject", "base"):
        for seed in (0, 1):
            entries.append(
                {"file": f"{kind}/p00_s{seed:02d}.png", "kind": kind, "prompt": f"a sks dog {HOSTILE}"}
            )
            entries[-1] |= {"seed": seed, "scene": "x", "verdict": {"word": "released", "reasons": []}}
    entries[1]["verdict"] = {"word": "refused", "reasons": [f"prompt {HOSTILE}"]}
    for kind in ("class_tuned", "class_base"):
        entries.append(
            {"file": f"{kind}/s00.png", "kind": kind, "prompt": "a dog", "seed": 0, "verdict": "released"}
        )
    for entry in entries:
        if entry["verdict"] == "released" or entry["verdict"]["word"] == "released":
            save(folders["sample"] / entry["file"])
    write(folders["sample"] / "samples.json", entries)
    likeness = {
        "value": 0.6,
        "interval": [0.5, 0.7],
        "floor": 0.4,
        "ceiling": 0.8,
        "normalised": 0.5,
        "gain": 0.2,
    }
    likeness |= {"gain_interval": [0.1, 0.3], "marks": {}}
    world = {
        "value": 0.2,
        "interval": None,
        "floor": None,
        "ceiling": None,
        "marks": {"base": 0.7, "gap": 8.0},
    }
    scores = {"dino": likeness, "clip_t": likeness, "familiarity": world}
    write(
        folders["evaluate"] / "scores.json",
        {"confidence": 0.95, "photos": 3, "samples": 3, "samples_without_mask": 0, "scores": scores},
    )
    for name, stage in zip(
        STAGES, ("ingest", "segment", "class_prior", "fine_tune", "sample", "evaluate"), strict=True
    ):
        facts = (
            {"method": "dreambooth", "base": {"model": "tiny", "revision": "abc"}}
            if name == "fine_tune"
            else {}
        )
        manifest.write(folders[name], stage, 1, params={"note": HOSTILE}, **facts)
    return folders


@pytest.fixture
def told(tmp_path: Path) -> Callable[..., settings.Settings]:
    base = tmp_path / "project" / "base"
    base.mkdir(parents=True)
    figures = {"world": "rendered toys", "t2i_class_accuracy": 0.934, "own_figure": 3.5}
    (base / "quality.json").write_text(json.dumps(figures))
    identity = Subject(**{"name": "rex", "class": "dog", "class_folder": "dog"})
    recipes = {"base": {"model": "base"}, "recipe": {"report": 1}}

    def make(**values: object) -> settings.Settings:
        return settings.Settings({"report": values, **recipes}, tmp_path / "project", identity)

    return make


class Page(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags[-1:] != [("style", {})]:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_shows_every_part_and_only_files_beside_it(inputs, told, tmp_path):
    chosen = told()
    report.run(**inputs, out=tmp_path / "report", settings=chosen)
    page = Page(tmp_path / "report" / "index.html")
    shown = [image["src"] for image in page.all("img")]
    assert (
        len(shown) == len(set(shown)) == 3 + 3 + 3 + 3 + 1 + 2
    )  # photos, masks, class, samples, validation, class moved
    for source in shown:
        assert re.fullmatch(r"\./pictures/[\w/.]+", source)
        assert (tmp_path / "report" / source).is_file()
    assert all(image["alt"] for image in page.all("img"))
    assert {anchor["href"][1:] for anchor in page.all("a")} <= {
        tag["id"] for _, tag in page.tags if tag.get("id")
    }
    for part in (
        "of the way to the photos",
        "rendered toys",
        "93\u00a0%",
        "3.5",
        "own figure",
        "dreambooth",
        "abc",
    ):
        assert part in page.text
    assert "Stable Diffusion" in page.text  # the photos are foreign to this base
    assert len(page.all("svg")) == 3  # the curve and two scores
    assert chosen.read == {"report", "recipe.report", "base"}
    manifest.verify(tmp_path / "report", "report")


def test_hostile_text_stays_text(inputs, told, tmp_path):
    report.run(**inputs, out=tmp_path / "report", settings=told())
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    page = Page(tmp_path / "report" / "index.html")
    assert page.all("script") == []
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(HOSTILE) >= 4  # prompt, reason, file name, params: all are shown as they are
    assert not re.search(r"(src|href)=\"(?!\./|#)", html)  # nothing is fetched from anywhere


def test_a_picture_kept_back_says_why_and_no_path_leads_out(inputs, told, tmp_path):
    (tmp_path / "in" / "secret.png").write_bytes((inputs["photos"] / "00.png").read_bytes())
    path = inputs["sample"] / "samples.json"
    entries = json.loads(path.read_text())
    entries[0]["file"] = "../secret.png"
    path.write_text(json.dumps(entries))
    report.run(**inputs, out=tmp_path / "report", settings=told())
    assert not (tmp_path / "report" / "pictures" / "subject").exists()
    assert Page(tmp_path / "report" / "index.html").text.count("kept back") == 2


def test_equal_inputs_give_equal_bytes_anywhere(inputs, told, tmp_path):
    report.run(**inputs, out=tmp_path / "a", settings=told())
    moved = {name: folder.rename(tmp_path / f"moved_{name}") for name, folder in inputs.items()}
    report.run(**moved, out=tmp_path / "deeper" / "b", settings=told())
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(names) == 17
    assert all(
        (tmp_path / "a" / n).read_bytes() == (tmp_path / "deeper" / "b" / n).read_bytes() for n in names
    )
    assert str(tmp_path) not in (tmp_path / "a" / "index.html").read_text()


def test_large_pictures_become_smaller_and_small_ones_stay_as_they_are(inputs, told, tmp_path):
    report.run(**inputs, out=tmp_path / "report", settings=told(picture_px=64))
    made = tmp_path / "report" / "pictures"
    assert images.read(made / "photos" / "00.jpg").shape == (64, 64, 3)
    ours = inputs["sample"] / "subject" / "p00_s00.png"
    assert (made / "subject" / "p00_s00.png").read_bytes() == ours.read_bytes()


def test_each_option_does_what_it_says(inputs, told, tmp_path):
    save = inputs["fine_tune"] / "validation"
    for step in (1, 2, 3):
        shutil.copy(save / "step_0009.png", save / f"step_{step:04d}.png")
    report.run(**inputs, out=tmp_path / "report", settings=told(max_class_images=1, max_validation=2))
    pictures = tmp_path / "report" / "pictures"
    assert len(list((pictures / "class").iterdir())) == 1
    assert sorted(path.stem for path in (pictures / "validation").iterdir()) == ["step_0001", "step_0009"]


def test_parts_that_do_not_exist_are_left_out(inputs, told, tmp_path):
    (inputs["fine_tune"] / "curve.json").unlink()
    shutil.rmtree(inputs["fine_tune"] / "validation")
    (inputs["photos"] / "ingest.json").unlink()
    (tmp_path / "project" / "base" / "quality.json").unlink()
    (inputs["evaluate"] / "scores.json").write_text('{"scores": {}}')
    report.run(**inputs, out=tmp_path / "report", settings=told())
    text = Page(tmp_path / "report" / "index.html").text
    assert "No loss curve" in text
    assert "No score says anything" in text
    assert "What the base model can do" not in text


@pytest.mark.parametrize(
    ("name", "content"), [("evaluate/scores.json", "[1]"), ("fine_tune/curve.json", "{")]
)
def test_damaged_inputs_are_one_line_and_leave_nothing(inputs, told, tmp_path, name, content):
    (tmp_path / "in" / name).write_text(content)
    with pytest.raises(UserError, match=name) as caught:
        report.run(**inputs, out=tmp_path / "report", settings=told())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_an_unfinished_stage_is_refused(inputs, told, tmp_path):
    (inputs["sample"] / "manifest.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        report.run(**inputs, out=tmp_path / "report", settings=told())


@pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: the page was not opened in a browser"
)
def test_a_browser_shows_all_pictures_from_disk_and_runs_nothing(inputs, told, tmp_path):
    report.run(**inputs, out=tmp_path / "report", settings=told())
    page = tmp_path / "report" / "index.html"
    as_it_is = browse(page, tmp_path)
    assert "<title>rex · Dreamline</title>" in as_it_is  # no hostile text ran
    counted = """<script>addEventListener("load", () => {
      const all = [...document.images];
      document.body.dataset.loaded = all.filter(image => image.naturalWidth > 0).length + " of " + all.length;
      document.body.dataset.wide = document.documentElement.scrollWidth > innerWidth;
    })</script></head>"""
    probe = tmp_path / "report" / "probe.html"
    html = page.read_text(encoding="utf-8").replace("</head>", counted)
    probe.write_text(html.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';"))
    seen = browse(probe, tmp_path)
    assert 'data-loaded="15 of 15"' in seen
    assert 'data-wide="false"' in seen
    planted = tmp_path / "report" / "planted.html"  # the probe can fail, and the page's own policy holds
    planted.write_text(probe.read_text().replace("subject/p00_s00.png", "subject/gone.png"))
    assert 'data-loaded="14 of 15"' in browse(planted, tmp_path)
    planted.write_text(page.read_text(encoding="utf-8").replace("</head>", counted))
    assert "data-loaded" not in browse(planted, tmp_path)


def browse(page: Path, tmp_path: Path) -> str:
    """The page's document after loading in headless Chromium with a fresh profile."""
    profile = tmp_path / f"profile_{page.stem}_{len(list(tmp_path.glob('profile_*')))}"
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={profile}",
        "--window-size=1200,900",
        "--dump-dom",
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
