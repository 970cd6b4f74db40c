"""A notebook's idea becomes part of the project: checked, tried in a copy, written, and taken out again."""
