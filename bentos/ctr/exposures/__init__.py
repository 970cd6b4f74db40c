"""The exposure log: which variant answered which request with what, written off the request path.

:class:`ExposureLog` takes exposures on the event loop; its own threads write them to standard output,
a folder or S3. :func:`tasks.serving.exposures.read_exposures` reads them back.
"""

from bentos.ctr.exposures.log import ExposureLog
from bentos.ctr.exposures.record import Exposure
from bentos.ctr.exposures.settings import ExposureSettings

__all__ = ["Exposure", "ExposureLog", "ExposureSettings"]
