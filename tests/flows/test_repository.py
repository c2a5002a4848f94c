"""What our way of calling DVC writes is what DVC writes by itself."""

import io
import os
import time

from ruamel.yaml import YAML

from flows import execution
from flows.store import params_once, recorded, staleness
from flows.workspace import SubjectFolder
from tasks.shared import params

from .conftest import PLAN


def test_a_lock_that_was_written_stage_by_stage_has_the_bytes_of_dvcs_own_way(rex: SubjectFolder):
    from dvc.utils.serialize._yaml import _dump

    file = rex.workspace.params_file
    tree = params.read_yaml(file)
    assert isinstance(tree["sample"]["strength"], float)
    file.write_text(file.read_text().replace(f"strength: {tree['sample']['strength']}", "strength: 0.00001"))
    execution.bring_up_to_date(rex)
    lock = rex.dvc_file.with_suffix(".lock")
    text, again = lock.read_text(), io.StringIO()
    assert "1e-05" in text or "1.0e-05" in text
    _dump(YAML(typ="rt").load(text), again)  # as `dvc commit` reads and writes it, comments kept
    assert again.getvalue() == text


def test_the_fast_reading_of_a_lock_is_that_of_the_strict_parser(rex: SubjectFolder):
    execution.bring_up_to_date(rex)
    text = rex.dvc_file.with_suffix(".lock").read_text()
    assert recorded.stages(text) == params.parse_yaml(text, "dvc.lock")["stages"]
    assert recorded.stages("stages: [damaged") == recorded.stages("7") == recorded.stages("") == {}


def test_a_params_file_is_read_once_for_a_stage_and_again_when_it_changes(rex: SubjectFolder, monkeypatch):
    from dvc.dependency import param

    execution.bring_up_to_date(rex)
    file, parsed = rex.workspace.params_file, []
    real = param.load_path

    def counted(path, fs, **how):
        parsed.append(path)
        return real(path, fs, **how)

    monkeypatch.setattr(param, "load_path", counted)

    def settle() -> None:
        old = time.time() - 10 * params_once.SETTLED_S
        os.utime(file, (old, old))

    settle()
    assert staleness.forecasts(rex.workspace, ["rex"])[0].fresh
    assert 0 < parsed.count(str(file)) <= len(PLAN)
    parsed.clear()
    for _ in range(3):
        assert staleness.forecasts(rex.workspace, ["rex"])[0].fresh
    assert str(file) not in parsed
    text = file.read_text()
    file.write_text(text.replace("strength: 5.5", "strength: 5.6"))  # just written: not trusted to stay
    for _ in range(2):
        [foreseen] = staleness.forecasts(rex.workspace, ["rex"])
        assert [one.stage.name for one in foreseen.to_run] == ["sample", "evaluate", "report"]
    known = file.stat()
    file.write_text(text)  # as many bytes
    os.utime(file, ns=(known.st_atime_ns, known.st_mtime_ns + 1))
    assert staleness.forecasts(rex.workspace, ["rex"])[0].fresh
