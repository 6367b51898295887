"""Runs: a folder per experiment, and the functions behind the programs in `apps/`.

Importing this package imports no TensorFlow; what needs it imports it when it is called.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "architecture_files": ["architecture_text", "read_architecture", "write_architecture"],
        "benchmark_run": ["benchmark_models"],
        "latency_table_run": ["TableSettings", "measure_latency_table"],
        "checkpoints": ["restore"],
        "config": ["read_config", "validate_config", "write_config"],
        "errors": [
            "CheckpointError",
            "CheckpointWriteError",
            "ConfigError",
            "DivergedError",
            "RunError",
            "StoppedError",
            "WorkdirError",
            "WorkerError",
        ],
        "evaluation_run": ["evaluate_selection"],
        "evaluator": ["SupernetEvaluator"],
        "import_run": ["import_official"],
        "export_run": ["export_model", "print_inspection", "print_support"],
        "model_records": ["ModelRecord", "ModelRecordError"],
        "search_run": ["search_workdir"],
        "search_settings": ["SearchSettings"],
        "selection": ["Selection", "select"],
        "training_run": ["train"],
        "workdir": ["Workdir"],
    },
)
