"""`python -m crossdock.cli`: what `./hub` hands over to."""

from crossdock.cli.interrupts import ends_quietly

with ends_quietly():
    from crossdock.cli.app import main

main()
