"""Local files and S3, atomic writes, files shared by several processes, where relative paths lie."""
