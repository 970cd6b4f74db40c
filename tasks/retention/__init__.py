"""What can go from the disk, and what is in use: Bentos, models, leftovers; and what can be made again."""
