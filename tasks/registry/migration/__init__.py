"""A local store moved to a team's, part by part."""
