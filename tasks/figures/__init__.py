"""What the notebooks show, figures and answers: one module per notebook."""
