-- Optuna has a database of its own: its table alembic_version would clash with MLflow's.
CREATE DATABASE optuna;
