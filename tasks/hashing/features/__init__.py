"""What features make of rows and columns, what they cost, and the past that statistics read."""
