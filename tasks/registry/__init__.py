"""MLflow, the ledger of promotions, publishing a model to services."""
