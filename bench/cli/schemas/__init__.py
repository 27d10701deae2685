"""The JSON documents of all commands, and their JSON Schemas, which lie beside this file.

`python -m bench.cli.schemas` writes the schemas again, after a change of a document.
"""

from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent

DOCUMENTS: Final = {
    "error": "bench.cli.common.json_document:ErrorDocument",
    "train": "bench.cli.train:TrainDocument",
    "export": "bench.cli.export:ExportDocument",
    "score sentence": "bench.cli.score:ScoreEvent",
    "score": "bench.cli.score:ScoreDocument",
    "serve": "bench.cli.serve:ServeEvent",
    "run": "bench.cli.run:RunDocument",
    "scenario list": "bench.cli.scenario:ListDocument",
    "scenario copy": "bench.cli.scenario:CopyDocument",
    "verify": "bench.cli.verify:VerifyDocument",
    "report": "bench.cli.report:ReportDocument",
    "compare": "bench.cli.compare:CompareDocument",
    "gate": "bench.gate.report.files:GateDocument",
    "gate calibrate": "bench.gate.cli.calibrate:AATestDocument",
    "gate history": "bench.gate.cli.history:HistoryDocument",
    "baseline add": "bench.gate.cli.baseline:AddDocument",
    "baseline list": "bench.gate.cli.baseline:ListDocument",
    "baseline show": "bench.gate.cli.baseline:ShowDocument",
    "baseline promote": "bench.gate.cli.baseline:PromoteDocument",
    "capacity sweep": "bench.capacity.report.json_report:CapacityDocument",
    "capacity fit": "bench.capacity.report.json_report:FitDocument",
    "capacity report": "bench.capacity.report.json_report:ReportDocument",
    "capacity plan": "bench.capacity.cli.plan:PlanDocument",
    "capacity simulate": "bench.capacity.cli.simulate:SimulateDocument",
    "calibrate": "bench.cli.calibrate:CalibrateDocument",
    "plan-load": "bench.cli.plan_load:PlanLoadDocument",
    "demo": "bench.cli.demo:DemoDocument",
    "config show": "bench.cli.config:ShowDocument",
    "config check": "bench.cli.config:CheckDocument",
    "completion": "bench.cli.completion:CompletionDocument",
}
"""By command and action, or other name of a document: where its type is."""


def file_of(name: str) -> Path:
    """The file of a document's schema: `gate-calibrate.schema.json`."""
    return FOLDER / f"{name.replace(' ', '-')}.schema.json"


def read_schema(name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one of `DOCUMENTS`."""
    # Here and not above, so that the names alone load nothing.
    import orjson

    found: dict[str, Any] = orjson.loads(file_of(name).read_bytes())
    return found
