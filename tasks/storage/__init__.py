"""Atomic writes, S3, small files shared by processes, which errors are temporary, where relative paths start."""
