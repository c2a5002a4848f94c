"""The fleet's page: worst first, changes called worse only beyond chance, hostile text harmless."""

import re

from tasks.reporting.fleet import FleetRow, lost, write_fleet_report


def scored(dino: float, half: float = 0.05) -> dict[str, float]:
    return {"dino": dino, "dino_low": dino - half, "dino_high": dino + half}


def test_order_links_and_counts(tmp_path):
    rows = [
        FleetRow("calm", "dog", "unchanged", scores=scored(0.5), before=scored(0.5)),
        FleetRow("fresh", "dog", "new", scores=scored(0.5), report="../subjects/fresh/report/index.html"),
        FleetRow("worse", "dog", "changed", "photos", scored(0.4), scored(0.6)),
        FleetRow("broken", "dog", "failed", "photos: none of its 3 files can be used"),
    ]
    page = write_fleet_report(rows, tmp_path / "night", "Night", {"minutes": "3"})
    html = page.read_text(encoding="utf-8")
    assert re.findall(r"(broken|worse|fresh|calm)(?:</a>)?<br>", html) == ["broken", "worse", "fresh", "calm"]
    assert "1 failed, 1 new, 1 changed, 1 unchanged." in html
    assert "Worse than chance explains: worse." in html
    assert 'href="./../subjects/fresh/report/index.html"' in html
    assert "none of its 3 files" in html
    assert "−0.20 worse" in html


def test_a_change_within_the_intervals_is_no_loss():
    assert lost(FleetRow("a", "dog", "changed", scores=scored(0.4), before=scored(0.6)))
    assert not lost(FleetRow("a", "dog", "changed", scores=scored(0.52), before=scored(0.6)))
    assert not lost(FleetRow("a", "dog", "changed", scores=scored(0.8), before=scored(0.6)))
    leak = FleetRow("a", "dog", "changed", scores={"pres": 0.6}, before={"pres": 0.4})
    assert lost(leak)


def test_hostile_text_and_links_stay_harmless(tmp_path):
    bad = "<script>alert(1)</script>"
    row = FleetRow(bad, bad, "failed", bad, report="javascript:alert(1)", picture='x" onerror="alert(1)')
    html = write_fleet_report([row], tmp_path / "night", bad, {bad: bad}).read_text(encoding="utf-8")
    assert "<script" not in html
    assert 'href="./javascript%3Aalert%281%29"' in html
    assert 'onerror="' not in html


def test_an_empty_night_is_a_page(tmp_path):
    assert "0 failed" in write_fleet_report([], tmp_path / "night").read_text(encoding="utf-8")
