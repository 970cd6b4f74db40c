"""A moto server that Terraform's AWS provider can talk to: ``python -m tests.infra.emulator PORT``."""

import sys


def main() -> None:
    """Serve on 127.0.0.1 until stopped."""
    from moto.server import main as serve

    from tests.rehearsal.moto_gaps import complete

    complete()
    serve(["-H", "127.0.0.1", "-p", sys.argv[1]])


if __name__ == "__main__":
    main()
