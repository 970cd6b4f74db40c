"""How the pipeline starts the kernels of its notebooks, and talks to them: over Unix sockets in a folder of their own."""

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from tasks.pipeline.forked_kernel import ForkedProvisioner


class SocketKernelManager(AsyncKernelManager):
    """A kernel manager without ports, named in ``pipeline.yaml``.

    Free ports are found before the kernel opens them, so two kernels that start at the same moment can find the same
    ones, and one of the two notebooks fails with "Address already in use". Sockets in a new folder are nobody else's.
    """

    def __init__(self, **kwargs: Any):
        self._folder = Path(
            tempfile.mkdtemp(prefix="kernel-")
        )  # short: a socket's path has 107 bytes
        super().__init__(**{"transport": "ipc", "ip": str(self._folder / "s")} | kwargs)

    async def _async_pre_start_kernel(self, **kw: Any) -> tuple[list[str], dict[str, Any]]:
        """Have the kernel forked where a process waits for that."""
        self.kernel_id = self.kernel_id or str(uuid.uuid4())
        if self.provisioner is None:
            self.provisioner = ForkedProvisioner(
                kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
            )
        return await super()._async_pre_start_kernel(**kw)

    async def _async_cleanup_resources(self, restart: bool = False) -> None:
        """Remove the sockets' folder with what the base class removes, unless the kernel starts again."""
        await super()._async_cleanup_resources(restart=restart)
        if not restart:
            shutil.rmtree(self._folder, ignore_errors=True)

    cleanup_resources = _async_cleanup_resources
