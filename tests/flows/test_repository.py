"""What our way of calling DVC writes is what DVC writes by itself."""

import io

from ruamel.yaml import YAML

from flows import execution
from flows.store import recorded
from flows.workspace import SubjectFolder
from tasks.shared import params


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
