"""`python -m crossdock.api > docs/openapi.json` writes the document that the repository keeps."""

from __future__ import annotations

import json
import sys

from crossdock.api.app import create_app
from crossdock.api.openapi import document

json.dump(document(create_app()), sys.stdout, indent=2, sort_keys=True)
sys.stdout.write("\n")
