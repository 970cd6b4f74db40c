"""What made a product: why a task is out of date, what a model was made of, and the same model made again."""
