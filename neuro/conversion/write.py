"""Write the documents of a run directory, each whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from hardware_models.comparison import Answer, to_document
from hardware_models.convention_estimate import ConventionEstimate
from hardware_models.files import write_atomically
from hardware_models.workload import Workload
from neuro.conversion.directory import write_json
from neuro.records import ConversionRecord, Estimates, workload_files
from neuro.report import RunDocuments, render_html
from neuro.weights import save_weights


def write_results(
    out: Path,
    record: ConversionRecord,
    networks: Mapping[str, nn.Module],
    workloads: Mapping[str, Workload],
    estimates: Mapping[str, ConventionEstimate],
    chips: list[Answer],
) -> None:
    """Write weights, workloads, estimates, the chips' answers, the record, and last the report.

    Args:
        out: the run directory.
        record: what became of the network.
        networks: those whose weights are kept, by the name of the file without its ending.
        workloads: the measured forms.
        estimates: of every form.
        chips: their answers.
    """
    # One entry: their order in the file is not fixed, and equal weights should be equal files.
    metadata = {"neuro": f"neuro.weights/1 {record.model} {record.variant}".rstrip()}
    for name, network in networks.items():
        save_weights(out / f"{name}.safetensors", network, metadata)
    for form, name in workload_files(record).items():
        workloads[form].save(out / name)
    all_estimates = Estimates.model_validate({"estimates": estimates})
    write_json(out / "estimate.json", all_estimates.model_dump(mode="json", by_alias=True))
    write_json(out / "chips.json", to_document(chips))
    write_json(out / "conversion.json", record.model_dump(mode="json", by_alias=True))
    with write_atomically(out / "report.html") as file:
        file.write(render_html(RunDocuments.load(out)))
