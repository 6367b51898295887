"""Looking for the best subnets under a budget; NumPy only, pymoo and others when needed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "constraints": [
            "Constraint",
            "ConstraintError",
            "InfeasibleBudgetError",
            "check_feasible",
            "parse_constraint",
            "parse_constraints",
        ],
        "evaluator": ["Evaluation", "Evaluator", "StoredEvaluator"],
        "pareto": ["hypervolume", "non_dominated"],
        "predicting_evaluator": ["PREDICTED", "PredictingEvaluator"],
        "predictor_quality": ["PredictorQuality", "fit_and_judge"],
        "predictors": ["Predictor", "PredictorError", "fit_predictor"],
        "problem": ["Progress", "SearchProblem"],
        "report": ["write_report"],
        "result": ["Candidate", "Reference", "ResultError", "SearchResult", "load_pareto_json"],
        "run": ["search"],
        "store": ["EvaluationStore", "StoreError", "StoreWriteError"],
        "strategies": [
            "STRATEGIES",
            "ExactNSGA2",
            "IterativeRefinement",
            "PredictedFront",
            "PredictorGuided",
            "RandomSearch",
            "Strategy",
        ],
        "subspace": ["Subspace"],
    },
)
