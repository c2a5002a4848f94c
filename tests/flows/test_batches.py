"""Batches: how they are cut, what a worker does with one, and how the night looks after those it posted."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from ruamel.yaml import YAML

from flows import pool
from flows.pool import Batch, Params, Seen
from flows.store import sharing
from flows.store.pipeline import Stage
from flows.store.staleness import Forecast, Verdict
from flows.workspace import Workspace
from tasks.shared.errors import Transient, UserError
from tasks.shared.params import read_yaml
from tests.flows.clones import clone, make, run_git

from .conftest import PARAMS, REPO, new_subject

pytestmark = pytest.mark.usefixtures("quick")


def stale(name: str, prior: bool = False) -> Forecast:
    """A forecast in which fine_tune must run, and perhaps the class prior."""

    def verdict(stage: str, subject_file: Path | None) -> Verdict:
        return Verdict(Stage(stage, Path(), stage, {}, subject_file, (), (), {}), inputs=("changed",))

    first = (verdict("class_prior", None),) if prior else ()
    return Forecast(name, (*first, verdict("fine_tune", Path("subject.yaml"))))


def fleet(workspace: Workspace, **classes: str) -> None:
    for name, class_word in classes.items():
        new_subject(workspace, name, class_word, photos=1)


# How they are cut


def test_subjects_of_a_class_lie_side_by_side(workspace: Workspace):
    fleet(workspace, a="dog", b="cat", c="dog", d="cat", e="dog")
    cut = pool.split(workspace, [stale(name) for name in "abcde"], size=2)
    assert [batch.names for batch in cut] == [("b", "d"), ("a", "c"), ("e",)]
    assert not any(batch.makes or batch.needs for batch in cut)


def test_a_prior_is_made_by_one_batch_and_the_others_wait(workspace: Workspace):
    fleet(workspace, a="dog", b="dog", c="dog", d="dog", e="dog", f="cat")
    cut = pool.split(workspace, [stale(name, prior=True) for name in "abcdef"], size=2)
    assert [(batch.names, sorted(batch.makes), batch.needs) for batch in cut] == [
        (("f",), ["cat"], None),
        (("c", "d"), [], "dog"),
        (("e",), [], "dog"),
        (("a", "b"), ["dog"], None),
    ]


def test_two_methods_of_a_class_do_not_both_make_its_prior(workspace: Workspace):
    fleet(workspace, a="dog", b="dog")
    file = workspace.subject("b").subject_file
    file.write_text(file.read_text().replace("method: dreambooth", "method: other"))
    cut = pool.split(workspace, [stale(name, prior=True) for name in "ab"], size=4)
    assert sorted((batch.names, sorted(batch.makes), batch.needs) for batch in cut) == [
        (("a",), ["dog"], None),
        (("b",), [], "dog"),
    ]


# How the night looks after them: a world without clocks, networks and processes


class World:
    """Prefect and git as the night sees them; `sleep` is when something happens."""

    def __init__(self) -> None:
        self.now, self.live, self.away = 0.0, True, 0
        self.posted: list[tuple[str, ...]] = []
        self.runs: dict[UUID, Seen] = {}
        self.said: dict[UUID, dict[str, dict[str, Any]]] = {}
        self.finished: set[str] = set()  # what git holds
        self.priors: set[str] = set()
        self.buried: list[str] = []
        self.step: Callable[[], None] = lambda: None
        self.told: dict[str, dict[str, Any]] = {}

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 100_000, "the night never ends"
        self.step()

    def require(self) -> None: ...

    def post(self, names: list[str], title: str, key: str) -> UUID:
        self.posted.append(tuple(names))
        return self.begin(*names)

    def begin(self, *names: str) -> UUID:
        run = uuid4()
        self.runs[run] = Seen(run, names, "Running", True, False, False, (run,))
        return run

    def beat(self) -> None:
        """All that runs shows life."""
        for run, seen in self.runs.items():
            if seen.running:
                self.runs[run] = Seen(run, seen.names, "Running", True, False, False, (self.now,))

    def end(self, name: str, state: str = "done", passing: bool = False) -> None:
        """The newest batch with this subject ends; "done" puts its subjects into git."""
        run = next(r for r, seen in reversed(list(self.runs.items())) if name in seen.names and seen.running)
        names = self.runs[run].names
        self.said[run] = {
            n: {"name": n, "state": state, "reason": "words", "passing": passing, "ran": ["fine_tune"]}
            for n in names
        }
        if state == "done":
            self.finished.update(names)
        self.runs[run] = Seen(run, names, "Completed", False, False, True, ())

    def unfinished(self) -> list[Seen]:
        return [seen for seen in self.runs.values() if not seen.final]

    def look(self, ids: Any) -> list[Seen]:
        if self.away:
            self.away -= 1
            raise httpx.ConnectError("the API is away")
        return [self.runs[run] for run in ids if run in self.runs]

    def results(self, run: UUID, key: str) -> dict[str, dict[str, Any]]:
        return self.said.get(run, {})

    def bury(self, run: UUID, why: str, cancelled: bool = False) -> None:
        self.buried.append(why)
        self.runs[run] = Seen(run, self.runs[run].names, "Crashed", False, False, True, ())

    def workers_live(self) -> bool:
        return self.live

    def forecasts(self, workspace: Workspace, names: Any) -> list[Forecast]:
        return [
            Forecast(name) if name in self.finished else stale(name, prior="dog" not in self.priors)
            for name in names
        ]

    def hear(self, name: str, told: dict[str, Any]) -> None:
        assert name not in self.told, "heard twice"
        self.told[name] = told

    def night(self, *cut: Batch, **options: Any) -> None:
        board: Any = self
        pool.look_after(Workspace(Path()), Params(pool="p", poll_s=10, **options), cut, self.hear, board)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(pool.time, "sleep", world.sleep)
    monkeypatch.setattr(pool.time, "monotonic", lambda: world.now)
    monkeypatch.setattr(pool.staleness, "forecasts", world.forecasts)
    monkeypatch.setattr(pool.sharing, "take", lambda workspace: [])
    return world


def test_all_are_posted_and_waited_for(world: World):
    world.step = lambda: [world.end(seen.names[0]) for seen in world.unfinished()]
    world.night(Batch(("a", "b")), Batch(("c",)))
    assert world.posted == [("a", "b"), ("c",)]
    assert {name: told["state"] for name, told in world.told.items()} == dict.fromkeys("abc", "done")
    assert not world.buried


def test_a_lost_machine_s_subjects_go_to_another_without_what_it_had_finished(world: World):
    def step() -> None:
        world.finished.add("a")  # handed on before the machine was lost
        if len(world.posted) > 1:
            world.end("b")

    world.step = step
    world.night(Batch(("a", "b")))
    assert world.posted == [("a", "b"), ("b",)]
    assert world.told["a"]["state"] == world.told["b"]["state"] == "done"
    assert "its machine is lost" in world.buried[0]


def test_a_batch_that_beats_is_never_taken_for_dead(world: World):
    def step() -> None:
        world.beat()
        if world.now > 10_000:
            world.end("a")

    world.step = step
    world.night(Batch(("a",)))
    assert not world.buried


def test_silence_while_the_api_is_away_is_nobody_s_fault(world: World):
    world.away = 30  # 300 s, longer than silent_s

    def step() -> None:
        if not world.away:
            world.end("a") if world.now > 350 else None

    world.step = step
    world.night(Batch(("a",)))
    assert not world.buried
    assert world.told["a"]["state"] == "done"


def test_attempts_have_a_cap(world: World):
    world.night(Batch(("a",)), attempts=3)
    assert world.posted == [("a",)] * 3
    assert world.told["a"]["state"] == "failed"
    assert "tried 3 times" in world.told["a"]["reason"]


def test_only_what_may_pass_is_tried_again(world: World):
    world.step = lambda: [
        world.end(seen.names[0], "failed", passing=seen.names == ("net",)) for seen in world.unfinished()
    ]
    world.night(Batch(("bad",)), Batch(("net",)), attempts=2)
    assert world.posted == [("bad",), ("net",), ("net",)]
    assert world.told["bad"]["reason"] == "words"
    assert "tried 2 times" in world.told["net"]["reason"]


def test_batches_wait_for_the_prior_that_another_makes(world: World):
    def step() -> None:
        if world.now == 50:
            assert world.posted == [("a",)]
            world.priors.add("dog")
        world.beat()
        if world.now > 100:
            for seen in world.unfinished():
                world.end(seen.names[0])

    world.step = step
    world.night(Batch(("b",), needs="dog"), Batch(("a",), makes=frozenset({"dog"})))
    assert world.posted == [("a",), ("b",)]


def test_when_the_maker_of_a_prior_fails_one_that_waits_makes_it(world: World):
    def step() -> None:
        world.beat()
        if world.now == 20:
            world.end("a", "failed")
        if world.now == 50:
            assert world.posted == [("a",), ("b",)], "one, not both"
            world.priors.add("dog")
        if world.now > 100:
            for seen in world.unfinished():
                world.end(seen.names[0])

    world.step = step
    waiting = [Batch(("b",), needs="dog"), Batch(("c",), needs="dog")]
    world.night(Batch(("a",), makes=frozenset({"dog"})), *waiting)
    assert world.posted == [("a",), ("b",), ("c",)]
    assert [world.told[name]["state"] for name in "abc"] == ["failed", "done", "done"]


def test_batches_of_an_earlier_night_are_waited_for_not_doubled(world: World):
    world.begin("a", "x")

    def step() -> None:
        world.beat()
        if world.now > 30:
            for seen in world.unfinished():
                world.end(seen.names[0])

    world.step = step
    world.night(Batch(("a", "b")))
    assert world.posted == [("b",)]
    assert sorted(world.told) == ["a", "b"]


def test_a_run_that_a_person_deleted_is_posted_again(world: World):
    def step() -> None:
        if world.now == 10:
            world.runs.clear()
        elif world.runs:
            world.end("a")

    world.step = step
    world.night(Batch(("a",)))
    assert world.posted == [("a",), ("a",)]
    assert world.told["a"]["state"] == "done"


def test_without_a_worker_the_night_gives_up_and_leaves_nothing_posted(world: World):
    world.live, world.step = False, world.beat
    with pytest.raises(Transient, match="prefect worker start --pool p"):
        world.night(Batch(("a",)))
    assert not world.unfinished()


# What a worker does with one


@pytest.fixture
def run_batch(api: str) -> Callable[..., dict[str, Any]]:
    """The flow, in this process; a `batches.Result` per subject."""
    from flows import batches, personalize

    def run(workspace: Workspace, names: list[str]) -> dict[str, Any]:
        with personalize.settings(api):
            told = batches.batch(names, str(workspace.root))
        return {row["name"]: batches.Result(**row) for row in told}

    return run


def test_one_that_fails_stops_no_other(workspace: Workspace, run_batch: Callable[..., Any]):
    fleet(workspace, a="dog", b="dog", c="dog")
    shutil.rmtree(workspace.subject("b").folder / "photos")
    found = run_batch(workspace, ["a", "b", "nobody", "c"])
    assert {name: result.state for name, result in found.items()} == {
        "a": "done",
        "b": "failed",
        "nobody": "failed",
        "c": "done",
    }
    assert found["a"].ran[0] == "class_prior"
    assert "class_prior" not in found["c"].ran
    assert "add photos" in found["b"].reason
    assert not found["b"].passing


def test_results_are_handed_on_and_what_could_not_be_is_said(
    hub: Path, run_batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    one, two = clone(hub, "one"), clone(hub, "two")
    make(one, "bob")
    sharing.give(one, ["bob"], "bob: new")
    real = sharing.give

    def give(workspace: Workspace, names: list[str], message: str) -> str | None:
        if names == ["bob"]:
            raise Transient("the network is away for a moment")
        return real(workspace, names, message)

    monkeypatch.setattr(sharing, "give", give)
    found = run_batch(two, ["bob", "rex"])
    assert (found["rex"].state, found["rex"].host != "") == ("done", True)
    assert (found["bob"].state, found["bob"].passing) == ("failed", True)
    assert "not handed on: the network is away" in found["bob"].reason
    monkeypatch.setattr(sharing, "give", real)
    again = run_batch(two, ["bob", "rex"])  # what a retry does: hands on, runs nothing
    assert [result.ran for result in again.values()] == [(), ()]
    sharing.take(one)
    said = run_git(one.root, "log", "--format=%s").splitlines()
    assert said[0].startswith("bob: ") and said[1].startswith("rex: ")


def test_new_code_is_left_to_a_new_process(hub: Path, run_batch: Callable[..., Any]):
    one, two = clone(hub, "one"), clone(hub, "two")
    (one.root / "flows" / "new.py").write_text("")
    for command in (["add", "-A"], ["commit", "-qm", "code"], ["push", "-q"]):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=one.root, check=True
        )
    assert run_batch(two, ["rex"])["rex"].state == "left"
    assert run_batch(two, ["rex"])["rex"].state == "done"


# How the files agree; bench.fleet.two_hosts runs `prefect deploy` and real workers


def test_a_pool_without_sharing_is_refused_and_no_pool_is_nothing(workspace: Workspace):
    from flows import batches

    assert batches.run(workspace, []) == {}
    workspace.params_file.write_text(PARAMS + "workers: {pool: gpus}\n")
    with pytest.raises(UserError, match=r"sharing\.git_remote"):
        batches.run(workspace, [])


def test_prefect_yaml_agrees_with_params_yaml():
    prefect = YAML(typ="safe").load(REPO / "prefect.yaml")  # Prefect takes anchors, params.yaml does not
    deployed = {one["name"]: one for one in prefect["deployments"]}
    told = read_yaml(REPO / "params.yaml")
    (schedule,) = deployed["nightly"]["schedules"]
    assert (schedule["cron"], schedule["timezone"]) == (told["nightly"]["cron"], told["nightly"]["timezone"])
    assert deployed["batch"]["work_pool"]["work_queue_name"] == told["workers"]["queue"]
    beat_s = int(deployed["batch"]["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert 3 * beat_s <= told["workers"]["silent_s"]
    assert told["workers"]["pool"] is None and told["sharing"]["git_remote"] is None, "off on one machine"
