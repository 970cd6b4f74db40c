"""The same intake, hashing and training on a Dask cluster; optional, Dask is imported when it is asked for."""
