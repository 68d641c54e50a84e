"""Loading a run directory, and what is said of one that is not."""

import json

import pytest

from hardware_models.errors import InputError
from neuro.report import RunDocuments
from neuro.report.documents import attributed

from .synthetic import small_documents, write_run

FILES = [
    "spec.yaml",
    "conversion.json",
    "workload.json",
    "workload-as-trained.json",
    "workload-float.json",
    "estimate.json",
    "environment.json",
]


@pytest.fixture
def run(tmp_path):
    write_run(small_documents(), tmp_path)
    return tmp_path


def message(run) -> str:
    with pytest.raises(InputError) as error:
        RunDocuments.load(run)
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert ";" in text  # what is wrong; what to do
    return text


def test_what_was_written_is_read_back(run):
    assert RunDocuments.load(run) == small_documents()


def test_date_is_that_of_the_files_where_the_environment_has_none(run):
    (run / "environment.json").write_text("{}")
    assert RunDocuments.load(run).date.endswith(" UTC")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_document_is_named(run, name):
    (run / name).unlink()
    assert name in message(run)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"[1, 2]", b"{unclosed: [", b"\xff\xfe\x00", b""])
def test_foreign_content_is_refused(run, name, content):
    (run / name).write_bytes(content)
    assert name in message(run)


@pytest.mark.parametrize("name", [name for name in FILES[1:] if name != "environment.json"])
def test_another_schema_is_refused(run, name):
    (run / name).write_text('{"schema": "someone.else/9"}')
    assert "someone.else/9" in message(run)


@pytest.mark.parametrize(("name", "key"), [("conversion.json", "rows"), ("estimate.json", "estimates")])
def test_an_invalid_entry_is_named(run, name, key):
    data = json.loads((run / name).read_text())
    data[key] = "nonsense"
    (run / name).write_text(json.dumps(data))
    assert key in message(run)


def test_no_directory(tmp_path):
    assert "no run directory" in message(tmp_path / "absent")
    (tmp_path / "file").touch()
    assert "no run directory" in message(tmp_path / "file")


def test_a_directory_in_place_of_a_document(run):
    (run / "spec.yaml").unlink()
    (run / "spec.yaml").mkdir()
    assert "spec.yaml" in message(run)


def test_nested_yaml_is_no_way_to_crash(run):
    (run / "spec.yaml").write_text("[" * 20_000)
    assert "spec.yaml" in message(run)


def test_sentences_name_the_forms_they_hold_for():
    said = attributed([("float", ["all", "parent"]), ("spiking", ["all", "all"])])
    assert said == ["all", "parent (Float parent)"]
