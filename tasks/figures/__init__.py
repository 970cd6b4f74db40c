"""What the notebooks draw, one module per notebook."""
