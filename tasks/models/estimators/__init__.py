"""Any estimator with scikit-learn's interface as a model: fitted, saved without pickle, scored."""
