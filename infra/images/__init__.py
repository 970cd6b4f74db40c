"""The images that ECS runs: ``python -m infra.images build|push``."""
