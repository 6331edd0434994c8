"""`python -m crossdock.cli`: what `./hub` hands over to."""

import gc

# What is imported stays. With the usual threshold (700 objects) the collector walks all of it, again and again: a twentieth
# of what a command costs.
gc.set_threshold(100_000)

from crossdock.cli.interrupts import ends_quietly  # noqa: E402

with ends_quietly():
    from crossdock.cli.app import main

main()
