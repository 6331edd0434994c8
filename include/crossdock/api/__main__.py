"""`python -m crossdock.api > docs/openapi.json` writes the document that the repository keeps; with `--3.0` the export."""

from __future__ import annotations

import json
import sys

from crossdock.api.app import create_app
from crossdock.api.openapi import as_3_0, document

found = document(create_app())
json.dump(as_3_0(found) if "--3.0" in sys.argv[1:] else found, sys.stdout, indent=2, sort_keys=True)
sys.stdout.write("\n")
