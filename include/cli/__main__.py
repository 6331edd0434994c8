"""`python -m include.cli`: what `./hub` hands over to."""

from include.cli.app import main

main()
