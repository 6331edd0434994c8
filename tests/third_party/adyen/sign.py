"""Run by the SDK's own Python: sign the items on standard input as the SDK does. The key comes from SANDBOX_ADYEN_HMAC_KEY."""

import json
import os
import sys

from Adyen.util import generate_notification_sig

key = os.environ["SANDBOX_ADYEN_HMAC_KEY"]
json.dump([generate_notification_sig(item, key).decode() for item in json.load(sys.stdin)], sys.stdout)
