"""What runs inside a container of the pipeline."""
