from .architecture_files import architecture_text, read_architecture, write_architecture
from .benchmarking.run import benchmark_models
from .checkpoints import restore
from .config import read_config, validate_config, write_config
from .errors import (
    CheckpointError,
    CheckpointWriteError,
    ConfigError,
    DivergedError,
    RunError,
    StoppedError,
    WorkdirError,
    WorkerError,
)
from .evaluation_run import evaluate_selection
from .exporting.inspection import print_inspection, print_support
from .exporting.options import ExportOptions
from .exporting.records import ModelRecord, ModelRecordError
from .exporting.run import export_model
from .finetuning_run import FineTuning, finetune
from .import_run import import_official
from .measurement import SupernetEvaluator
from .packaging import package_workdir
from .pretrained_run import start_from_pretrained
from .searching.run import search_workdir
from .searching.settings import SearchSettings
from .selection import Selection, SubnetArguments, select
from .training.run import train
from .workdir import Workdir

__all__ = [
    "CheckpointError",
    "CheckpointWriteError",
    "ConfigError",
    "DivergedError",
    "ExportOptions",
    "FineTuning",
    "ModelRecord",
    "ModelRecordError",
    "RunError",
    "SearchSettings",
    "Selection",
    "StoppedError",
    "SubnetArguments",
    "SupernetEvaluator",
    "Workdir",
    "WorkdirError",
    "WorkerError",
    "architecture_text",
    "benchmark_models",
    "evaluate_selection",
    "export_model",
    "finetune",
    "import_official",
    "package_workdir",
    "print_inspection",
    "print_support",
    "read_architecture",
    "read_config",
    "restore",
    "search_workdir",
    "select",
    "start_from_pretrained",
    "train",
    "validate_config",
    "write_architecture",
    "write_config",
]
